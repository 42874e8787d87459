"""Smartflo's messages as the carrier's pages have them, and what the platform complains about."""

import json

import pytest

from trunkline_sim.wire import CallFacts, Clear, HangUp, Hello, Listener, Mark, Play, Speaker

FACTS = CallFacts(stream_sid="S1", call_sid="h11.08-1776875353.216650", parameters={"k": "v"})


def test_the_platform_speaks_as_documented() -> None:
    speaker = Speaker(FACTS)
    assert speaker.connected() == '{"event":"connected"}'
    start = json.loads(speaker.start())
    assert start["sequenceNumber"] == "1"
    assert start["start"] == {
        "streamSid": "S1",
        "accountSid": "A1",
        "callSid": "h11.08-1776875353.216650",
        "from": "919800000001",
        "to": "918069000000",
        "direction": "inbound",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
        "customParameters": {"k": "v"},
    }
    assert json.loads(speaker.media(b"\xff" * 4, 100)) == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "S1",
        "media": {"chunk": "1", "timestamp": "100", "payload": "/////w=="},
    }
    assert json.loads(speaker.dtmf("5"))["dtmf"] == {"digit": "5"}
    assert json.loads(speaker.mark("g1-1"))["mark"] == {"name": "g1-1"}
    stop = json.loads(speaker.stop("Call ended"))
    assert (stop["sequenceNumber"], stop["stop"]["reason"]) == ("5", "Call ended")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ('{"event":"media","streamSid":"S1","media":{"payload":"/////w=="}}', Play(b"\xff" * 4)),
        ('{"event":"mark","streamSid":"S1","mark":{"name":"x"}}', Mark("x")),
        ('{"event":"clear","streamSid":"S1"}', Clear()),
        ('{"event":"end","streamSid":"S1","call_sid":"C"}', HangUp()),
        ('{"event":"connected"}', Hello()),
    ],
)
def test_the_platform_understands(text: str, order: object) -> None:
    assert Listener("S1").receive(text) == order


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "bad_json"),
        ("[]", "bad_json"),
        (b"\0\1", "binary_message"),
        ('{"event":"dance"}', "unknown_event"),
        ('{"event":"clear"}', "missing_streamSid"),
        ('{"event":"clear","streamSid":"other"}', "wrong_streamSid"),
        ('{"event":"media","streamSid":"S1","media":{"payload":"%%"}}', "bad_payload"),
        ('{"event":"media","streamSid":"S1"}', "bad_payload"),
        ('{"event":"media","streamSid":"S1","media":{"payload":""}}', "size_not_multiple_of_160"),
        ('{"event":"media","streamSid":"S1","media":{"payload":"/////w=="}}', "size_not_multiple_of_160"),
        ('{"event":"media","streamSid":"S1","media":{"payload":"","chunk":7}}', "chunk_not_counting"),
        ('{"event":"mark","streamSid":"S1","mark":{}}', "mark_without_name"),
    ],
)
def test_the_platform_complains(text: str | bytes, complaint: str) -> None:
    listener = Listener("S1")
    listener.receive(text)
    assert listener.complaints[complaint] == 1
