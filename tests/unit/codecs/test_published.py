"""docs/audio.md promises figures; the script that measures them is run on the ones that matter."""

from pathlib import Path

import pytest

from bench import audio_quality
from trunkline.codecs.g711 import PCMA, PCMU


@pytest.mark.parametrize("pair", [(8000, 16000), (24000, 8000)])
def test_the_path_to_a_model_and_back_keeps_its_promises(pair: tuple[int, int]) -> None:
    assert audio_quality.floor(*pair) <= -75
    assert audio_quality.ripple(*pair) <= 0.01
    assert audio_quality.delay_ms(*pair) == pytest.approx(2.0, abs=0.02)
    assert audio_quality.gain(3400, *pair) == pytest.approx(-0.8, abs=0.05)


def test_g711_keeps_its_promises() -> None:
    for codec in (PCMU, PCMA):
        assert min(audio_quality.coded_snr(codec, level) for level in (-3, -10, -20, -30)) > 36


def test_the_page_holds_all_the_tables() -> None:
    page = audio_quality.DOCUMENT.read_text()
    measured = page.partition(audio_quality.BEGIN)[2].partition(audio_quality.END)[0]
    for from_hz, to_hz in audio_quality.PAIRS:
        assert f"| {from_hz // 1000} → {to_hz // 1000} kHz" in measured
    assert measured.count("**") == 12  # six headings


def test_writing_replaces_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "audio.md"
    page.write_text(f"before {audio_quality.BEGIN}\nold\n{audio_quality.END} after")
    audio_quality.write("new", page)
    assert page.read_text() == f"before {audio_quality.BEGIN}\n\nnew\n\n{audio_quality.END} after"


def test_writing_into_a_page_without_markers_says_so(tmp_path: Path) -> None:
    page = tmp_path / "audio.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="markers"):
        audio_quality.write("new", page)
    assert page.read_text() == "nothing"
