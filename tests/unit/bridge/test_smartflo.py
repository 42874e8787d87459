"""Smartflo's dialect: golden messages, and every rule of leniency. Messages are composed, not captured."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from trunkline.bridge.carriers.smartflo import ODDITIES, SmartfloDialect, call_ids
from trunkline.bridge.dialect import StreamStarted, StreamStopped, WireAudio, WireDigits, WireEvent, WireMark
from trunkline.bridge.leg import Oddity

CONNECTED = '{"event":"connected"}'
START = (
    '{"event":"start","sequenceNumber":"1","streamSid":"S1","start":{"streamSid":"S1","accountSid":"A1",'
    '"callSid":"h11.08-1776875353.216650","from":"919800000001","to":"918069000000","direction":"inbound",'
    '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"bitRate":64,"bitDepth":8},'
    '"customParameters":{"custom_identifier":"{\\"call_token\\":\\"abc\\"}"}}}'
)
MEDIA = (
    '{"event":"media","sequenceNumber":"2","streamSid":"S1",'
    '"media":{"chunk":"1","timestamp":"100","payload":"/////w=="}}'
)
DTMF = '{"event":"dtmf","sequenceNumber":"3","streamSid":"S1","dtmf":{"digit":"5"}}'
MARK = '{"event":"mark","sequenceNumber":"4","streamSid":"S1","mark":{"name":"g1-1"}}'
STOP = (
    '{"event":"stop","sequenceNumber":"5","streamSid":"S1",'
    '"stop":{"accountSid":"A1","callSid":"h11.08-1776875353.216650","reason":"Call ended"}}'
)


def started(**start: Any) -> SmartfloDialect:
    """A dialect whose stream S1 was described."""
    dialect = SmartfloDialect({})
    dialect.receive(json.dumps({"event": "start", "streamSid": "S1", "sequenceNumber": 1, "start": start}))
    return dialect


def described(
    start: Any = None, query: dict[str, str] | None = None, dids: Sequence[str] = (), **top: Any
) -> StreamStarted:
    """What a `start` with these fields says."""
    body = {} if start is None else {"start": start}
    events = SmartfloDialect(query or {}, dids=dids).receive(json.dumps({"event": "start", **body, **top}))
    (found,) = [event for event in events if isinstance(event, StreamStarted)]
    return found


def media(payload: bytes | str = b"\x80" * 160, seq: Any = None, stream: str = "S1", **more: Any) -> str:
    text = base64.b64encode(payload).decode() if isinstance(payload, bytes) else payload
    number = {} if seq is None else {"sequenceNumber": seq}
    return json.dumps({"event": "media", **number, "streamSid": stream, "media": {"payload": text, **more}})


def kinds(events: Sequence[WireEvent]) -> list[str]:
    return [event.kind for event in events if isinstance(event, Oddity)]


def audio(events: Sequence[WireEvent]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, WireAudio)]


def test_golden_call() -> None:
    dialect = SmartfloDialect({})
    assert dialect.receive(CONNECTED) == []
    (start,) = dialect.receive(START)
    assert isinstance(start, StreamStarted)
    assert (start.stream_id, start.carrier_ref) == ("S1", "h11.08-1776875353.216650")
    assert (start.direction, start.from_, start.to) == ("inbound", "+919800000001", "+918069000000")
    assert start.codec.name == "PCMU"
    assert start.parameters == {"custom_identifier": '{"call_token":"abc"}', "call_token": "abc"}
    assert list(dialect.receive(MEDIA)) == [WireAudio(b"\xff\xff\xff\xff", 100)]
    assert dialect.audio(b"\xff\xff\xff\xff") == (
        '{"event":"media","streamSid":"S1","media":{"payload":"/////w==","chunk":1}}'
    )
    assert dialect.mark("g1-1") == '{"event":"mark","streamSid":"S1","mark":{"name":"g1-1"}}'
    assert list(dialect.receive(DTMF)) == [WireDigits("5")]
    assert dialect.clear() == '{"event":"clear","streamSid":"S1"}'
    assert list(dialect.receive(MARK)) == [WireMark("g1-1")]
    assert dialect.hang_up() == '{"event":"end","streamSid":"S1","call_sid":"h11.08-1776875353.216650"}'
    assert dialect.hello() == CONNECTED
    assert list(dialect.receive(STOP)) == [StreamStopped("Call ended")]


def test_chunks_count_from_one_and_ids_are_json() -> None:
    dialect = SmartfloDialect({})
    dialect.receive(json.dumps({"event": "start", "streamSid": 'q"\\é', "start": {}}))
    messages = [json.loads(dialect.audio(b"\xff" * 160)) for _ in range(3)]
    assert [message["media"]["chunk"] for message in messages] == [1, 2, 3]
    assert {message["streamSid"] for message in messages} == {'q"\\é'}
    assert json.loads(dialect.mark('a"b'))["mark"]["name"] == 'a"b'


# -- leniency: reading


@pytest.mark.parametrize(
    "message",
    [
        {"event": "start", "stream_sid": "S1", "start": {"call_sid": "C", "from": "1", "to": "2"}},
        {"event": "start", "start": {"streamId": "S1", "callId": "C", "from": "1", "to": "2"}},
        {"event": "start", "streamSid": "S1", "callSid": "C", "from": "1", "to": "2"},
        {"event": "START ", "streamSid": "S1", "start": {"callSid": "C", "from": 1, "to": 2.0}},
    ],
)
def test_ids_in_any_case_and_place(message: dict[str, Any]) -> None:
    (start,) = [e for e in SmartfloDialect({}).receive(json.dumps(message)) if isinstance(e, StreamStarted)]
    assert (start.stream_id, start.carrier_ref, start.from_, start.to) == ("S1", "C", "1", "2")


def test_numbers_as_text_or_not_at_all() -> None:
    dialect = started()
    assert list(dialect.receive(media(seq="2", timestamp="20"))) == [WireAudio(b"\x80" * 160, 20)]
    assert list(dialect.receive(media(seq=3, timestamp=40))) == [WireAudio(b"\x80" * 160, 40)]
    assert list(dialect.receive(media(seq=4.0, timestamp="x"))) == [WireAudio(b"\x80" * 160, None)]
    assert list(dialect.receive(media())) == [WireAudio(b"\x80" * 160, None)]
    assert list(dialect.receive(media(seq="five"))) == [WireAudio(b"\x80" * 160, None)]
    assert list(dialect.receive(media(seq=True))) == [WireAudio(b"\x80" * 160, None)]
    assert list(dialect.receive(media(seq=10**400))) == [WireAudio(b"\x80" * 160, None)]


def test_start_needs_no_connected_and_connected_may_follow() -> None:
    dialect = SmartfloDialect({})
    assert isinstance(dialect.receive(START)[0], StreamStarted)
    assert list(dialect.receive(CONNECTED)) == []
    assert audio(dialect.receive(MEDIA)) == [b"\xff" * 4]


def test_a_repeated_start_takes_the_new_ids() -> None:
    dialect = started()
    dialect.receive(media(seq=2))
    again = dialect.receive(json.dumps({"event": "start", "sequenceNumber": 1, "streamSid": "S2", "start": {}}))
    assert kinds(again) == ["repeated_start"]
    assert json.loads(dialect.audio(b"\xff" * 160))["streamSid"] == "S2"
    assert kinds(dialect.receive(media(seq=2, stream="S1"))) == ["wrong_stream"]
    assert kinds(dialect.receive(media(seq=2, stream="S2"))) == []
    assert kinds(dialect.receive(media(seq=3, stream="S2"))) == []


def test_a_start_delivered_twice_is_no_gap() -> None:
    dialect = started()
    for seq in range(2, 40):
        assert kinds(dialect.receive(media(bytes([seq]) * 160, seq))) == []
    dialect.receive(json.dumps({"event": "start", "sequenceNumber": 1, "streamSid": "S1", "start": {}}))
    assert kinds(dialect.receive(media(seq=40))) == []


def test_media_before_start_is_kept_for_a_second() -> None:
    dialect = SmartfloDialect({})
    for seq in range(2, 82):
        events = dialect.receive(media(bytes([seq]) * 160, seq))
        assert kinds(events) == ["media_before_start"]
        assert audio(events) == []
    start, *rest = dialect.receive(START)
    assert isinstance(start, StreamStarted)
    assert audio(rest) == [bytes([seq]) * 160 for seq in range(2, 52)]
    assert kinds(dialect.receive(media(seq=82))) == []


def test_keys_and_marks_before_start_are_no_ones() -> None:
    dialect = SmartfloDialect({})
    assert kinds(dialect.receive(DTMF)) == ["before_start"]
    assert kinds(dialect.receive(MARK)) == ["before_start"]


def test_after_stop_nothing_counts_and_a_second_stop_is_the_same_end() -> None:
    dialect = started()
    assert list(dialect.receive(STOP)) == [StreamStopped("Call ended")]
    assert list(dialect.receive(STOP)) == []
    for message in (MEDIA, DTMF, MARK, START, CONNECTED):
        assert kinds(dialect.receive(message)) == ["after_stop"]
        assert len(dialect.receive(message)) == 1


@pytest.mark.parametrize(
    ("described_as", "name", "rate"),
    [
        ({"encoding": "audio/x-mulaw", "sampleRate": 8000}, "PCMU", 8000),
        ({"encoding": "PCMU"}, "PCMU", 8000),
        ({"encoding": "ulaw", "sampleRate": "8000"}, "PCMU", 8000),
        ({"encoding": "g711_ulaw"}, "PCMU", 8000),
        ({"encoding": "audio/x-alaw", "sample_rate": 8000}, "PCMA", 8000),
        ({"encoding": "alaw"}, "PCMA", 8000),
        ({"encoding": "audio/x-l16", "sampleRate": 8000}, "L16", 8000),
        ({"encoding": "slin", "sampleRate": 16000}, "L16", 16000),
        ({"encoding": "slin16"}, "L16", 16000),
        ({"encoding": "raw", "sampleRate": 24000.0}, "L16", 24000),
        ({"encoding": "audio/l16;rate=16000"}, "L16", 16000),
        ('{"encoding":"linear16","sampleRate":"16000"}', "L16", 16000),
        ("audio/x-alaw", "PCMA", 8000),
        (None, "PCMU", 8000),
        ({}, "PCMU", 8000),
    ],
)
def test_media_format(described_as: Any, name: str, rate: int) -> None:
    for key in ("mediaFormat", "media_format"):
        codec = described({key: described_as}).codec
        assert (codec.name, codec.rate) == (name, rate)


@pytest.mark.parametrize(
    "described_as", [{"encoding": "opus"}, {"encoding": "PCMU", "sampleRate": 16000}, {"encoding": 7}]
)
def test_an_unknown_format_is_told_and_taken_for_mulaw(described_as: Any) -> None:
    events = SmartfloDialect({}).receive(
        json.dumps({"event": "start", "streamSid": "S", "start": {"mediaFormat": described_as}})
    )
    assert kinds(events) == ["unknown_encoding"]
    assert [e.codec.name for e in events if isinstance(e, StreamStarted)] == ["PCMU"]


def test_payloads_of_any_size() -> None:
    dialect = started()
    assert audio(dialect.receive(media(b"\x80"))) == [b"\x80"]
    assert audio(dialect.receive(media(b""))) == []
    assert kinds(dialect.receive(media(b""))) == []
    wide = started(mediaFormat={"encoding": "slin", "sampleRate": 8000})
    events = wide.receive(media(b"abc"))
    assert kinds(events) == ["odd_size"]
    assert audio(events) == [b"abc"]  # the codec keeps the third byte


@pytest.mark.parametrize("text", ["/////w", "////\\n/w==", "_____w==", " /////w== "])
def test_base64_without_padding_or_in_lines(text: str) -> None:
    events = started().receive(media("@").replace("@", text))
    assert audio(events) == [b"\xff" * 4]
    assert kinds(events) == []


@pytest.mark.parametrize(("text", "kind"), [("/////w=a", "bad_base64"), ("a", "bad_base64"), ("é", "bad_base64")])
def test_bad_base64_costs_one_message(text: str, kind: str) -> None:
    dialect = started()
    events = dialect.receive(media(text, 2))
    assert kinds(events) == [kind]
    assert audio(events) == []
    assert audio(dialect.receive(media(b"\xff" * 160, 3))) == [b"\xff" * 160]


@pytest.mark.parametrize("body", [{}, {"payload": 7}, {"payload": None}, {"payload": ["x"]}, None, "x", 7])
def test_media_without_audio(body: Any) -> None:
    assert kinds(started().receive(json.dumps({"event": "media", "streamSid": "S1", "media": body}))) == ["no_payload"]


def test_foreign_tracks_are_not_heard() -> None:
    dialect = started()
    assert audio(dialect.receive(media(track="inbound"))) != []
    assert audio(dialect.receive(media(track="inbound_track"))) != []
    assert audio(dialect.receive(media(track="Inbound"))) != []
    events = dialect.receive(media(track="outbound"))
    assert (kinds(events), audio(events)) == (["foreign_track"], [])


@pytest.mark.parametrize(
    ("digit", "keys", "odd"),
    [
        ("5", "5", []),
        (5, "5", []),
        ("12#", "12#", []),
        ("a", "A", []),
        ("x", "", ["bad_digit"]),
        ("1x2", "12", ["bad_digit"]),
        ("", "", ["bad_digit"]),
        (None, "", ["bad_digit"]),
        ("9" * 99, "9" * 32, ["bad_digit"]),
    ],
)
def test_dtmf(digit: Any, keys: str, odd: list[str]) -> None:
    events = started().receive(json.dumps({"event": "dtmf", "streamSid": "S1", "dtmf": {"digit": digit}}))
    assert [e.keys for e in events if isinstance(e, WireDigits)] == ([keys] if keys else [])
    assert kinds(events) == odd


# -- leniency: sequence numbers


def test_a_gap_is_told_with_its_size() -> None:
    dialect = started()
    dialect.receive(media(seq=2))
    events = dialect.receive(media(b"\x01" * 160, seq=6))
    assert kinds(events) == ["sequence_gap"]
    assert [(e.lost, e.payload) for e in events if isinstance(e, WireAudio)] == [(3, b"\x01" * 160)]


def test_the_same_message_twice_is_heard_once() -> None:
    dialect = started()
    for seq in range(2, 8):
        dialect.receive(media(bytes([seq]) * 160, seq))
    for seq in (7, 5):
        events = dialect.receive(media(bytes([seq]) * 160, seq))
        assert (kinds(events), audio(events)) == (["duplicate_sequence"], [])
    assert kinds(dialect.receive(media(b"\x08" * 160, 8))) == []


def test_a_late_message_is_still_heard() -> None:
    dialect = started()
    dialect.receive(media(b"\x02" * 160, 2))
    dialect.receive(media(b"\x04" * 160, 4))
    events = dialect.receive(media(b"\x03" * 160, 3))
    assert (kinds(events), audio(events)) == (["late_sequence"], [b"\x03" * 160])
    assert kinds(dialect.receive(media(b"\x05" * 160, 5))) == []


def test_a_carrier_that_counts_anew_or_not_at_all_is_heard() -> None:
    dialect = started()
    for seq in range(2, 60):
        dialect.receive(media(bytes([seq]) * 160, seq))
    events = dialect.receive(media(b"\x99" * 160, 1))
    assert (kinds(events), audio(events)) == (["sequence_restart"], [b"\x99" * 160])
    assert kinds(dialect.receive(media(b"\x98" * 160, 2))) == []
    for number in range(20):  # always the same number
        assert audio(dialect.receive(media(bytes([number]) * 160, 7))) == [bytes([number]) * 160]


def test_a_wild_jump_is_bounded() -> None:
    dialect = started()
    dialect.receive(media(seq=2))
    (event,) = [e for e in dialect.receive(media(seq=2**50)) if isinstance(e, WireAudio)]
    assert event.lost == 1000


# -- leniency: what is no message of ours


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("\ud800", "bad_json"),
        ("[" * 100_000, "bad_json"),
        ("[]", "not_object"),
        ("7", "not_object"),
        ("null", "not_object"),
        ("{}", "unknown_event"),
        ('{"event":null}', "unknown_event"),
        ('{"event":{"event":"media"}}', "unknown_event"),
        ('{"event":"dance"}', "unknown_event"),
        (b"\x00\x01", "binary_frame"),
        (b"", "binary_frame"),
    ],
)
def test_nonsense_is_told(message: str | bytes, kind: str) -> None:
    for dialect in (SmartfloDialect({}), started()):
        assert kinds(dialect.receive(message)) == [kind]
        assert audio(dialect.receive(MEDIA)) == [b"\xff" * 4] or dialect.state == "waiting"


def test_json_in_a_binary_frame_is_read_all_the_same() -> None:
    events = started().receive(MEDIA.encode())
    assert (kinds(events), audio(events)) == (["binary_frame"], [b"\xff" * 4])


def test_another_streams_messages_are_not_ours() -> None:
    dialect = started()
    for message in (MEDIA, DTMF, MARK, STOP):
        assert kinds(dialect.receive(message.replace('"S1"', '"S9"'))) == ["wrong_stream"]
    assert list(dialect.receive(STOP)) == [StreamStopped("Call ended")]


def test_a_stream_without_id_takes_the_first_it_sees() -> None:
    dialect = SmartfloDialect({})
    assert kinds(dialect.receive('{"event":"start","start":{}}')) == ["no_stream_id"]
    assert json.loads(dialect.clear())["streamSid"] == ""
    assert audio(dialect.receive(media(stream="S7"))) == [b"\x80" * 160]
    assert json.loads(dialect.clear())["streamSid"] == "S7"


def test_oversized_names_are_left_out() -> None:
    long = "x" * 300
    events = SmartfloDialect({}).receive(json.dumps({"event": "start", "streamSid": long, "callSid": long}))
    assert set(kinds(events)) == {"oversized_name", "no_stream_id"}
    assert all(len(e.detail) <= 200 for e in events if isinstance(e, Oddity))
    events = started().receive(json.dumps({"event": "mark", "streamSid": "S1", "mark": {"name": long}}))
    assert kinds(events) == ["oversized_name"]
    assert len(events) == 1


# -- who calls whom, and what the call brings along

DID, CUSTOMER = "918069000000", "919800000001"


@pytest.mark.parametrize(
    ("direction", "from_", "to", "expected"),
    [
        ("inbound", CUSTOMER, DID, ("inbound", CUSTOMER, DID)),
        ("inbound", DID, CUSTOMER, ("inbound", CUSTOMER, DID)),  # swapped
        ("outbound", DID, CUSTOMER, ("outbound", DID, CUSTOMER)),
        ("outbound", CUSTOMER, DID, ("outbound", DID, CUSTOMER)),  # swapped
        ("Outgoing", DID, CUSTOMER, ("outbound", DID, CUSTOMER)),
        ("", DID, CUSTOMER, ("outbound", DID, CUSTOMER)),
        ("", CUSTOMER, DID, ("inbound", CUSTOMER, DID)),
        (None, CUSTOMER, "08069000000", ("inbound", CUSTOMER, DID)),
    ],
)
def test_the_customer_is_whoever_is_not_ours(
    direction: Any, from_: str, to: str, expected: tuple[str, str, str]
) -> None:
    start = described({"direction": direction, "from": from_, "to": to}, dids=("+91 80690 00000",))
    assert (start.direction, start.from_, start.to) == (expected[0], "+" + expected[1], "+" + expected[2])


def test_without_known_numbers_nothing_is_swapped() -> None:
    start = described({"direction": "inbound", "from": DID, "to": CUSTOMER})
    assert (start.from_, start.to) == ("+" + DID, "+" + CUSTOMER)


TOKEN = {"call_token": "abc"}


@pytest.mark.parametrize(
    "start",
    [
        {"customParameters": TOKEN},
        {"custom_parameters": TOKEN},
        {"customParameters": json.dumps(TOKEN)},
        {"customParameters": json.dumps(json.dumps(TOKEN))},
        {"customParameters": {"custom_identifier": TOKEN}},
        {"customParameters": {"custom_identifier": json.dumps(TOKEN)}},
        {"customParameters": {"custom_identifier": json.dumps(json.dumps(TOKEN))}},
        {"customParameters": "call_token=abc&x=1"},
        {"customParameters": "call_token=abc;x=1"},
        {"customParameters": ["x=1", "call_token=abc"]},
        {"custom_identifier": json.dumps(TOKEN)},
    ],
)
def test_custom_parameters_in_every_shape(start: dict[str, Any]) -> None:
    assert described(start).parameters["call_token"] == "abc"
    assert described(None, **start).parameters["call_token"] == "abc"


def test_the_querys_parameters_lose_to_those_in_band() -> None:
    start = described({"customParameters": TOKEN}, query={"call_token": "query", "sid": "q1"})
    assert start.parameters == {"call_token": "abc", "sid": "q1"}


def test_a_plain_identifier_stays_one() -> None:
    assert described({"custom_identifier": "lead-7"}).parameters == {"custom_identifier": "lead-7"}


def test_hostile_parameters_are_bounded() -> None:
    bomb: Any = {"k": "v"}
    for _ in range(50):
        bomb = {"n": bomb}
    many = {f"k{n}": "v" for n in range(1000)}
    assert len(described({"customParameters": many}).parameters) <= 64
    assert described({"customParameters": {"x" * 300: "v", "k": "v" * 5000}}).parameters == {}
    assert described({"customParameters": bomb}).parameters


def test_call_ids() -> None:
    assert call_ids("h11.08-1776875353.216650") == ("h11.08-1776875353.216650", "1776875353.216650")
    assert call_ids("1776875353.216650") == ("1776875353.216650",)
    assert call_ids("") == ("",)


def test_every_oddity_has_a_test() -> None:
    with open(__file__) as source:
        text = source.read()
    assert [kind for kind in ODDITIES if f'"{kind}"' not in text] == []
