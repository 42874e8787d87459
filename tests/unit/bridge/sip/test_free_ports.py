"""Where SIP goes when its port is taken, and what is said of it."""

import socket

import pytest

from trunkline.bridge.sip.free_ports import is_free, said, settled

HERE = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")


def go(listen: tuple[str, ...], *taken: tuple[str, int], tries: int = 20) -> tuple[str, ...]:
    return settled(listen, tries, lambda kind, _, port: (kind, port) not in taken)


@pytest.mark.parametrize("taken", [("udp", 5060), ("tcp", 5060)])
def test_both_move_together_when_one_is_taken(taken: tuple[str, int]) -> None:
    assert go(HERE, taken) == ("udp:127.0.0.1:5061", "tcp:127.0.0.1:5061")
    assert go(HERE, taken, ("udp", 5061), ("tcp", 5062)) == ("udp:127.0.0.1:5063", "tcp:127.0.0.1:5063")


def test_what_is_free_stays_and_any_port_stays_any() -> None:
    assert go(HERE) == HERE
    assert go(("udp:127.0.0.1:0", "tls:[::1]:5061"), ("udp", 0)) == ("udp:127.0.0.1:0", "tls:[::1]:5061")


def test_two_that_were_apart_do_not_meet() -> None:
    taken = ("udp", 5060), ("udp", 5061)
    assert go(("udp:h:5060", "udp:h:5061"), *taken) == ("udp:h:5062", "udp:h:5063")


def test_who_moves_takes_nothing_that_another_was_promised() -> None:
    told = go(("udp:h:5060", "tls:h:5061"), ("udp", 5060))
    assert told == ("udp:h:5062", "tls:h:5061")


def test_where_nothing_is_free_whoever_listens_says_so() -> None:
    assert go(HERE, ("udp", 5060), ("udp", 5061), tries=1) == HERE
    assert go(("udp:h:65535",), ("udp", 65535)) == ("udp:h:65535",)


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_the_system_is_asked(kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == "tcp":
            holder.listen()
        port = holder.getsockname()[1]
        assert not is_free(kind, "127.0.0.1", port)
    assert is_free(kind, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("listening", "told"),
    [
        (("udp 127.0.0.1:5060", "tcp 127.0.0.1:5060"), "sip:agent@127.0.0.1:5060 (udp, tcp)"),
        (("udp 127.0.0.1:5061", "tcp 127.0.0.1:5061"), "sip:agent@127.0.0.1:5061 (udp, tcp); 5060 is taken"),
        (("udp 0.0.0.0:5060", "tls 0.0.0.0:5061"), "sip:agent@127.0.0.1:5060 (udp), sip:agent@127.0.0.1:5061 (tls)"),
    ],
)
def test_people_are_told(listening: tuple[str, ...], told: str) -> None:
    assert said(HERE, listening) == told


def test_a_port_that_was_left_open_is_not_missed() -> None:
    assert said(("udp:127.0.0.1:0",), ("udp 127.0.0.1:4711",)) == "sip:agent@127.0.0.1:4711 (udp)"
