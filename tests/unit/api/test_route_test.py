"""`trunkline route-test`: the decision as the service takes it, and every reason for it."""

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from trunkline.bridge.sip.options import options_of
from trunkline.cli_route import Heard, Invite, headers_of, heard, route_test, show
from trunkline.config import Settings
from trunkline.errors import ConfigError

SETTINGS = msgspec.convert(
    {
        "agents": {"receptionist": {}, "sales": {"profile": "offline"}, "night": {}},
        "route": [
            {"to": "+9180*", "agent": "sales", "carrier": "twilio"},
            {"to": "+9180*", "agent": "sales", "carrier": "sip"},
            {"to": "+91*", "agent": "night"},
        ],
        "sip": {
            "listen": ["udp:0.0.0.0:5060"],
            "allow": ["10.0.0.0/8"],
            "trunk": [{"name": "acme", "host": "sip.acme.invalid", "allow": ["203.0.113.0/24"]}],
        },
    },
    Settings,
)


def test_the_first_that_fits_is_taken_and_every_other_says_why_not() -> None:
    told = route_test(Invite("+918069000000"), SETTINGS)
    assert told.agent == "sales"
    assert [one.how for one in told.routes] == ["passed", "taken", "never"]
    assert told.routes[0].why == 'carrier = "twilio" is not sip'


@pytest.mark.parametrize(
    ("invite", "number", "agent"),
    [
        (Invite("sip:00918069000000@h;user=phone"), "+918069000000", "sales"),
        (Invite("sip:s7f@h", to="+917700000000"), "+917700000000", "night"),
        (Invite("tel:+49-30-1"), "+49301", "receptionist"),
        (Invite("+918069000000", carrier="twilio"), "+918069000000", "sales"),
        (Invite("sip:h"), "", "receptionist"),
    ],
)
def test_numbers_are_read_as_the_service_reads_them(invite: Invite, number: str, agent: str) -> None:
    told = route_test(invite, SETTINGS)
    assert (told.number, told.agent) == (number, agent)


def test_the_context_that_the_agent_gets() -> None:
    told = route_test(Invite("1", headers={"X-Id": "7"}, trunk="acme"), SETTINGS)
    assert told.context == {"X-Id": "7", "trunk": "acme"}


@pytest.mark.parametrize(
    ("source", "users", "how", "trunk"),
    [
        ("203.0.113.9", (), "trunk", "acme"),
        ("192.0.2.44", (), "trunk", "acme"),  # its name leads there
        ("10.1.1.1", (), "allowed", ""),
        ("198.51.100.1", (), "dropped", ""),
        ("198.51.100.1", ({"name": "desk", "password": "x" * 12},), "asked", ""),
        ("10.1.1.1", ({"name": "desk", "password": "x" * 12},), "allowed", ""),
    ],
)
def test_whether_the_source_is_heard(source: str, users: tuple[Any, ...], how: Heard, trunk: str) -> None:
    changed = msgspec.convert({**msgspec.to_builtins(SETTINGS.sip), "user": users}, type(SETTINGS.sip))
    assert heard(source, options_of(changed, "", ""), {"acme": ["192.0.2.44"]}) == (how, trunk)


def told(invite: Invite) -> tuple[int, str]:
    out = io.StringIO()
    return show(invite, SETTINGS, Console(file=out, width=200)), out.getvalue()


def test_what_is_printed_and_the_exit_code() -> None:
    code, text = told(Invite("+918069000000", source="10.2.3.4"))
    assert (code, text.splitlines()[-1]) == (0, "+918069000000 on sip → sales (offline)")
    assert "✓ source    10.2.3.4 may call" in text
    assert told(Invite("1", source="198.51.100.7"))[0] == 1
    assert "none takes it" in told(Invite("1"))[1]


@pytest.mark.parametrize("invite", [Invite("1", trunk="nobody"), Invite("1", source="host.example")])
def test_a_question_that_makes_no_sense(invite: Invite) -> None:
    with pytest.raises(ConfigError):
        told(invite)


@pytest.mark.parametrize(
    ("invite", "words"),
    [
        (Invite("1", carrier="nonsense"), "--carrier nonsense: there are: audiosocket, sip, smartflo, twilio"),
        (Invite(" "), "number: must be"),
    ],
)
def test_a_question_about_nothing_is_refused(invite: Invite, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        told(invite)


def test_headers_are_pairs_and_only_those_that_the_gateway_keeps_reach_the_agent() -> None:
    assert headers_of(("X-A=1=2", "X-B=")) == {"X-A": "1=2", "X-B": ""}
    for wrong in ("X-A", "=1"):
        with pytest.raises(ConfigError, match="X-NAME=VALUE"):
            headers_of((wrong,))
    _, words = told(Invite("1", headers={"X-A": "1", "Subject": "2"}))
    assert "X-A = 1" in words
    assert "Subject = 2" not in words
    assert "Subject is left out" in words
