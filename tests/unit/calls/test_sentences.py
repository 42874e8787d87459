"""Sentences made ahead: where they come from, what is kept, and what is refused."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trunkline import service_sentences
from trunkline.calls.sentences import KINDS, WORDING, Cabinet, Clip, Synthesiser, wording
from trunkline.codecs.g711 import PCMU
from trunkline.codecs.wav import read_wav, wav_bytes
from trunkline.config import Agent, Failure, Server, Settings, Sip
from trunkline.errors import ConfigError, ProviderError
from trunkline.service_sentences import complaints, outlook, prepare, sentences


class Voice:
    """Speaks a second of one level."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def make(self, text: str) -> bytes:
        self.made.append(text)
        return b"\x10\x27" * 16_000

    def at_hand(self) -> Synthesiser:
        return Synthesiser("v", 16_000, self.make)


def test_what_was_made_is_kept_for_the_next_start(tmp_path: Path) -> None:
    voice = Voice()
    found = Cabinet(tmp_path, None, voice.at_hand()).phrases(Agent())
    assert voice.made == [WORDING[kind] for kind in KINDS]
    again = Voice()
    kept = Cabinet(tmp_path, None, again.at_hand()).phrases(Agent())
    assert again.made == []
    assert kept == found
    assert len(list(tmp_path.iterdir())) == len(KINDS)


def test_the_silence_behind_the_last_sound_is_left_out(tmp_path: Path) -> None:
    voice = Synthesiser("v", 16_000, lambda text: b"\x10\x27" * 8000 + bytes(8000))
    assert Cabinet(tmp_path, None, voice).phrases(Agent())["end"].seconds == pytest.approx(0.53)
    silent = Synthesiser("w", 16_000, lambda text: bytes(8000))
    assert Cabinet(tmp_path, None, silent).phrases(Agent()) == {}


def test_another_voice_is_another_clip(tmp_path: Path) -> None:
    first, second = Voice(), Voice()
    Cabinet(tmp_path, None, first.at_hand()).phrases(Agent())
    Cabinet(tmp_path, None, Synthesiser("w", 16_000, second.make)).phrases(Agent())
    assert second.made == first.made


def test_a_file_that_was_spoilt_is_made_anew(tmp_path: Path) -> None:
    Cabinet(tmp_path, None, Voice().at_hand()).phrases(Agent())
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:30])
    again = Voice()
    assert set(Cabinet(tmp_path, None, again.at_hand()).phrases(Agent())) == set(KINDS)
    assert len(again.made) == len(KINDS)
    assert all(read_wav(path.read_bytes()).seconds == 1.0 for path in tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert set(Cabinet(file / "cache", None, Voice().at_hand()).phrases(Agent())) == set(KINDS)


def test_the_operators_recording_wins_and_its_language_before_the_rest(tmp_path: Path) -> None:
    (tmp_path / "hi").mkdir()
    (tmp_path / "hi" / "end.wav").write_bytes(wav_bytes(bytes(3200), 16_000))
    (tmp_path / "end.wav").write_bytes(wav_bytes(bytes(1600), 8_000))
    cabinet = Cabinet(tmp_path / "cache", tmp_path, Voice().at_hand())
    assert cabinet.phrases(Agent(language="hi-IN"))["end"].rate == 16_000
    english = cabinet.phrases(Agent())
    assert (english["end"].rate, english["end"].text) == (8_000, "[end.wav]")
    assert english["one_moment"].text == WORDING["one_moment"]


def test_an_agents_own_words_are_spoken_where_the_voice_can() -> None:
    assert wording(Agent(one_moment="Hang on!"), "one_moment") == "Hang on!"
    assert wording(Agent(one_moment="Hang on!"), "still_trying") == WORDING["still_trying"]
    assert wording(Agent(language="hi-IN", one_moment="रुकिए"), "one_moment") == WORDING["one_moment"]
    assert wording(Agent(language="fr", one_moment="Un moment"), "one_moment") == WORDING["one_moment"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"RIFF", "end.wav"),
        (wav_bytes(bytes(6400), 16_000, 2), "2 channels"),
        (wav_bytes(bytes(2), 44_100), "44100 Hz"),
        (wav_bytes(b"", 8000), "0.0 s"),
        (wav_bytes(bytes(16_000 * 21), 8000), "21.0 s"),
    ],
)
def test_a_recording_that_cannot_be_used_stops_the_start(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "end.wav").write_bytes(data)
    with pytest.raises(ConfigError, match=rf"failure\.sentences_dir.*{told}"):
        Cabinet(tmp_path / "cache", tmp_path, None).phrases(Agent())


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"failure\.sentences_dir.*not a folder"):
        Cabinet(tmp_path, tmp_path / "none", None)


def test_a_voice_that_fails_leaves_its_sentence_out(tmp_path: Path) -> None:
    def fails(text: str) -> bytes:
        raise ProviderError("no voice")

    assert Cabinet(tmp_path, None, Synthesiser("v", 16_000, fails)).phrases(Agent()) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
def test_a_clip_is_the_codecs_payload_of_the_same_length(rate: int) -> None:
    clip = Clip("x", b"\x10\x27" * rate, rate)
    payload = clip.payload(PCMU)
    assert PCMU.seconds(payload) == pytest.approx(1.0, abs=0.025)
    assert clip.payload(PCMU) is payload
    assert set(PCMU.decoder().decode(payload[800:7200:100])) != {0}


def test_the_offline_voice_makes_them_and_an_operator_is_told_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(server=Server(data_dir=str(tmp_path)))
    found = sentences(settings)
    assert set(found["receptionist"]) == set(KINDS)
    assert 0.5 < found["receptionist"]["one_moment"].seconds < 3.0
    assert complaints(settings, found) == []
    (told,) = complaints(settings, {"receptionist": {}})
    assert "libflite1" in told
    (told,) = complaints(Settings(failure=Failure(after_failure="transfer")), found)
    assert "allow_transfer_to" in told
    somebody = Settings(failure=Failure(after_failure="transfer"), sip=Sip(allow_transfer_to=("1001",)))
    assert complaints(somebody, found) == []


def test_a_look_ahead_makes_and_keeps_nothing(tmp_path: Path) -> None:
    settings = Settings(server=Server(data_dir=str(tmp_path / "none")))
    assert outlook(settings) == []
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match=r"failure\.sentences_dir"):
        outlook(Settings(failure=Failure(sentences_dir=str(tmp_path / "none"))))


async def test_a_start_without_any_voice_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_sentences, "offline_voice", lambda settings: None)
    with capture_logs() as told:
        assert await prepare(Settings(server=Server(data_dir=str(tmp_path)))) == {"receptionist": {}}
    assert [line["event"] for line in told] == ["sentences.missing"]
    assert "end with a tone" in told[0]["hint"]
