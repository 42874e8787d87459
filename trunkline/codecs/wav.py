"""WAV files in memory: RIFF with PCM, mu-law or A-law in it, mono or stereo.

Read strictly (a file that lies about itself is refused with `ProtocolError`, naming the field) but with the ways in
which streams say "length unknown": about 2 or 4 GiB (ffmpeg, sox), or 0 although samples follow.
"""

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trunkline.codecs import fast
from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.errors import ProtocolError, UsageError

Encoding: TypeAlias = Literal["s16", "mulaw"]

_PCM, _ALAW, _MULAW, _EXTENSIBLE = 1, 6, 7, 0xFFFE
_UNKNOWN = 0xFFFFFFFF
_SURELY_UNKNOWN = 0x7FFF0000  # no clip is that long; sox writes a little less than 2 GiB into a pipe
_RATES = range(1000, 384_001)  # Hz
_FORMATS: dict[Encoding, tuple[int, int]] = {"s16": (_PCM, 2), "mulaw": (_MULAW, 1)}


@dataclass(frozen=True, slots=True)
class Wav:
    """A clip: s16le, shape (samples, channels), whatever the file was coded in."""

    pcm: bytes
    rate: int  # Hz
    channels: int = 1

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.pcm) / (SAMPLE_BYTES * self.channels * self.rate)


def header(rate: int, channels: int = 1, encoding: Encoding = "s16", data_bytes: int | None = None) -> bytes:
    """What comes before the samples. data_bytes: None where the length is not known yet (a stream)."""
    if rate not in _RATES or channels not in (1, 2):
        raise UsageError(f"rate: {rate} Hz, channels: {channels}; allowed are 1000 to 384000 Hz, 1 or 2 channels")
    tag, width = _FORMATS[encoding]
    block = width * channels
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, 8 * width)
    if tag != _PCM:
        form += struct.pack("<H", 0)  # size of an extension; and a fact chunk, as every coding but PCM must have
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    if tag != _PCM:
        chunks += struct.pack("<4sII", b"fact", 4, _UNKNOWN if data_bytes is None else data_bytes // block)
    padded = None if data_bytes is None else data_bytes + data_bytes % 2
    riff = _UNKNOWN if padded is None else 4 + len(chunks) + 8 + padded
    size = _UNKNOWN if data_bytes is None else data_bytes
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + chunks + struct.pack("<4sI", b"data", size)


def wav_bytes(samples: bytes, rate: int, channels: int = 1, encoding: Encoding = "s16") -> bytes:
    """A complete file. samples: s16le, or mu-law bytes if `encoding` says so, shape (samples, channels)."""
    block = _FORMATS[encoding][1] * channels
    if len(samples) % block:
        raise UsageError(f"samples: {len(samples)} bytes are not whole frames of {block}")
    return header(rate, channels, encoding, len(samples)) + samples + bytes(len(samples) % 2)


def read_wav(data: bytes) -> Wav:
    """The samples of a complete file. Raises ProtocolError for whatever is not a WAV this can play."""
    form, samples, announced = _chunks(data)
    tag, channels, rate, bits = _format(form)
    if channels not in (1, 2):
        raise _refused(f"channels: {channels}; allowed are 1 and 2", data)
    if rate not in _RATES:
        raise _refused(f"rate: {rate} Hz; allowed are 1000 to 384000", data)
    width = bits // 8
    if (tag, bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_MULAW, 8), (_ALAW, 8)):
        raise _refused(f"coding: tag {tag} with {bits} bits; allowed are PCM of 8 to 32 bits, mu-law and A-law", data)
    partial = len(samples) % (width * channels)
    if partial and announced:
        raise _refused(f"data: {len(samples)} bytes are not whole frames of {width * channels}", data)
    samples = samples[: len(samples) - partial]  # a stream may be cut anywhere
    return Wav(_linear(samples, tag, bits), rate, channels)


def interleave(left: bytes, right: bytes) -> bytes:
    """Two mono s16le channels → one stereo, the shorter one filled with silence."""
    longest = max(len(left), len(right))
    both = np.zeros((longest // SAMPLE_BYTES, 2), "<i2")
    for column, channel in enumerate((left, right)):
        samples = _samples(channel)
        both[: samples.size, column] = samples
    return both.tobytes()


def split(pcm: bytes) -> tuple[bytes, bytes]:
    """Stereo s16le → left and right."""
    if len(pcm) % (2 * SAMPLE_BYTES):
        raise UsageError(f"pcm: {len(pcm)} bytes are not whole stereo samples")
    both = _samples(pcm)
    return both[0::2].tobytes(), both[1::2].tobytes()


def mono(wav: Wav) -> Wav:
    """The clip with its channels averaged into one."""
    if wav.channels == 1:
        return wav
    both = _samples(wav.pcm).reshape(-1, wav.channels)
    return Wav((both.astype(np.int32).sum(axis=1) // wav.channels).astype("<i2").tobytes(), wav.rate)


def _samples(pcm: bytes) -> npt.NDArray[np.int16]:
    if len(pcm) % SAMPLE_BYTES:
        raise fast.odd_bytes(pcm)
    return np.frombuffer(pcm, "<i2")


def _refused(message: str, data: bytes) -> ProtocolError:
    return ProtocolError(f"WAV {message}", peer="wav", data=data[:64])


def _chunks(data: bytes) -> tuple[bytes, bytes, bool]:
    """The bodies of the `fmt ` and `data` chunks, and whether the length of the latter was announced."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _refused("header: the file does not start with RIFF…WAVE", data)
    form: bytes | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        if name == b"data":
            if form is None:
                raise _refused("fmt: missing before the samples", data)
            return form, *_data(data, at + 8, size)
        if len(body) < size:
            raise _refused(f"chunk {name!r}: {size} bytes announced, {len(body)} there", data)
        if name == b"fmt ":
            form = body
        at += 8 + size + size % 2
    raise _refused("data: no chunk with samples", data)


def _data(data: bytes, start: int, size: int) -> tuple[bytes, bool]:
    there = len(data) - start
    if size >= _SURELY_UNKNOWN or (size == 0 and there):
        return data[start:], False
    if there < size:
        raise _refused(f"data: {size} bytes announced, {there} there", data)
    return data[start : start + size], True


def _format(form: bytes) -> tuple[int, int, int, int]:
    """Tag, channels, rate, bits."""
    if len(form) < 16:
        raise _refused(f"fmt: {len(form)} bytes; at least 16 are needed", form)
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE:
        if len(form) < 26:
            raise _refused("fmt: the extension does not name its coding", form)
        (tag,) = struct.unpack_from("<H", form, 24)
    return tag, channels, rate, bits


def _linear(samples: bytes, tag: int, bits: int) -> bytes:
    if tag == _MULAW:
        return fast.mulaw_decode(samples)
    if tag == _ALAW:
        return fast.alaw_decode(samples)
    if bits == 8:  # unsigned
        return ((np.frombuffer(samples, np.uint8).astype(np.int16) - 128) << 8).astype("<i2").tobytes()
    width = bits // 8  # little-endian: the two upper bytes are the s16 sample
    return np.frombuffer(samples, np.uint8).reshape(-1, width)[:, width - 2 :].tobytes()
