"""Linear samples: which byte comes first, and the odd byte."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.codecs.signals import sine, snr_db, words
from trunkline.codecs.l16 import L16_8K, L16_16K, L16_24K, RTP_L16_8K, RTP_L16_16K
from trunkline.codecs.table import CODECS, codec_for
from trunkline.errors import UsageError

pcm_bytes = st.binary(max_size=600).map(lambda data: data[: len(data) // 2 * 2])


def test_websockets_send_the_low_byte_first_and_rtp_the_high_one() -> None:
    pcm = np.array([0x1234, -2], "<i2").tobytes()
    assert L16_8K.encoder().encode(pcm) == b"\x34\x12\xfe\xff"
    assert RTP_L16_8K.encoder().encode(pcm) == b"\x12\x34\xff\xfe"
    assert L16_8K.decoder().decode(b"\x34\x12\xfe\xff") == RTP_L16_8K.decoder().decode(b"\x12\x34\xff\xfe") == pcm


def test_the_wrong_byte_order_is_noise() -> None:
    payload = L16_16K.encoder().encode(sine(440, 16000).tobytes())
    assert snr_db(words(L16_16K.decoder().decode(payload)), 440, 16000) > 80
    assert snr_db(words(RTP_L16_16K.decoder().decode(payload)), 440, 16000) < 0


@pytest.mark.parametrize("codec", [L16_8K, L16_24K, RTP_L16_16K])
@given(pcm=pcm_bytes, cuts=st.lists(st.integers(0, 600), max_size=8))
def test_any_cut_of_the_payload_gives_the_same_samples(codec, pcm: bytes, cuts: list[int]) -> None:
    """A cut may fall into the middle of a sample."""
    payload = codec.encoder().encode(pcm)
    edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    decoder = codec.decoder()
    decoded = b"".join(decoder.decode(payload[a:b]) for a, b in pairwise(edges))
    assert decoded == pcm


def test_a_loss_takes_the_half_sample_with_it() -> None:
    decoder = L16_8K.decoder()
    assert decoder.decode(b"\1\0\2") == b"\1\0"
    decoder.conceal(80)
    assert len(decoder.decode(b"\3\0" * 80)) == 160


def test_encoding_refuses_half_a_sample() -> None:
    with pytest.raises(UsageError, match="1 bytes"):
        L16_8K.encoder().encode(b"\0")


def test_facts() -> None:
    assert (L16_24K.name, L16_24K.rate, L16_24K.bytes_per_second, L16_24K.silence) == ("L16", 24000, 48000, b"\0\0")
    assert L16_16K.payload_type is None


@pytest.mark.parametrize(
    ("encoding", "rate", "key"),
    [
        ("audio/x-mulaw", 8000, "pcmu"),
        ("PCMU", None, "pcmu"),
        ("ulaw", 8000, "pcmu"),
        ("mulaw", None, "pcmu"),
        ("g711_ulaw", None, "pcmu"),
        ("audio/PCMU;rate=8000", None, "pcmu"),
        ("audio/x-alaw", None, "pcma"),
        ("PCMA", 8000, "pcma"),
        ("alaw", None, "pcma"),
        ("audio/x-l16", 16000, "l16/16000"),
        ("audio/l16;rate=24000", None, "l16/24000"),
        ("audio/l16; channels=1; rate=16000", None, "l16/16000"),
        ("L16/16000/1", None, "l16/16000"),
        ("audio/x-raw", 8000, "l16/8000"),
        ("L16", None, "l16/8000"),
        ("slin", None, "l16/8000"),
        ("slin16", None, "l16/16000"),
        ("raw", 24000, "l16/24000"),
        ("linear16", 8000, "l16/8000"),
        (" AUDIO/X-MULAW ", None, "pcmu"),
    ],
)
def test_the_names_carriers_use(encoding: str, rate: int | None, key: str) -> None:
    assert codec_for(encoding, rate) is CODECS[key]


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [
        ("", None),
        ("opus", 48000),
        ("mulaw", 16000),
        ("L16", 44100),
        ("audio/", None),
        ("L16;rate=²", 7),
        ("G722", None),
    ],
)
def test_unknown_names_and_rates_are_nobody_s_codec(encoding: str, rate: int | None) -> None:
    assert codec_for(encoding, rate) is None


def test_rtp_wants_the_high_byte_first() -> None:
    assert codec_for("L16", 8000, rtp=True) is RTP_L16_8K
    assert codec_for("PCMU", 8000, rtp=True) is CODECS["pcmu"]


@given(st.text(max_size=40), st.none() | st.integers())
def test_any_text_is_looked_up_without_an_error(encoding: str, rate: int | None) -> None:
    codec_for(encoding, rate)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_every_codec_keeps_the_contract(codec) -> None:
    pcm = sine(440, codec.rate, 0.1, 0.25).astype("<i2").tobytes()
    payload = codec.encoder().encode(pcm)
    assert codec.seconds(payload) == pytest.approx(0.1)
    decoder = codec.decoder()
    assert snr_db(words(decoder.decode(payload)), 440, codec.rate) > 30
    assert len(decoder.conceal(123)) == 246
    silence = codec.encoder().encode(bytes(2))
    assert silence == codec.silence
    assert codec.encoder().encode(b"") == b"" == codec.decoder().decode(b"")
