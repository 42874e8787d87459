"""Keys and tones, made and heard; and voices, which are neither."""

import numpy as np
import pytest

from tests.unit.codecs.signals import noise, recordings, snr_db, words
from trunkline.codecs.dtmf import DtmfDetector
from trunkline.codecs.g711 import PCMA, PCMU
from trunkline.codecs.level import rms_dbov
from trunkline.codecs.progress import BeepDetector, ProgressDetector
from trunkline.codecs.tones import COUNTRIES, KEYS, PROGRESS, dtmf, key_hz, progress_tone, sines
from trunkline.errors import UsageError

FRAME = 320  # bytes: 20 ms at 8 kHz


def heard(pcm: bytes, rate: int = 8000, chunk: int = FRAME) -> str:
    """The keys a detector hears."""
    detector = DtmfDetector(rate)
    return "".join(detector.push(pcm[at : at + chunk]) for at in range(0, len(pcm), chunk))


def with_noise(pcm: bytes, snr: float) -> bytes:
    """The signal with white noise, measured against its own mean power."""
    clean = words(pcm)
    deviation = np.sqrt(np.mean(clean**2)) * 10 ** (-snr / 20)
    return np.rint(clean + words(noise(clean.size, deviation).tobytes())).clip(-32768, 32767).astype("<i2").tobytes()


def test_sines_have_the_level_asked_for() -> None:
    assert rms_dbov(sines((1000,), 1.0, level_dbov=-20)) == pytest.approx(-20, abs=0.1)
    assert rms_dbov(sines((697, 1209), 1.0, 16000, (-20, -20))) == pytest.approx(-17, abs=0.1)
    assert snr_db(words(sines((1000,), 0.5))[100:-100], 1000, 8000) > 65


def test_a_key_is_its_two_frequencies() -> None:
    assert [key_hz(key) for key in "159D*"] == [(697, 1209), (770, 1336), (852, 1477), (941, 1633), (941, 1209)]
    spectrum = np.abs(np.fft.rfft(words(dtmf("5", on_s=1.0, off_s=0))))
    assert set(np.argsort(spectrum)[-2:]) == {770, 1336}


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("level", [-6.1, -13.0, -25.0, -35.0, -41.0])
@pytest.mark.parametrize("twist", [-6.0, 0.0, 3.0, 6.0])
@pytest.mark.parametrize("on_s", [0.04, 0.1])
def test_all_keys_are_heard_once(rate: int, level: float, twist: float, on_s: float) -> None:
    level -= max(0.0, twist)
    assert heard(dtmf(KEYS, rate, on_s=on_s, off_s=0.05, level_dbov=level, twist_db=twist), rate) == KEYS


@pytest.mark.parametrize("offset", range(0, 80, 5))
def test_40_ms_are_heard_wherever_they_fall_and_20_ms_nowhere(offset: int) -> None:
    for key in KEYS:
        assert heard(bytes(2 * offset) + dtmf(key, on_s=0.040)) == key
        assert heard(bytes(2 * offset) + dtmf(key, on_s=0.019)) == ""


@pytest.mark.parametrize("chunk", [2, 14, 320, 640, 100_000])
def test_keys_do_not_depend_on_the_chunks(chunk: int) -> None:
    assert heard(dtmf("0123#"), chunk=chunk) == "0123#"


def test_the_same_key_twice_is_two_keys_and_a_long_one_is_one() -> None:
    assert heard(dtmf("55", on_s=0.05, off_s=0.05)) == "55"
    assert heard(dtmf("5", on_s=5.0)) == "5"


@pytest.mark.parametrize("offset", range(0, 80, 5))
def test_a_dropout_of_10_ms_does_not_double_a_key_and_a_pause_of_40_ms_does(offset: int) -> None:
    for key in KEYS:
        whole = bytes(2 * offset) + dtmf(key, on_s=0.2)
        assert heard(whole[:1600] + bytes(160) + whole[1760:]) == key
        assert heard(bytes(2 * offset) + dtmf(2 * key, on_s=0.05, off_s=0.04)) == 2 * key


def test_a_key_is_told_while_it_is_still_down() -> None:
    detector = DtmfDetector()
    assert detector.push(dtmf("9", on_s=0.1)[:640]) == "9"
    assert detector.pressed == "9"
    detector.push(bytes(1280))
    assert detector.pressed == ""


@pytest.mark.parametrize(("off", "hears"), [(-0.015, True), (0.015, True), (-0.035, False), (0.035, False)])
def test_frequencies_may_be_1_5_percent_off_but_not_3_5(off: float, hears: bool) -> None:
    for key in KEYS:
        low, high = key_hz(key)
        assert (heard(sines((low * (1 + off), high * (1 + off)), 0.1) + bytes(960)) == key) is hears


def test_keys_are_heard_through_noise_and_g711() -> None:
    pcm = with_noise(dtmf(KEYS * 2), 12)
    assert heard(pcm) == KEYS * 2
    for codec in (PCMU, PCMA):
        assert heard(codec.decoder().decode(codec.encoder().encode(pcm))) == KEYS * 2


@pytest.mark.parametrize("hz", [(697,), (1209,), (697, 770), (1209, 1336), (350, 440), (480, 620), (1400, 2300)])
def test_other_tones_are_no_keys(hz: tuple[int, ...]) -> None:
    assert heard(sines(hz, 0.5)) == ""


def test_one_tone_much_louder_than_the_other_is_no_key() -> None:
    assert heard(dtmf("5", level_dbov=-30, twist_db=12)) == ""


def test_no_key_in_noise_or_silence_or_a_click() -> None:
    click = np.zeros(4000, "<i2")
    click[2000] = 32767
    assert heard(noise(80_000).tobytes() + bytes(3200) + click.tobytes()) == ""


def test_no_key_in_25_minutes_of_recorded_voice() -> None:
    """Talk-off. Every third prompt, so that the test stays quick; all 568 gave none either."""
    voices = recordings()[::3]
    assert sum(map(len, voices)) / 16000 > 300
    assert "".join(heard(pcm, chunk=8000) for pcm in voices) == ""


def test_keys_over_a_voice_20_db_below_are_heard() -> None:
    voice = words(recordings("demo-congrats")[0])[:80_000]
    keys = words(dtmf(KEYS))[: voice.size]
    mixed = keys.copy()
    mixed += voice[: keys.size] * (np.sqrt(np.mean(keys**2)) / np.sqrt(np.mean(voice**2))) / 10
    assert heard(mixed.clip(-32768, 32767).astype("<i2").tobytes()) == KEYS


@pytest.mark.parametrize("call", [lambda: key_hz("x"), lambda: key_hz(""), lambda: key_hz("12"), lambda: dtmf("1E")])
def test_what_is_no_key_is_refused(call) -> None:
    with pytest.raises(UsageError, match="key:"):
        call()


def test_impossible_tones_are_refused() -> None:
    for call in (
        lambda: sines((5000,), 1.0),
        lambda: sines((1000,), 1.0, level_dbov=0),
        lambda: sines((1000, 2000), 1.0, level_dbov=(-10,)),
        lambda: progress_tone("busy", "fr", 1.0),  # type: ignore[arg-type]
        lambda: progress_tone("beep", "us", 1.0),  # type: ignore[arg-type]
        lambda: DtmfDetector(44100),
        lambda: BeepDetector(44100),
        lambda: ProgressDetector("fr"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            call()


def beeps(pcm: bytes, rate: int = 8000, chunk: int = FRAME) -> list[tuple[float, float, float]]:
    """(Hz, start, seconds) of the beeps a detector hears."""
    detector = BeepDetector(rate)
    found = [beep for at in range(0, len(pcm), chunk) for beep in detector.push(pcm[at : at + chunk])]
    return [(beep.hz, beep.start_s, beep.seconds) for beep in found]


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("hz", [400, 440, 853, 1000, 1400, 2100])
@pytest.mark.parametrize("seconds", [0.12, 0.5, 2.0])
def test_beeps_are_heard_when_they_end(rate: int, hz: int, seconds: float) -> None:
    for offset in (0, 77, 160):
        silence = bytes(2 * (rate // 10 + offset))
        (found,) = beeps(silence + sines((hz,), seconds, rate, -20) + bytes(rate // 2), rate)
        assert found == (
            pytest.approx(hz, abs=6),
            pytest.approx(0.1 + offset / rate, abs=0.045),
            pytest.approx(seconds, abs=0.045),
        )


def test_what_is_no_beep() -> None:
    for offset in range(0, 160, 20):
        assert beeps(bytes(2 * offset) + sines((1000,), 0.06) + bytes(3200)) == []
    assert beeps(sines((300,), 0.5) + sines((2400,), 0.5) + bytes(3200)) == []
    assert beeps(dtmf(KEYS) + noise(16_000).tobytes() + bytes(3200)) == []
    sweep = 8000 * np.sin(2 * np.pi * np.cumsum(np.linspace(400, 2000, 16_000)) / 8000)
    assert beeps(sweep.astype("<i2").tobytes() + bytes(3200)) == []


def test_a_beep_after_a_greeting_is_the_only_one_heard() -> None:
    greeting, beep = recordings("vm-intro", "beep")
    ((hz, start, seconds),) = beeps(greeting + beep + bytes(3200))
    assert hz == pytest.approx(700, abs=3)
    assert start == pytest.approx(len(greeting) / 16000, abs=0.1)
    assert seconds == pytest.approx(0.42, abs=0.05)


def test_voices_do_not_beep() -> None:
    """All prompts but the few that are tones themselves."""
    voices = [pcm for pcm in recordings()[::3] if len(pcm) > 32_000]
    assert sum(len(beeps(pcm, chunk=8000)) for pcm in voices) == 0


def test_a_beep_still_sounding_is_known() -> None:
    detector = BeepDetector()
    assert detector.sounding_s == 0
    assert detector.push(sines((1000,), 1.0)) == []
    assert detector.sounding_s == pytest.approx(1.0, abs=0.05)


def told(pcm: bytes, country, rate: int = 8000) -> list[str]:
    """What a detector says, in order."""
    detector, step = ProgressDetector(country, rate), 2 * (rate // 50)
    return [name for at in range(0, len(pcm), step) if (name := detector.push(pcm[at : at + step]))]


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("name", ["dial", "ringback", "busy", "congestion"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_progress_tones_are_made_and_heard(country, name, rate: int) -> None:
    pcm = progress_tone(name, country, 13.0, rate)
    assert len(pcm) == 2 * 13 * rate
    assert told(bytes(2 * 777) + pcm, country, rate) == [name]


def test_a_rhythm_is_as_the_table_says() -> None:
    pcm = words(progress_tone("ringback", "in", 3.0))
    loud = [bool(np.any(pcm[at : at + 800])) for at in range(0, 24_000, 800)]  # per 100 ms
    assert loud == [True] * 4 + [False] * 2 + [True] * 4 + [False] * 20
    assert set(PROGRESS) == set(COUNTRIES)


def test_progress_is_heard_through_g711_and_noise() -> None:
    pcm = with_noise(progress_tone("busy", "us", 5.0), 20)
    assert told(PCMU.decoder().decode(PCMU.encoder().encode(pcm)), "us") == ["busy"]


@pytest.mark.parametrize("country", COUNTRIES)
def test_voices_are_no_progress_tones(country) -> None:
    assert told(b"".join(recordings()[::6]), country) == []


def test_progress_is_forgotten_when_something_else_comes() -> None:
    detector = ProgressDetector("eu")
    detector.push(progress_tone("busy", "eu", 3.0))
    assert detector.present == "busy"
    assert detector.push(progress_tone("congestion", "eu", 3.0)) == "congestion"
