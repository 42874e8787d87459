"""An Asterisk's side of AudioSocket: what it says, what it makes of what it gets."""

import pytest

from trunkline_sim.audiosocket import CLOSE, WIRE, AudioSocketListener, AudioSocketSpeaker, call_facts, dial
from trunkline_sim.errors import SimError
from trunkline_sim.faults import Faults
from trunkline_sim.stream import Stream
from trunkline_sim.wire import HangUp, Play

FACTS = call_facts("100", "12345678-1234-5678-1234-567812345678")


def test_asterisk_speaks_as_in_its_source() -> None:
    speaker = AudioSocketSpeaker(FACTS)
    assert speaker.start().encode("latin-1").hex() == "010010" + "12345678123456781234567812345678"
    assert speaker.dtmf("5").encode("latin-1").hex() == "03000135"
    media = speaker.media(b"\xff\x80\x00" + b"\xff" * 157, 20).encode("latin-1")
    assert media[:3].hex() == "100140"
    assert media[3:9].hex() == "0000" + "7c7d" + "8482"  # 0, 32124, -32124
    assert len(media) == 323


def test_what_it_gets_is_played_or_complained_about() -> None:
    listener = AudioSocketListener("")
    assert listener.receive(bytes.fromhex("100140") + bytes(320)) == Play(b"\xff" * 160)
    assert listener.receive(bytes(3)) == HangUp()
    assert not listener.complaints
    assert listener.receive(bytes.fromhex("100002") + bytes(2)) == Play(b"\xff")
    assert listener.receive(bytes.fromhex("120002") + bytes(2)) is None
    assert listener.receive(bytes.fromhex("100000")) is None
    assert listener.complaints == {"size_not_320": 1, "not_audio": 2}


def test_a_call_begins_with_the_uuid_and_ends_with_a_close() -> None:
    stream = Stream(FACTS, message_ms=20, wire=WIRE)
    assert [len(message) for message in (*stream.opening(), *stream.tick(0.02))] == [0, 19, 323]
    assert stream.goodbye("Call ended") == CLOSE
    assert Stream(FACTS, Faults(no_stop=True), wire=WIRE).goodbye("Call ended") is None


@pytest.mark.parametrize("url", ["audiosocket://127.0.0.1", "audiosocket://:9", "audiosocket://127.0.0.1:1"])
async def test_no_service_is_told_as_such(url: str) -> None:
    with pytest.raises(SimError, match="no AudioSocket at audiosocket://"):
        await dial(url)


def test_a_uuid_that_is_none_is_told_as_such() -> None:
    with pytest.raises(SimError, match="must be a UUID"):
        call_facts("100", "x")
