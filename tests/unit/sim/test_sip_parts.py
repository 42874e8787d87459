"""The simulated telephone's small parts: messages, SDP, RTP, tones. Against vectors, and against the product's own."""

import random

import numpy as np
import pytest

from trunkline.bridge.sip import digest
from trunkline.codecs.g711 import PCMA
from trunkline.codecs.progress import BeepDetector
from trunkline_sim import mulaw, rtp, sip_digest, sip_sdp
from trunkline_sim.sip_message import Framer, host_port, parse, render, response, tag_of, uri_of, user_of
from trunkline_sim.sip_phone import Session
from trunkline_sim.stream import Stream
from trunkline_sim.tones import TONES, tone

INVITE = (
    b"INVITE sip:%2B4930@h:5061;user=phone SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b\r\n"
    b'f: "A, B" <sip:x@y>;tag=7\r\nt: <sip:z@h>\r\ni: id\r\nCSeq: 12 INVITE\r\nSubject: two\r\n lines\r\n'
    b"l: 3\r\n\r\nabc"
)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\nc=IN IP4 10.0.0.9\r\nm=audio 4000 RTP/AVP 9 8 0 96\r\na=rtpmap:96 telephone-"
    b"event/8000\r\na=sendonly\r\nm=video 1 RTP/AVP 31\r\na=sendrecv\r\n"
)


def test_a_message_is_read_and_answered() -> None:
    message = parse(INVITE)
    assert (message.method, message.uri, message.branch, message.cseq, message.call_id) == (
        "INVITE",
        "sip:%2B4930@h:5061;user=phone",
        "z9hG4bK1",
        (12, "INVITE"),
        "id",
    )
    assert message.first("subject") == "two lines"
    assert (user_of(message.uri), host_port(message.uri)) == ("+4930", ("h", 5061))
    assert (uri_of(message.first("from")), tag_of(message.first("from"))) == ("sip:x@y", "7")
    said = parse(response(message, 180, "Ringing", tag="t9"))
    assert (said.code, said.reason, tag_of(said.first("to"))) == (180, "Ringing", "t9")
    assert [value for _, value in said.every("via")] == ["SIP/2.0/UDP a;branch=z9hG4bK1", "SIP/2.0/UDP b"]


@pytest.mark.parametrize("cut", [b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 abc X\r\n\r\n", INVITE[:-40]])
def test_what_is_no_message_is_refused(cut: bytes) -> None:
    with pytest.raises(ValueError):
        parse(cut)


def test_mutated_messages_raise_value_error_and_nothing_else() -> None:
    dice = random.Random(9)
    for _ in range(3000):
        data = bytearray(INVITE)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            found = parse(bytes(data))
            sip_sdp.read(bytes(data))
            _ = found.branch, found.cseq, found.code, user_of(found.uri)
        except ValueError:
            pass


def test_a_stream_is_cut_into_its_messages_wherever_it_breaks() -> None:
    stream = b"\r\n\r\n" + INVITE + INVITE + render("OPTIONS sip:a SIP/2.0", [("Via", "x")])
    for size in (1, 7, 4000):
        framer = Framer()
        found = [whole for at in range(0, len(stream), size) for whole in framer.feed(stream[at : at + size])]
        assert found[:2] == [INVITE, INVITE]
        assert len(found) == 3


def test_an_offer_is_read_line_by_line() -> None:
    audio = sip_sdp.read(SDP)
    assert audio == sip_sdp.Audio("10.0.0.9", 4000, ("PCMA", "PCMU"), 96, "sendonly")
    assert sip_sdp.read(b"v=0\r\nm=video 1 RTP/AVP 31\r\n") is None
    again = sip_sdp.read(sip_sdp.write("192.0.2.1", 5000, direction="inactive"))
    assert again == sip_sdp.Audio("192.0.2.1", 5000, ("PCMU", "PCMA"), 101, "inactive")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"audio 4000", b"audio x"),
        (b"audio 4000", b"audio 99999"),
        (b"m=audio 4000 RTP/AVP 9 8 0 96", b"m=audio "),
        (b"c=IN IP4 10.0.0.9", b"c=IN IP4 "),
        (b"10.0.0.9\r\nm", b"pbx.example\r\nm"),
        (b"96", b"300"),
        (b"96", b"x"),
    ],
)
def test_an_offer_that_cannot_be_read_has_no_audio(was: bytes, now: bytes) -> None:
    assert sip_sdp.read(SDP.replace(was, now)) is None


def test_mutated_offers_are_read_or_not_and_that_is_all() -> None:
    dice = random.Random(5)
    for _ in range(3000):
        data = bytearray(SDP)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        audio = sip_sdp.read(bytes(data))
        assert audio is None or (0 <= audio.port <= 65_535 and (audio.keys is None or audio.keys < 128))


def test_both_sides_of_a_digest_agree_with_the_products() -> None:
    ours = digest.Digest("trunkline", {"desk": "geheim"})
    for number in range(2):  # SHA-256, MD5
        challenge = ours.challenge("192.0.2.1", 5.0)[number]
        said = sip_digest.answer(challenge, "INVITE", "sip:a@b", "desk", "geheim")
        assert ours.check(said, "INVITE", "192.0.2.1", 5.0) == ("ok", "desk")
        wrong = sip_digest.answer(challenge, "INVITE", "sip:a@b", "desk", "falsch")
        assert ours.check(wrong, "INVITE", "192.0.2.1", 5.0)[0] == "wrong"


def test_a_doorman_believes_his_own_nonce_alone() -> None:
    one, two = (sip_digest.Doorman({"desk": "geheim"}) for _ in range(2))
    said = sip_digest.answer(one.challenge(), "INVITE", "sip:a@b", "desk", "geheim")
    assert one.lets_in(said, "INVITE")
    assert not two.lets_in(said, "INVITE")
    assert not one.lets_in("Basic abc", "INVITE")


def test_a_line_that_never_pauses_does_not_fall_behind() -> None:
    session = Session("sip:agent@h", "1", {}, None)
    stream, talker = Stream(session.facts, wire=session.wire), rtp.Talker(sip_sdp.Audio("", 0, ("PCMU",), None))
    loud = bytes([0x10, 0x90] * 80)
    for frame in [rtp.QUIET] * 20 + [loud] * 10:
        stream.receive(talker.frame(frame)[0], 0.0)
    assert 0.25 <= stream.playout.held_s() <= 0.29  # of the silence 60 to 80 ms, and all that was said


def test_alaw_is_the_products_alaw() -> None:
    codes = bytes(range(256))
    ours = np.frombuffer(PCMA.decoder().decode(codes), "<i2").astype(int)
    there = mulaw.decode(rtp.ALAW_TO_MULAW).astype(int)
    assert np.all(np.abs(ours - there) <= np.maximum(16, np.abs(ours) // 25))  # one step of mu-law
    back = codes.translate(rtp.MULAW_TO_ALAW).translate(rtp.ALAW_TO_MULAW)
    assert np.all(np.abs(mulaw.decode(back).astype(int) - mulaw.EXPAND.astype(int)) <= np.abs(mulaw.EXPAND) // 16 + 16)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_voice_and_keys_arrive_as_they_were_sent(codec: str) -> None:
    far = sip_sdp.Audio("", 0, (codec,), 101)
    talker, listener = rtp.Talker(far), rtp.Listener(far)
    talker.press("1#")
    speech = tone("beep")[:1600]
    packets = [packet for _ in range(30) for packet in talker.frame(rtp.QUIET)]
    packets += [packet for at in range(0, 1600, 160) for packet in talker.frame(speech[at : at + 160])]
    told = [listener.packet(packet) for packet in packets]
    assert "".join(key for _, key in told) == "1#"
    heard = b"".join(voice for voice, _ in told)[-1600:]
    noise = mulaw.decode(heard).astype(float) - mulaw.decode(speech).astype(float)
    assert noise.std() < mulaw.decode(speech).astype(float).std() / 30
    assert (listener.counts.received, listener.counts.lost) == (len(packets), 0)


def test_holes_are_filled_and_what_is_late_left_out() -> None:
    far = sip_sdp.Audio("", 0, ("PCMU",), None)
    talker, listener = rtp.Talker(far, seed=0x7FFE), rtp.Listener(far)
    one, two, three, four = (talker.frame(bytes([n]) * 160)[0] for n in range(4))
    assert listener.packet(one) == (bytes(160), "")
    assert listener.packet(four) == (rtp.QUIET * 2 + bytes([3]) * 160, "")
    assert listener.packet(two) == listener.packet(three) == listener.packet(four) == (b"", "")
    assert (listener.counts.lost, listener.counts.late) == (2, 3)
    assert listener.packet(b"junk") == (b"", "")
    assert listener.counts.odd == 1
    assert not talker.press("1")  # that far end takes no events


def test_an_ear_that_is_behind_shortens_pauses_alone() -> None:
    ear, loud = rtp.Ear(most_frames=2), bytes([0x10, 0x90] * 80)
    for frame in (rtp.QUIET, loud, loud, rtp.QUIET):
        ear.put(frame)
    assert [ear.take() for _ in range(4)] == [loud, loud, rtp.QUIET, rtp.QUIET]
    ear.put(loud * 50)
    assert sum(ear.take() == loud for _ in range(50)) == 2  # it stood still for a second


def test_every_tone_makes_a_sound_and_the_beep_is_one() -> None:
    for name in TONES:
        assert mulaw.level_dbov(tone(name)[:800]) > -30, name
    beeps = BeepDetector(8000).push(mulaw.decode(rtp.QUIET * 10 + tone("beep") + rtp.QUIET * 10).tobytes())
    assert [round(beep.hz, -1) for beep in beeps] == [1000]
