"""Twilio's dialect: golden messages, and what it has of its own. Messages are composed, not captured."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.conformance.leg import marks, speak, until_ended
from tests.fakes.leg import twilio_leg
from tests.virtual_time import virtual
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.carriers.twilio import TwilioDialect
from trunkline.bridge.dialect import StreamStarted, StreamStopped, WireAudio, WireDigits, WireEvent, WireMark
from trunkline.bridge.leg import Oddity
from trunkline.bridge.numbers import international
from trunkline.outcome import EndCause

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = (
    '{"event":"start","sequenceNumber":"1","start":{"streamSid":"MZ1","accountSid":"AC1","callSid":"CA1",'
    '"tracks":["inbound"],"customParameters":{"call_token":"abc"},'
    '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"streamSid":"MZ1"}'
)
MEDIA = (
    '{"event":"media","sequenceNumber":"2","media":{"track":"inbound","chunk":"1","timestamp":"20",'
    '"payload":"/////w=="},"streamSid":"MZ1"}'
)
MARK = '{"event":"mark","sequenceNumber":"3","streamSid":"MZ1","mark":{"name":"g1-1"}}'
STOP = '{"event":"stop","sequenceNumber":"4","stop":{"accountSid":"AC1","callSid":"CA1"},"streamSid":"MZ1"}'


def started(**parameters: Any) -> tuple[TwilioDialect, StreamStarted]:
    """A dialect whose stream was described with these parameters, and the description."""
    dialect = TwilioDialect({})
    start = {"callSid": "CA1", "customParameters": parameters}
    message = {"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start}
    (found,) = dialect.receive(json.dumps(message))
    assert isinstance(found, StreamStarted)
    return dialect, found


def test_a_call_as_documented() -> None:
    dialect = TwilioDialect({})
    said: list[WireEvent] = []
    for message in (CONNECTED, START, MEDIA, MARK, STOP):
        said.extend(dialect.receive(message))
    first, audio, mark, stop = said
    assert isinstance(first, StreamStarted)
    assert (first.stream_id, first.carrier_ref, first.codec.name, first.codec.rate) == ("MZ1", "CA1", "PCMU", 8000)
    assert first.parameters == {"call_token": "abc"}
    assert (audio, mark, stop) == (WireAudio(b"\xff" * 4, 20), WireMark("g1-1"), StreamStopped(""))


def test_it_says_what_twilio_knows_and_nothing_else() -> None:
    dialect, _ = started()
    assert dialect.audio(b"\xff" * 4) == '{"event":"media","streamSid":"MZ1","media":{"payload":"/////w=="}}'
    assert dialect.mark("g1-1") == '{"event":"mark","streamSid":"MZ1","mark":{"name":"g1-1"}}'
    assert dialect.clear() == '{"event":"clear","streamSid":"MZ1"}'
    unspoken: Sequence[object] = (dialect.hang_up(), dialect.hello())  # type: ignore[func-returns-value]
    assert set(unspoken) == {None}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"from": "+15005550006", "to": "+918069000000"}, ("inbound", "+15005550006", "+918069000000")),
        ({"from": " 15005550006", "to": "918069000000"}, ("inbound", "+15005550006", "+918069000000")),
        ({"from": "+266696687", "to": "sip:bot@example.com"}, ("inbound", "", "sip:bot@example.com")),
        ({"from": "client:alice", "to": "4242"}, ("inbound", "client:alice", "4242")),
        ({"from": "+1", "to": "+2", "direction": "outbound-api"}, ("outbound", "+1", "+2")),
        ({}, ("inbound", "", "")),
    ],
)
def test_who_is_who_comes_with_the_answer_document(parameters: dict[str, str], expected: tuple[str, str, str]) -> None:
    _, start = started(**parameters)
    assert (start.direction, start.from_, start.to) == expected


def test_numbers_that_are_withheld() -> None:
    for spelled in ("+266696687", "+7378742833", "+86282452253", "+2562533", "anonymous", "Restricted", ""):
        assert international(spelled) == ""


def test_the_other_track_is_not_the_caller() -> None:
    dialect, _ = started()
    other = '{"event":"media","sequenceNumber":"2","streamSid":"MZ1","media":{"track":"outbound","payload":"/////w=="}}'
    (found,) = dialect.receive(other)
    assert isinstance(found, Oddity)
    assert found.kind == "foreign_track"


def test_keys_bear_a_track() -> None:
    dialect, _ = started()
    message = '{"event":"dtmf","sequenceNumber":"2","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"#"}}'
    assert dialect.receive(message) == [WireDigits("#")]


@virtual
async def test_a_mark_that_a_clear_gave_back_was_not_heard() -> None:
    async with twilio_leg() as (leg, far):
        await speak(leg, 1.0)
        leg.mark("cut")
        assert leg.flush() > 0.1
        await speak(leg, 0.5, first=100)
        leg.mark("heard")
        await leg.room()
        await asyncio.sleep(1.0)
        far.hang_up()
        assert marks(await until_ended(leg)) == [("cut", True), ("heard", False)]
        assert len(far.flushed_at) == 1


@virtual
async def test_hanging_up_is_closing_the_socket() -> None:
    async with twilio_leg() as (leg, far):
        await leg.end(EndCause.COMPLETED)
        assert far.socket.closed_with == (1000, "")
        assert {json.loads(message)["event"] for _, message in far.socket.sent} == set()


def test_its_facts() -> None:
    profile = CARRIERS["twilio"]
    assert (profile.frame_ms, profile.lead_s, profile.once) == (20, 0.2, True)
