"""The simulated Gemini understands what truly arrived, and nothing else."""

import numpy as np
import pytest

from tests.unit.sim.gemini_rig import babble, silence, upsampled
from trunkline_sim import mulaw
from trunkline_sim.gemini_ear import Demand, Recordings, Vad

pytestmark = pytest.mark.slow

CLIPS = {f"sentence {seed}": babble(seed) for seed in range(4)}
KNOWN = Recordings(CLIPS)
WANTED = "sentence 2"
GAP = b"\xff" * 160


def _line(clip: bytes) -> bytes:
    return silence(0.3) + upsampled(clip) + silence(0.5)


def _samples(pcm: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.frombuffer(pcm, "<i2")


def test_a_recording_is_understood_and_placed() -> None:
    match = KNOWN.understand(_line(CLIPS[WANTED]))
    assert match is not None
    assert match.text == WANTED
    assert match.at_s == pytest.approx(0.3, abs=0.001)
    assert match.snr_db > 40
    assert match.bad_blocks == ()


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.5])
def test_level_does_not_matter(gain: float) -> None:
    pcm = np.clip(_samples(_line(CLIPS[WANTED])) * gain, -32768, 32767).astype("<i2").tobytes()
    match = KNOWN.understand(pcm)
    assert match is not None
    assert match.text == WANTED
    assert match.gain == pytest.approx(gain, rel=0.02)


@pytest.mark.parametrize("delay", [0.25, 0.5, 1.3, 17.75])
def test_a_delay_of_parts_of_a_sample_does_not_matter(delay: float) -> None:
    wave = _samples(_line(CLIPS[WANTED])).astype(np.float64)
    turns = np.arange(wave.size // 2 + 1) / wave.size
    late = np.fft.irfft(np.fft.rfft(wave) * np.exp(-2j * np.pi * turns * delay), wave.size)
    match = KNOWN.understand(np.rint(late).astype("<i2").tobytes())
    assert match is not None
    assert match.text == WANTED


def test_a_second_trip_through_g711_is_still_understood() -> None:
    again = mulaw.encode((mulaw.decode(CLIPS[WANTED]) * 0.7).astype(np.int16))
    match = KNOWN.understand(_line(again))
    assert match is not None
    assert match.snr_db > 25


DAMAGE = {
    "bytes swapped": lambda pcm: _samples(pcm).byteswap().tobytes(),
    "8 kHz called 16": lambda pcm: _samples(pcm)[::2].tobytes(),
    "24 kHz called 16": lambda pcm: np.repeat(_samples(pcm), 3)[::2].tobytes(),
    "shifted by one byte": lambda pcm: (b"\0" + pcm)[: len(pcm)],
    "inverted": lambda pcm: (-_samples(pcm).astype(np.int32)).clip(-32768, 32767).astype("<i2").tobytes(),
    "mu-law called linear": lambda pcm: mulaw.encode(_samples(pcm)),
    "unsigned": lambda pcm: (_samples(pcm).view(np.uint16) ^ 0x8000).tobytes(),
    "noise 10 dB below": lambda pcm: (
        _samples(pcm) + np.random.default_rng(9).normal(0, 700, len(pcm) // 2)
    ).astype("<i2").tobytes(),
    "clipped": lambda pcm: np.clip(_samples(pcm), -600, 600).tobytes(),
    "half of it": lambda pcm: pcm[: len(pcm) // 2],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_audio_is_not_understood(damage: str) -> None:
    assert KNOWN.understand(DAMAGE[damage](_line(CLIPS[WANTED]))) is None


@pytest.mark.parametrize("frame", [5, 20, 30, 50])
@pytest.mark.parametrize("way", ["dropped", "silenced", "doubled", "swapped with the next"])
def test_one_wrong_frame_is_noticed(frame: int, way: str) -> None:
    clip = CLIPS[WANTED]
    before, it, after = clip[: 160 * frame], clip[160 * frame : 160 * (frame + 1)], clip[160 * (frame + 1) :]
    ways = {
        "dropped": before + after,
        "silenced": before + GAP + after,
        "doubled": before + it + it + after,
        "swapped with the next": before + after[:160] + it + after[160:],
    }
    assert KNOWN.understand(_line(ways[way])) is None


def test_a_test_that_expects_loss_may_allow_it() -> None:
    clip = CLIPS[WANTED]
    lossy = _line(clip[:3200] + GAP + clip[3360:])
    assert Recordings(CLIPS, Demand(snr_db=10, bad_blocks=3)).understand(lossy) is not None


@pytest.mark.parametrize(("below_db", "understood"), [(12, False), (18, True)])
def test_the_whole_must_be_15_db_above_what_is_wrong_with_it(below_db: float, understood: bool) -> None:
    wave = _samples(_line(CLIPS[WANTED])).astype(np.float64)
    noise = np.fft.irfft(np.fft.rfft(np.random.default_rng(3).normal(size=wave.size))[: wave.size // 4], wave.size)
    speech = wave[4800:-8000]  # noise up to 4 kHz, at a level told against the speech alone
    noise *= np.sqrt((speech**2).mean() / (noise**2).mean()) * 10 ** (-below_db / 20)
    noisy = np.rint(wave + noise).astype("<i2").tobytes()
    only_the_whole = Recordings(CLIPS, Demand(bad_blocks=1000))
    assert (only_the_whole.understand(noisy) is not None) == understood


def test_strangers_and_silence_are_not_understood() -> None:
    assert KNOWN.understand(_line(babble(77))) is None
    assert KNOWN.understand(silence(3)) is None
    assert KNOWN.understand(b"") is None
    assert Recordings().understand(_line(CLIPS[WANTED])) is None


def test_a_whole_call_is_told_in_order_with_what_came_twice() -> None:
    said = ["sentence 3", "sentence 0", "sentence 1", "sentence 0"]
    pcm = b"".join(_line(CLIPS[text]) for text in said)
    assert [match.text for match in KNOWN.find_all(pcm)] == said


def test_what_is_lost_is_missing() -> None:
    broken = CLIPS["sentence 1"][:4000] + CLIPS["sentence 1"][4160:]
    pcm = _line(CLIPS["sentence 0"]) + _line(broken) + _line(CLIPS["sentence 2"])
    assert [match.text for match in KNOWN.find_all(pcm)] == ["sentence 0", "sentence 2"]


@pytest.mark.parametrize("size", [2, 320, 640, 3210])
def test_activity_is_told_on_the_audios_own_clock(size: int) -> None:
    vad = Vad(prefix_ms=40, silence_ms=300)
    pcm = silence(1.0) + _line(CLIPS[WANTED])
    changes = [change for at in range(0, len(pcm), size) for change in vad.push(pcm[at : at + size])]
    assert [change.began for change in changes] == [True, False]
    assert changes[0].at / 16_000 == pytest.approx(1.3, abs=0.021)
    assert changes[1].at / 16_000 == pytest.approx(1.3 + len(CLIPS[WANTED]) / 8000, abs=0.03)


def test_a_click_shorter_than_the_prefix_is_no_speech() -> None:
    vad = Vad(prefix_ms=60)
    assert not vad.push(silence(0.2) + upsampled(CLIPS[WANTED])[:1280] + silence(1.0))
