"""Twilio's platform as its pages have it: what it says, what it complains about, which TwiML it follows."""

import json
from pathlib import Path

import pytest
from twilio.twiml.voice_response import Connect, VoiceResponse

from trunkline_sim.errors import EndpointError
from trunkline_sim.stream import Stream
from trunkline_sim.twilio import WIRE, TwilioListener, TwilioSpeaker, call_facts
from trunkline_sim.twilio_http import call_fields, progress, read_twiml, stream_fields
from trunkline_sim.wire import Clear, Mark, Play

FACTS = call_facts("15005550006", "918069000000", parameters={"k": "v"})


def test_the_platform_speaks_as_documented() -> None:
    speaker = TwilioSpeaker(FACTS)
    assert json.loads(speaker.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = json.loads(speaker.start())
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": FACTS.stream_sid,
        "start": {
            "streamSid": FACTS.stream_sid,
            "accountSid": FACTS.account_sid,
            "callSid": FACTS.call_sid,
            "tracks": ["inbound"],
            "customParameters": {"k": "v"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    media = json.loads(speaker.media(b"\xff" * 4, 20))
    assert media["media"] == {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": "/////w=="}
    assert json.loads(speaker.dtmf("5"))["dtmf"] == {"track": "inbound_track", "digit": "5"}
    stop = json.loads(speaker.stop("whatever"))
    assert (stop["sequenceNumber"], set(stop["stop"])) == ("4", {"accountSid", "callSid"})
    assert (len(FACTS.call_sid), FACTS.call_sid[:2], FACTS.stream_sid[:2]) == (34, "CA", "MZ")


def test_it_knows_three_messages_and_complains_about_all_others() -> None:
    listener = TwilioListener("MZ1")
    said = '{"event":"%s","streamSid":"MZ1","media":{"payload":"/////w=="},"mark":{"name":"m"}}'
    assert listener.receive(said % "media") == Play(b"\xff" * 4), "any length is played"
    assert listener.receive(said % "mark") == Mark("m")
    assert listener.receive(said % "clear") == Clear()
    assert not listener.complaints
    for event in ("connected", "end", "stop", "dtmf"):
        assert listener.receive(said % event) is None
    assert listener.receive(b"\xff") is None
    assert listener.complaints == {"unknown_event": 4, "binary_message": 1}


def test_a_clear_gives_all_marks_back_at_once() -> None:
    stream = Stream(FACTS, message_ms=20, wire=WIRE)
    said = [json.loads(message)["event"] for message in (*stream.opening(), *stream.tick(0.02))]
    assert said == ["connected", "start", "media"]
    head = f'{{"event":"%s","streamSid":"{FACTS.stream_sid}"'
    payload = "/" * 1598 + "=="  # 150 ms
    stream.receive(f'{head % "media"},"media":{{"payload":"{payload}"}}}}', 0.02)
    assert stream.receive(f'{head % "mark"},"mark":{{"name":"a"}}}}', 0.02) == []
    back = stream.receive(head % "clear" + "}", 0.03)
    assert [json.loads(message)["mark"]["name"] for message in back] == ["a"]


def twiml(url: str, **parameters: str) -> str:
    response, connect = VoiceResponse(), Connect()
    stream = connect.stream(url=url)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    response.append(connect)
    return str(response)


def test_it_goes_where_twiml_leads() -> None:
    found = read_twiml("", twiml("wss://b.example.com/m", a="b & c"))
    assert (found.url, found.parameters, found.status_callback) == ("wss://b.example.com/m", {"a": "b & c"}, "")


def test_the_example_for_a_twiml_bin_leads_to_our_socket() -> None:
    text = (Path(__file__).parents[3] / "examples" / "twilio.xml").read_text()
    found = read_twiml("", text)
    assert found.url == "wss://HOST/media/twilio/MEDIA_TOKEN"
    assert set(found.parameters) == {"from", "to", "direction"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (twiml("ws://b.example.com/m"), "31922"),
        (twiml("wss://b.example.com/m?a=b"), "no query"),
        (twiml("wss://b.example.com/m", a="x" * 499), "500 characters"),
        ('<Response><Reject reason="busy"/></Response>', "busy"),
        ("<Response><Say>hello</Say></Response>", "connects the call to nothing"),
        ("<Answer/>", "connects the call to nothing"),
        ('{"success": true}', "no XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Response/>', "cleverer"),
    ],
)
def test_what_it_does_not_follow(text: str, why: str) -> None:
    with pytest.raises(EndpointError, match=why):
        read_twiml("", text)


def test_the_forms_it_sends() -> None:
    assert call_fields(FACTS, "ringing")["Direction"] == "inbound"
    assert call_fields(call_facts("1", "2", "outbound"), "ringing")["Direction"] == "outbound-api"
    done = progress(FACTS, "completed", 3, 61)
    assert (done["SequenceNumber"], done["CallDuration"], done["Duration"]) == ("3", "61", "2")
    assert stream_fields(FACTS, "stream-started")["StreamSid"] == FACTS.stream_sid
