"""What a trunk is made of without pjsua2: names, servers, their life, registrations, who is shown as the caller."""

import asyncio
import contextlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bridge.sip import dns_wire as dns
from trunkline.bridge.sip.dns_wire import Record, Srv
from trunkline.bridge.sip.identity import ANONYMOUS, Shown, shown
from trunkline.bridge.sip.locating import Locator, locator
from trunkline.bridge.sip.options import Options, Trunk
from trunkline.bridge.sip.registration import LONGEST_S, REJECTED_LONGEST_S, Backoff
from trunkline.bridge.sip.targets import ANSWER_S, Health, Target, Targets, in_order, routes
from trunkline.errors import ProtocolError

ONE, TWO = Target("192.0.2.1", 5060), Target("192.0.2.2", 5080)


def named(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def answer(question: bytes, *records: tuple[bytes, int, bytes]) -> bytes:
    head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0)
    rows = [name + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for name, kind, data in records]
    return head + question[12:] + b"".join(rows)


def srv(priority: int, weight: int, port: int, host: bytes) -> bytes:
    return struct.pack(">HHH", priority, weight, port) + host


# -- names


def test_a_question():
    asked = dns.query(7, "_sip._udp.example.com.", dns.SRV)
    assert asked[:12] == struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0)
    assert asked[12:] == named("_sip._udp.example.com") + struct.pack(">HH", 33, 1)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".com", ".".join(["abcd"] * 60), "bücher.example"])
def test_what_is_no_name(name):
    with pytest.raises(ProtocolError, match="no name"):
        dns.query(1, name, dns.A)


def test_an_answer_with_compressed_names():
    asked = dns.query(9, "_sip._udp.example.com", dns.SRV)
    target = b"\x02S1" + struct.pack(">H", 0xC000 | (12 + 10))  # "example.com" of the question
    again = struct.pack(">H", 0xC000 | (len(asked) + 2 + 10 + 6))  # that target, which goes on elsewhere itself
    told = answer(asked, (b"\xc0\x0c", dns.SRV, srv(10, 60, 5070, target)), (again, dns.A, b"\xc0\0\2\1"))
    assert dns.answers(told, 9) == [
        Record("_sip._udp.example.com", dns.SRV, Srv(10, 60, 5070, "s1.example.com")),
        Record("s1.example.com", dns.A, "192.0.2.1"),
    ]
    assert dns.answers(told, 8) is None  # another question's
    assert dns.answers(asked, 9) is None  # no answer at all


def test_a_name_that_never_ends():
    asked = dns.query(1, "a.b", dns.A)
    with pytest.raises(ProtocolError):
        dns.answers(answer(asked, (struct.pack(">H", 0xC000 | (len(asked))), dns.A, bytes(4))), 1)


@given(st.binary(max_size=300), st.integers(0, 65535))
def test_nothing_but_protocol_errors(data, identifier):
    whole = struct.pack(">HH", identifier, 0x8180) + data
    with contextlib.suppress(ProtocolError):
        dns.answers(whole, identifier)


def test_servers_by_priority_and_by_lot_with_their_weights():
    found = [
        Srv(20, 0, 1, "late"),
        Srv(10, 1, 1, "rare"),
        Srv(10, 99, 1, "often"),
        Srv(5, 0, 1, "first"),
        Srv(0, 0, 0, ""),
    ]
    dice, firsts = random.Random(1), []
    for _ in range(300):
        order = [srv.host for srv in in_order(found, dice)]
        assert order[0] == "first"
        assert order[3] == "late"
        firsts.append(order[1])
    assert 280 <= firsts.count("often") < 300


class NameServer(asyncio.DatagramProtocol):
    """Answers from a table: (name, kind) → records."""

    def __init__(self, table: dict[tuple[str, int], list[tuple[bytes, int, bytes]]]) -> None:
        self.table = table
        self.asked: list[tuple[str, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, ends = dns._name(data, 12)
        (kind,) = struct.unpack_from(">H", data, ends)
        self.asked.append((name, kind))
        self.transport.sendto(b"\xff\xff" + answer(data)[2:], addr)  # somebody else's: is passed over
        self.transport.sendto(answer(data, *self.table.get((name, kind), [])), addr)


@pytest.fixture
async def names():
    table = {
        ("_sip._udp.two.example", dns.SRV): [
            (b"\xc0\x0c", dns.SRV, srv(20, 1, 5080, named("b.example"))),
            (b"\xc0\x0c", dns.SRV, srv(10, 1, 5060, named("a.example"))),
            (named("a.example"), dns.A, b"\xc0\0\2\1"),
        ],
        ("b.example", dns.A): [(b"\xc0\x0c", dns.A, b"\xc0\0\2\2")],
        ("one.example", dns.AAAA): [(b"\xc0\x0c", dns.AAAA, b"\x20\x01\x0d\xb8" + bytes(12))],
    }
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(table), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    yield Locator([f"127.0.0.1:{port}"], system=False), server
    transport.close()


async def test_where_names_lead(names):
    locator, server = names
    trunks = [
        Trunk(name="two", host="two.example"),
        Trunk(name="one", host="one.example"),
        Trunk(name="port", host="b.example:5999"),
        Trunk(name="plain", host="192.0.2.9", transport="tls"),
        Trunk(name="proxied", host="nowhere.example", proxy="sip:192.0.2.8:5070;lr"),
        Trunk(name="none", host="nowhere.example"),
    ]
    assert await locator.locate(trunks) == {
        "two": [ONE, TWO],
        "one": [Target("2001:db8::", 5060)],
        "port": [Target("192.0.2.2", 5999)],
        "plain": [Target("192.0.2.9", 5061)],
        "proxied": [Target("192.0.2.8", 5070)],
        "none": [],
    }
    assert ("_sip._udp.b.example", dns.SRV) not in server.asked  # a port was named: RFC 3263 4.2


async def test_names_of_the_system_and_an_address_family_that_we_do_not_speak(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text("")
    here = [Trunk(name="here", host="localhost:5070"), Trunk(name="six", host="[::1]:5070")]
    four = await locator(Options(trunks=tuple(here)), str(file)).locate(here)
    assert four == {"here": [Target("127.0.0.1", 5070)], "six": []}
    both = locator(Options(trunks=tuple(here), listen=("udp:[::]:5060",)), str(file))
    assert (await both.locate(here))["six"] == [Target("::1", 5070)]


async def test_a_name_server_that_is_away_costs_seconds_and_not_the_start(monkeypatch):
    monkeypatch.setattr("trunkline.bridge.sip.locating.TRY_S", 0.05)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    deaf = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    assert await Locator([deaf], system=False).locate([Trunk(name="t", host="t.example")]) == {"t": []}
    monkeypatch.setattr("trunkline.bridge.sip.locating.LOCATE_S", 0.01)
    assert await Locator([deaf], system=False).locate([Trunk(name="t", host="t.example")]) == {"t": []}
    transport.close()


# -- servers


def test_one_silence_is_no_outage_and_one_answer_no_recovery():
    health = Health()
    assert health.heard(True)
    assert not health.heard(False)
    assert health.doubtful
    assert not health.heard(True)
    assert not health.heard(False)
    assert health.heard(False)
    assert health.life == "down"
    assert not health.heard(True)
    assert not health.heard(False)
    assert not health.heard(True)
    assert health.heard(True)
    assert health.life == "up"
    assert health.heard(False, sure=True)


def test_the_best_server_is_one_that_lives():
    targets = Targets(10.0)
    assert targets.best is None
    assert targets.locate([ONE, TWO])
    assert not targets.locate([ONE, TWO])
    assert (targets.best, targets.life) == (ONE, "unchecked")
    targets.heard(TWO, True)
    assert (targets.best, targets.life) == (TWO, "up")
    targets.heard(ONE, True)
    assert targets.best == ONE
    for target in (ONE, ONE, TWO, TWO):
        targets.heard(target, False)
    assert (targets.best, targets.life) == (ONE, "down")
    assert targets.lives() == {"192.0.2.1:5060": "down", "192.0.2.2:5080": "down"}
    assert targets.locate([TWO])
    assert (targets.best, targets.life) == (TWO, "down")  # what is known stays known


def test_when_servers_are_asked_and_when_they_are_silent():
    targets = Targets(10.0)
    targets.locate([ONE])
    assert targets.due(0.0) == [ONE]
    assert targets.due(1.0) == []
    assert targets.silent(ANSWER_S - 0.1) == []
    assert targets.silent(ANSWER_S) == [ONE]
    assert targets.silent(ANSWER_S) == []
    targets.heard(ONE, False)
    assert targets.due(ANSWER_S) == [ONE]  # in doubt: sooner than the next regular one
    targets.heard(ONE, True)
    assert targets.due(ANSWER_S + 9.9) == []
    assert targets.due(ANSWER_S + 10.0) == [ONE]


def test_who_is_alone_and_has_no_keepalive_is_not_asked():
    targets = Targets(0.0)
    targets.locate([ONE])
    assert targets.due(0.0) == []
    targets.locate([ONE, TWO])
    assert targets.due(0.0) == [ONE, TWO]


@pytest.mark.parametrize(
    ("fields", "server", "expected"),
    [
        ({"host": "t.example"}, None, []),
        ({"host": "t.example"}, ONE, ["sip:192.0.2.1:5060;lr;hide"]),
        ({"host": "t.example", "transport": "tcp"}, ONE, ["sip:192.0.2.1:5060;transport=tcp;lr;hide"]),
        ({"host": "t.example", "transport": "tls"}, ONE, []),  # the certificate is checked against the name
        ({"host": "192.0.2.1"}, ONE, []),
        ({"host": "t", "proxy": "edge.example"}, ONE, ["sip:192.0.2.1:5060;lr;hide", "sip:edge.example;lr"]),
        ({"host": "t", "proxy": "sip:192.0.2.1;lr", "transport": "tcp"}, ONE, ["sip:192.0.2.1;lr;transport=tcp"]),
        ({"host": "t", "proxy": "edge:5070"}, None, ["sip:edge:5070;lr"]),
    ],
)  # fmt: skip
def test_how_requests_go(fields, server, expected):
    assert routes(Trunk(name="t", **fields), server) == expected


# -- registration


def test_registration_is_tried_again_ever_later():
    retry, now = Backoff(random.Random(3)), 0.0
    waits = [retry.failed(503, now) for _ in range(12)]
    assert 1.5 <= waits[0] <= 2.5
    assert all(0.75 * 2**at * 2 <= wait <= 1.25 * 2**at * 2 for at, wait in enumerate(waits[:5]))
    assert max(waits) <= LONGEST_S * 1.25
    assert len({round(wait, 3) for wait in waits[-5:]}) == 5  # jitter
    retry.done()
    assert retry.due is None
    assert retry.failed(408, 10.0) <= 2.5
    assert retry.due is not None
    retry.soon(11.0)
    assert retry.due == 11.0
    retry.tried()
    assert retry.due is None


def test_who_is_rejected_does_not_hammer():
    retry = Backoff(random.Random(3))
    retry.failed(503, 0.0)
    waits = [retry.failed(403, 0.0) for _ in range(10)]
    assert 45 <= waits[0] <= 75
    assert 0.75 * REJECTED_LONGEST_S <= waits[-1] <= 1.25 * REJECTED_LONGEST_S
    assert retry.failed(500, 0.0) <= 2.5  # another kind of trouble: from the start


# -- who calls


def trunk(**fields: object) -> Trunk:
    return Trunk(name="t", host="t.example", user="4980", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "caller", "display", "expected"),
    [
        (None, "", "", Shown()),
        (None, "+91", "", Shown("<sip:+91@h>")),
        (None, "anonymous", "", Shown(ANONYMOUS, (("Privacy", "id"),))),
        (trunk(), "", "", Shown()),
        (trunk(caller="+49"), "", "", Shown("<sip:+49@h>")),
        (trunk(), "+91", 'Cl"inic\n', Shown('"Clinic" <sip:+91@h>')),
        (trunk(), "+91@x>;a", "", Shown("<sip:+91xa@h>")),
        (trunk(identity="pai"), "+91", "Clinic", Shown("", (("P-Asserted-Identity", '"Clinic" <sip:+91@h>'),))),
        (trunk(identity="ppi"), "+91", "", Shown("", (("P-Preferred-Identity", "<sip:+91@h>"),))),
        (trunk(identity="rpid"), "+91", "",
         Shown("", (("Remote-Party-ID", "<sip:+91@h>;party=calling;screen=no;privacy=off"),))),
        (trunk(privacy=True), "+91", "Clinic",
         Shown(ANONYMOUS, (("P-Asserted-Identity", "<sip:+91@h>"), ("Privacy", "id")))),
        (trunk(identity="rpid"), "Anonymous", "",
         Shown(ANONYMOUS, (("Remote-Party-ID", "<sip:4980@h>;party=calling;screen=no;privacy=full"),
                           ("Privacy", "id")))),
        (trunk(identity="ppi", caller="+49"), "withheld", "x",
         Shown(ANONYMOUS, (("P-Preferred-Identity", "<sip:+49@h>"), ("Privacy", "id")))),
    ],
)  # fmt: skip
def test_who_is_shown_as_the_caller(own, caller, display, expected):
    assert shown(own, caller, display, "h") == expected
