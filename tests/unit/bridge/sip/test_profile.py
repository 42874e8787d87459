"""SIP's facts: who is called, numbers as they are shown, what an end means."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.gateway import OFFER
from trunkline.bridge.sip import profile
from trunkline.bridge.sip.messages import Dial, Gone
from trunkline.outcome import EndCause, Outcome


@pytest.mark.parametrize(
    ("uri", "to", "expected"),
    [
        ("sip:agent@127.0.0.1:5060", "agent", ("agent",)),
        ("sip:+918069000000@sip.example.com;user=phone", "+918069000000", ("+918069000000",)),
        ("sip:00918069000000@10.0.0.1", "sales", ("+918069000000", "sales")),
        ("sip:s6f1;x=1@10.0.0.1", "08069000000", ("s6f1", "08069000000")),
        ("sip:10.0.0.1:5060", "1001", ("1001",)),
        ("tel:+91-80-6900-0000;phone-context=x", "", ("+918069000000",)),
        ("sip:desk:secret@10.0.0.1", "", ("desk",)),
    ],
)
def test_who_is_called(uri: str, to: str, expected: tuple[str, ...]) -> None:
    assert profile.called(msgspec.structs.replace(OFFER, request_uri=uri, to=to)) == expected


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+91 (80) 6900-0000", "+918069000000"), ("00918069000000", "+918069000000"), ("0091", "0091"),
     ("asha.rao", "asha.rao"), ("1001", "1001"), ("", ""), ("*97", "*97"), ("٠٠٩١٨٠٦٩٠", "٠٠٩١٨٠٦٩٠")],
)  # fmt: skip
def test_numbers_as_they_are_shown(number: str, shown: str) -> None:
    assert profile.plain(number) == shown


def test_the_facts_of_an_offer() -> None:
    offer = msgspec.structs.replace(OFFER, trunk="acme")
    info = profile.inbound(offer, "agent", 8000)
    assert (info.direction, info.from_, info.to, info.carrier) == ("inbound", "+919800000001", "agent", "sip")
    assert (info.codec.name, info.codec.rate, info.frame_ms, info.lead_s) == ("L16", 8000, 20, 0.04)
    assert info.parameters == {"X-Account": "17", "caller_name": "Asha", "trunk": "acme"}
    assert info.carrier_ref == "abc@127.0.0.1"


def test_the_facts_of_a_call_that_we_placed() -> None:
    info = profile.outbound(Dial(1, 0, "+919800000001", "acme", "+918069000000"), "ref", 16_000)
    assert (info.direction, info.from_, info.to) == ("outbound", "+918069000000", "+919800000001")
    assert (info.codec.rate, info.parameters, info.carrier_ref) == (16_000, {"trunk": "acme"}, "ref")


@pytest.mark.parametrize(
    ("gone", "cause"),
    [
        (Gone(7, 486, "Busy Here", "far", False), EndCause.BUSY),
        (Gone(7, 487, "", "us", False), EndCause.CANCELED),
        (Gone(7, 0, "", "gateway", False, "ring time"), EndCause.NO_ANSWER),
        (Gone(7, 603, "Decline", "far", False), EndCause.NO_ANSWER),  # by the trunk's own table
        (Gone(7, 0, "", "gateway", False, "no route"), EndCause.MEDIA_LOST),
    ],
)
def test_how_calls_that_we_placed_end(gone: Gone, cause: EndCause) -> None:
    assert profile.of_gone(gone, inbound=False, overrides={603: EndCause.NO_ANSWER}).cause is cause


def test_a_person_we_called_and_who_hung_up() -> None:
    gone = Gone(7, 200, "", "far", True)
    assert profile.of_gone(gone, inbound=False) == Outcome(EndCause.COMPLETED, "callee", "BYE")


@pytest.mark.parametrize(
    ("target", "domain", "uri"),
    [
        ("sip:desk@pbx.example.com", "x", "sip:desk@pbx.example.com"),
        ("+91 80690 00000", "pbx.example.com", "sip:+918069000000@pbx.example.com"),
        ("1001", "", "tel:1001"),
        ("*97#", "pbx", "sip:*97%23@pbx"),
    ],
)
def test_where_a_transfer_goes(target: str, domain: str, uri: str) -> None:
    assert profile.target_uri(target, domain) == uri


@pytest.mark.parametrize("target", ["", "sip:a@b>\r\nX-Evil: 1", "a b", "1001;x=y", "sip:a@b <x>", "<sip:a@b>", "é"])
def test_a_target_that_is_none(target: str) -> None:
    with pytest.raises(ValueError, match=r"must be|cannot have"):
        profile.target_uri(target, "pbx")


@given(st.text(max_size=60), st.sampled_from(["", "pbx.example.com"]))
def test_no_target_can_bring_another_header(target: str, domain: str) -> None:
    try:
        uri = profile.target_uri(target, domain)
    except ValueError:
        return
    assert uri.isascii()
    assert not set(uri) & set('<>" \r\n\t\0')
