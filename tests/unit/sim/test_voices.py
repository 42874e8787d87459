"""Callers' voices: level, rate, trimming, the cache, and words of help where something is missing."""

import wave
from pathlib import Path

import numpy as np
import pytest

from trunkline_sim import mulaw, voices
from trunkline_sim.errors import VoiceError
from trunkline_sim.script import parse
from trunkline_sim.voices import VOICES, Voice, Voices


def _write(path: Path, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", rate: int, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def _beep(rate: int, level: int = 1000) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    quiet = np.zeros(rate // 2)
    beep = level * np.sin(2 * np.pi * 400 * np.arange(rate) / rate)
    return np.concatenate([quiet, beep, quiet]).astype(np.int16)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_recording_becomes_trimmed_levelled_mu_law(tmp_path: Path, rate: int) -> None:
    _write(tmp_path / "a.wav", _beep(rate), rate)
    clip = Voices(tmp_path / "cache").recording("a.wav", tmp_path)
    assert len(clip) / 8000 == pytest.approx(1.0 + 2 * voices.EDGE_S, abs=0.03)
    assert mulaw.level_dbov(clip[1600:6400]) == pytest.approx(-20, abs=0.7)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no wave at all"])
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(VoiceError, match=r"recording 'a\.wav'"):
        Voices(tmp_path).recording("a.wav", tmp_path)


def test_silence_is_no_recording(tmp_path: Path) -> None:
    _write(tmp_path / "a.wav", np.zeros(8000, np.int16), 8000)
    with pytest.raises(VoiceError, match="no sound"):
        Voices(tmp_path).recording("a.wav", tmp_path)


def test_an_unknown_voice_and_a_missing_program_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VoiceError, match="there are: kal16"):
        Voices().say("x", "bob")
    monkeypatch.setitem(VOICES, "gone", Voice("gone", ("no-such-program",), "some-package", ""))  # type: ignore[misc]
    with pytest.raises(VoiceError, match="apt install some-package"):
        Voices().say("x", "gone")


def test_missing_recordings_name_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(voices, "RECORDINGS", (tmp_path / "none",))
    with pytest.raises(VoiceError, match="apt install asterisk-core-sounds-en-wav"):
        Voices().recording("asterisk:hours")
    monkeypatch.setattr(voices, "RECORDINGS", (tmp_path,))
    with pytest.raises(VoiceError, match="no recording 'hours'"):
        Voices().recording("asterisk:hours")


def test_a_sentence_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.wav"
    _write(source, _beep(16000), 16000)
    log = tmp_path / "log"
    command = ("sh", "-c", f"cp {source} {{out}}; echo made >> {log}")
    monkeypatch.setitem(VOICES, "copy", Voice("copy", command, "", ""))  # type: ignore[misc]
    made = Voices(tmp_path / "cache")
    assert made.say("hello", "copy") == made.say("hello", "copy")
    assert log.read_text() == "made\n"
    made.say("other words", "copy")
    assert log.read_text() == "made\n" * 2


def test_a_voice_that_fails_says_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(VOICES, "bad", Voice("bad", ("sh", "-c", "echo no such voice >&2; exit 3"), "p", ""))  # type: ignore[misc]
    with pytest.raises(VoiceError, match=r"failed \(3\): no such voice"):
        Voices(tmp_path).say("hello", "bad")


def test_the_agents_own_voice_is_not_a_callers() -> None:
    assert "rms" not in VOICES


def test_a_script_may_change_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Voices, "say", lambda self, text, voice="": asked.append((text, voice)) or b"x")
    Voices(tmp_path).clips(parse('voice: awb\nsay "a"\nsay "b" in voice slt'))
    Voices(tmp_path).clips(parse('voice: awb\nsay "a"\nsay "b" in voice slt'), "kal")
    assert asked == [("a", "awb"), ("b", "slt"), ("a", "kal"), ("b", "slt")]


def test_mu_law_is_the_definitions() -> None:
    assert mulaw.encode(np.array([0, -1, 32767, -32768], np.int16)) == b"\xff\x7f\x80\x00"
    assert mulaw.decode(b"\xff\x7f\x80\x00").tolist() == [0, 0, 32124, -32124]
    assert mulaw.encode(mulaw.decode(bytes(range(256)))).replace(b"\xff", b"") == bytes(
        code for code in range(256) if code not in (0x7F, 0xFF)
    )
