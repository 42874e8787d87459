"""WAV: what others write is read, what is written others can read, and nothing broken gets in."""

import contextlib
import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.codecs.signals import RECORDINGS, noise
from trunkline.codecs.g711 import PCMA, PCMU
from trunkline.codecs.wav import Wav, header, interleave, mono, read_wav, split, wav_bytes
from trunkline.errors import ProtocolError, UsageError

pcm_bytes = st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4])


@given(pcm_bytes, st.sampled_from([8000, 16000, 22050, 24000, 48000]), st.sampled_from([1, 2]))
def test_round_trip(pcm: bytes, rate: int, channels: int) -> None:
    assert read_wav(wav_bytes(pcm, rate, channels)) == Wav(pcm, rate, channels)


@given(st.binary(max_size=301))
def test_mulaw_round_trip(payload: bytes) -> None:
    """An odd number of bytes is padded in the file, not in the sound."""
    assert read_wav(wav_bytes(payload, 8000, encoding="mulaw")).pcm == PCMU.decoder().decode(payload)


def test_the_standard_library_reads_ours() -> None:
    pcm = noise(1000).tobytes()
    with wave.open(io.BytesIO(wav_bytes(pcm, 16000, 2))) as reader:
        assert reader.getparams()[:4] == (2, 2, 16000, 500)
        assert reader.readframes(500) == pcm


def test_ours_reads_the_standard_library_s() -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(b"\1\2\3\4")
    assert read_wav(out.getvalue()) == Wav(b"\1\2\3\4", 8000)


def test_recorded_prompts_are_read() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("needs Debian's asterisk-core-sounds-en-wav")
    clip = read_wav((RECORDINGS / "beep.wav").read_bytes())
    assert (clip.rate, clip.channels) == (8000, 1)
    assert clip.seconds == pytest.approx(0.43, abs=0.02)


@pytest.mark.parametrize("encoding", ["s16", "mulaw"])
def test_a_stream_of_unknown_length(encoding) -> None:
    samples = bytes(range(100))
    read = read_wav(header(24000, 1, encoding) + samples)
    assert read.rate == 24000
    assert read.pcm == (samples if encoding == "s16" else PCMU.decoder().decode(samples))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_the_ways_to_say_unknown(size: int) -> None:
    data = wav_bytes(b"\1\0\2\0", 8000)
    assert read_wav(data[:40] + struct.pack("<I", size) + data[44:]).pcm == b"\1\0\2\0"


def test_a_stream_cut_inside_a_sample_keeps_the_whole_ones() -> None:
    assert read_wav(header(8000, 2) + bytes(7)).pcm == bytes(4)


def test_other_chunks_are_passed_over() -> None:
    data = wav_bytes(b"\1\0", 8000)
    listed = data[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + data[12:] + b"id3 " + struct.pack("<I", 2) + b"xx"
    assert read_wav(listed).pcm == b"\1\0"


@pytest.mark.parametrize(
    ("tag", "bits", "samples", "expected"),
    [
        (1, 8, bytes([0, 128, 255]), [-32768, 0, 127 << 8]),
        (1, 24, b"\xff\x34\x12\x00\xff\xff", [0x1234, -1]),
        (1, 32, b"\xff\xff\x34\x12", [0x1234]),
    ],
)
def test_other_widths(tag: int, bits: int, samples: bytes, expected: list[int]) -> None:
    assert list(np.frombuffer(read_wav(file(tag, 1, 8000, bits, samples)).pcm, "<i2")) == expected


def test_alaw_and_the_extensible_format() -> None:
    assert read_wav(file(6, 1, 8000, 8, b"\xd5\x55")).pcm == PCMA.decoder().decode(b"\xd5\x55")
    extension = struct.pack("<HHIH14x", 22, 16, 4, 1)
    assert read_wav(file(0xFFFE, 1, 8000, 16, b"\1\0", extension)).pcm == b"\1\0"


def file(tag: int, channels: int, rate: int, bits: int, samples: bytes, extension: bytes = b"") -> bytes:
    form = struct.pack("<HHIIHH", tag, channels, rate, 0, channels * bits // 8, bits) + extension
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "header"),
        (b"ID3\x04" + bytes(40), "header"),
        (b"RIFF\0\0\0\0AVI " + bytes(40), "header"),
        (wav_bytes(bytes(100), 8000)[:-10], "100 bytes announced, 90 there"),
        (wav_bytes(bytes(100), 8000)[:30], "chunk b'fmt '"),
        (wav_bytes(bytes(100), 8000)[:36], "no chunk with samples"),
        (b"RIFF\0\0\0\0WAVEdata\2\0\0\0ab", "fmt: missing"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data\0\0\0\0", "at least 16"),
        (file(3, 1, 8000, 32, bytes(4)), "tag 3 with 32 bits"),
        (file(85, 1, 8000, 16, bytes(4)), "tag 85"),
        (file(1, 6, 8000, 16, bytes(12)), "channels: 6"),
        (file(1, 0, 8000, 16, bytes(12)), "channels: 0"),
        (file(1, 1, 0, 16, bytes(2)), "rate: 0"),
        (file(1, 1, 8000, 0, bytes(2)), "0 bits"),
        (file(1, 1, 8000, 16, bytes(3)), "3 bytes are not whole"),
        (file(0xFFFE, 1, 8000, 16, bytes(2)), "extension"),
    ],
)
def test_bad_files_are_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        read_wav(data)


@given(st.binary(max_size=40), st.integers(0, 60), st.sampled_from(["s16", "mulaw"]))
def test_nothing_but_protocol_error_comes_out(junk: bytes, at: int, encoding) -> None:
    data = wav_bytes(bytes(40), 8000, 1, encoding)
    with contextlib.suppress(ProtocolError):
        read_wav(data[:at] + junk + data[at + len(junk) :])


def test_writing_refuses_nonsense() -> None:
    for call in (lambda: header(8000, 3), lambda: header(0), lambda: wav_bytes(bytes(3), 8000)):
        with pytest.raises(UsageError):
            call()


@given(pcm_bytes, pcm_bytes)
def test_interleaving_pads_the_shorter_and_splits_again(left: bytes, right: bytes) -> None:
    longest = max(len(left), len(right))
    padded = (left.ljust(longest, b"\0"), right.ljust(longest, b"\0"))
    assert split(interleave(left, right)) == padded


def test_left_comes_first() -> None:
    assert interleave(b"\1\0\2\0", b"\3\0") == b"\1\0\3\0\2\0\0\0"


def test_mono_is_the_mean() -> None:
    assert (
        mono(Wav(np.array([100, 200, 32767, 32767], "<i2").tobytes(), 8000, 2)).pcm
        == np.array([150, 32767], "<i2").tobytes()
    )
    assert mono(Wav(b"\1\0", 8000)) == Wav(b"\1\0", 8000)


def test_halves_are_refused() -> None:
    with pytest.raises(UsageError):
        interleave(b"\0", b"")
    with pytest.raises(UsageError):
        split(bytes(6))
