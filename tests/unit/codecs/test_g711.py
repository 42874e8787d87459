"""G.711 to the bit, on every code and every sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.codecs.signals import noise, sine, snr_db, words
from trunkline.codecs import fast, pcm_tables
from trunkline.codecs.g711 import ALAW_SILENCE, MULAW_SILENCE, PCMA, PCMU, alaw_to_mulaw, mulaw_to_alaw
from trunkline.errors import UsageError

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype("<i2").tobytes()


def mulaw_levels() -> list[tuple[int, int, int]]:
    """ITU-T G.711 table 2a, positive half: (lowest 14-bit value of an interval, output value, character signal)."""
    rows = [(0, 0, 0xFF)]
    low, code = 1, 0xFE
    for segment in range(8):
        for step in range(16):
            if segment == 0 and step == 0:
                continue
            width = 2 << segment
            rows.append((low, low + width // 2, code))
            low, code = low + width, code - 1
    return rows


def alaw_levels() -> list[tuple[int, int, int]]:
    """ITU-T G.711 table 1a, positive half, on 13-bit samples: the same three columns, even bits inverted."""
    rows, low = [], 0
    for segment in range(8):
        width = 2 << max(0, segment - 1)
        for step in range(16):
            rows.append((low, low + width // 2, (0x80 | segment << 4 | step) ^ 0x55))
            low += width
    return rows


def test_mulaw_decodes_every_code_to_the_value_in_the_recommendation() -> None:
    decoded = words(PCMU.decoder().decode(ALL_CODES))
    for _, value, code in mulaw_levels():
        assert decoded[code] == 4 * value
        assert decoded[code ^ 0x80] == -4 * value


def test_alaw_decodes_every_code_to_the_value_in_the_recommendation() -> None:
    decoded = words(PCMA.decoder().decode(ALL_CODES))
    for _, value, code in alaw_levels():
        assert decoded[code] == 8 * value
        assert decoded[code ^ 0x80] == -8 * value


@pytest.mark.parametrize(("codec", "levels", "shift"), [(PCMU, mulaw_levels(), 2), (PCMA, alaw_levels(), 3)])
def test_every_positive_sample_gets_the_code_of_its_interval(codec, levels, shift) -> None:
    starts = np.array([low for low, _, _ in levels])
    codes = np.array([code for _, _, code in levels])
    samples = np.arange(0, 32768)
    expected = codes[np.searchsorted(starts, samples >> shift, side="right") - 1]
    assert codec.encoder().encode(samples.astype("<i2").tobytes()) == expected.astype(np.uint8).tobytes()


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_negative_samples_mirror_the_positive_ones(codec) -> None:
    shift, mirror = (2, 0) if codec is PCMU else (3, 1)  # about 0 and about -0.5
    positive = np.arange(1, 8192 >> (shift - 2)) << shift
    negative = -positive - (mirror << shift)
    low, high = (codec.encoder().encode(half.astype("<i2").tobytes()) for half in (negative, positive))
    assert [code ^ 0x80 for code in low] == list(high)


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_every_code_survives_decoding_and_encoding(codec) -> None:
    again = codec.encoder().encode(codec.decoder().decode(ALL_CODES))
    differing = {code for code, back in enumerate(again) if code != back}
    assert differing == ({0x7F} if codec is PCMU else set())  # negative zero becomes zero


@pytest.mark.parametrize(("codec", "silence"), [(PCMU, MULAW_SILENCE), (PCMA, ALAW_SILENCE)])
def test_silence_is_the_codec_s_own_and_quiet(codec, silence) -> None:
    assert codec.silence == silence
    assert codec.encoder().encode(b"\0\0") == silence
    assert abs(words(codec.decoder().decode(silence))[0]) <= 8


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_swapped_bytes_do_not_pass(codec) -> None:
    """The wrong byte order is speech-shaped noise: the check that would catch it must catch it."""
    tone = sine(1004, 8000, level=0.25)
    right = words(codec.decoder().decode(codec.encoder().encode(tone.astype("<i2").tobytes())))
    wrong = words(codec.decoder().decode(codec.encoder().encode(tone.astype(">i2").tobytes())))
    assert snr_db(right, 1004, 8000) > 35
    assert snr_db(wrong, 1004, 8000) < 0


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_halves_of_samples_are_refused(codec) -> None:
    with pytest.raises(UsageError, match="3 bytes"):
        codec.encoder().encode(b"\0\0\0")


@given(st.binary(max_size=400))
def test_mulaw_to_alaw_is_the_way_by_linear_samples(payload: bytes) -> None:
    assert mulaw_to_alaw(payload) == PCMA.encoder().encode(PCMU.decoder().decode(payload))
    assert alaw_to_mulaw(payload) == PCMU.encoder().encode(PCMA.decoder().decode(payload))


@pytest.mark.parametrize("codec", [PCMU, PCMA])
def test_decoding_does_not_depend_on_how_the_payload_is_cut(codec) -> None:
    payload = codec.encoder().encode(noise(2000).tobytes())
    whole, cut = codec.decoder(), codec.decoder()
    assert b"".join(cut.decode(payload[at : at + 7]) for at in range(0, 2000, 7)) == whole.decode(payload)


def test_facts_of_the_codecs() -> None:
    assert (PCMU.name, PCMU.payload_type, PCMU.rate, PCMU.clock) == ("PCMU", 0, 8000, 8000)
    assert (PCMA.name, PCMA.payload_type, PCMA.rate, PCMA.clock) == ("PCMA", 8, 8000, 8000)
    assert PCMU.seconds(bytes(160)) == 0.02


def test_the_tables_and_the_fast_functions_agree_on_every_value() -> None:
    """The tables are written from the recommendation, audioop by somebody else: two witnesses."""
    assert fast.mulaw_encode_numpy(ALL_SAMPLES) == fast.mulaw_encode(ALL_SAMPLES)
    assert fast.alaw_encode_numpy(ALL_SAMPLES) == fast.alaw_encode(ALL_SAMPLES)
    assert pcm_tables.mulaw_samples().astype("<i2").tobytes() == fast.mulaw_decode(ALL_CODES)
    assert pcm_tables.alaw_samples().astype("<i2").tobytes() == fast.alaw_decode(ALL_CODES)
