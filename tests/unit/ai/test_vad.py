"""The detector on real recordings through mu-law, and with the turn taker against its own echo."""

from importlib import resources
from itertools import pairwise

import numpy as np
import pytest

from tests.unit.ai.telephone import RATE, at_level, floats, pcm_of, pieces, recording, says, silence
from trunkline.ai.cascade import vad
from trunkline.ai.cascade.turn import SpeechStarted, TurnEnded, TurnSettings, TurnTaker
from trunkline.ai.cascade.vad import WINDOW_S, Vad, Window
from trunkline.codecs.resample import resample_clip
from trunkline.codecs.tones import dtmf, progress_tone
from trunkline.errors import ConfigError

PROMPTS = (
    "agent-loginok", "auth-thankyou", "cannot-complete-as-dialed", "conf-now-muted", "demo-thanks", "goodbye",
    "hello-world", "hours", "location", "one-moment-please", "pbx-invalid", "please-try-again", "queue-thankyou",
    "tt-weasels", "vm-goodbye", "vm-nobodyavail", "vm-press", "vm-received", "vm-theperson", "you-entered",
)  # fmt: skip


def windows(pcm: bytes) -> list[Window]:
    detector = Vad()
    return [window for piece in pieces(pcm) for window in detector.windows(piece)]


def turns(pcm: bytes, far_dbov: float = -96.0) -> list[SpeechStarted | TurnEnded]:
    taker = TurnTaker(TurnSettings())
    events = [e for w in windows(pcm) for e in taker.push(w.probability, w.dbov, far_dbov, w.end_s)]
    return [event for event in events if isinstance(event, SpeechStarted | TurnEnded)]


def test_windows_do_not_depend_on_how_audio_arrives() -> None:
    pcm = recording("hello-world")
    whole, cut = Vad(), Vad()
    expected = whole.push(pcm)
    assert [p for piece in pieces(pcm, 7) for p in cut.push(piece)] == pytest.approx(expected)
    assert len(expected) == len(pcm) // 2 // 512


def test_state_belongs_to_a_call() -> None:
    first, second = Vad(), Vad()
    pcm = recording("hello-world")
    alone = Vad().push(pcm)
    mixed = [(first.push(piece), second.push(silence(0.02))) for piece in pieces(pcm)]
    assert [p for heard, _ in mixed for p in heard] == pytest.approx(alone)


def test_each_window_is_given_the_end_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Vad()
    seen: list[np.ndarray] = []
    run = detector._run

    def spy(outputs: None, given: dict[str, np.ndarray]) -> object:
        seen.append(given["input"].copy())
        return run(outputs, given)

    monkeypatch.setattr(detector, "_run", spy)
    detector.push(recording("hello-world"))
    assert all((after[0, :64] == before[0, -64:]).all() for before, after in pairwise(seen))
    assert len(seen) > 10


def test_reset_forgets_but_keeps_its_position() -> None:
    detector = Vad()
    before = detector.push(recording("hello-world"))
    position = len(before)
    detector.reset()
    (window,) = detector.windows(silence(2 * WINDOW_S))[:1]
    assert window.end_s == pytest.approx((position + 1) * WINDOW_S)
    assert window.probability < 0.5


def test_levels_are_dbov() -> None:
    loud = pcm_of(np.full(RATE, 1.0, np.float32))
    assert windows(loud)[5].dbov == pytest.approx(0.0, abs=0.01)
    assert windows(silence(0.1))[0].dbov == -96.0


def test_every_real_prompt_is_one_caller_who_starts_and_ends() -> None:
    late = []
    for name in PROMPTS:
        speech = at_level(recording(name), -26.0)
        loud = np.abs(floats(speech)) > 0.02
        onset = 0.5 + float(np.argmax(loud)) / RATE
        events = turns(silence(0.5) + speech + silence(1.0))
        assert isinstance(events[0], SpeechStarted), name
        assert isinstance(events[-1], TurnEnded), name
        assert len(events) == 2 or name in ("demo-thanks", "vm-nobodyavail", "cannot-complete-as-dialed"), name
        late.append(abs(events[0].onset_s - onset))
    assert sorted(late)[int(0.9 * len(late))] < 0.2


@pytest.mark.parametrize("name", ["ringback", "busy"])
def test_progress_tones_are_no_caller(name: str) -> None:
    tone = resample_clip(progress_tone(name, "us", 10.0), 8000, RATE)
    assert turns(tone) == []


def test_keys_and_clicks_are_no_caller() -> None:
    keys = resample_clip(dtmf("0123456789*#" * 2), 8000, RATE)
    assert turns(silence(0.3) + keys + silence(0.5)) == []
    clicks = np.zeros(5 * RATE, np.float32)
    clicks[:: RATE // 3] = 0.8
    assert turns(pcm_of(clicks)) == []


@pytest.mark.parametrize("echo_db", [-20, -26, -32, -40])
def test_the_agents_own_echo_does_not_interrupt_it(echo_db: int) -> None:
    agent = says("We are open from eleven thirty to ten in the evening. Would you like to order something?", "rms")
    far = at_level(agent, -20.0)
    near = at_level(agent, -20.0 + echo_db)
    assert echoed(far, silence(0.12) + near) == []
    assert turns(near) != [], "the detector itself does hear it"


def test_a_caller_who_speaks_over_the_agent_is_heard() -> None:
    agent = at_level(says("We are open from eleven thirty to ten in the evening on Fridays and Saturdays."), -20.0)
    echo = floats(silence(0.12) + at_level(agent, -45.0))
    caller = floats(silence(1.0) + at_level(recording("location"), -26.0))
    mixed = np.zeros(max(echo.size, caller.size), np.float32)
    mixed[: echo.size] += echo
    mixed[: caller.size] += caller
    (onset, *_) = echoed(agent, pcm_of(mixed))
    assert 1.0 <= onset <= 1.4


def echoed(far: bytes, near: bytes) -> list[float]:
    """Onsets that the taker reports while the far end plays."""
    levels = [w.dbov for w in windows(far)]
    taker = TurnTaker(TurnSettings())
    events = []
    for index, window in enumerate(windows(near)):
        loudest = max(levels[max(0, index - 14) : index + 1], default=-96.0)
        events += taker.push(window.probability, window.dbov, loudest, window.end_s)
    return [event.onset_s for event in events if isinstance(event, SpeechStarted)]


def test_a_damaged_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="damaged"):
        vad._model_bytes()


def test_the_models_licence_comes_along() -> None:
    licence = resources.files("trunkline.ai.cascade").joinpath("models", "silero_vad_v6_16k.LICENSE").read_text()
    assert "MIT License" in licence
    assert "Silero" in licence
