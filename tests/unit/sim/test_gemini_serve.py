"""The files `trunkline sim gemini` reads: wrong ones are told by name."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from trunkline_sim.cli import sim_app
from trunkline_sim.errors import SimError
from trunkline_sim.gemini_scenario import Scenario
from trunkline_sim.gemini_serve import scenarios_of, sentences_of


def test_scenarios_and_sentences(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"mine": {"speedup": 8}}')
    (tmp_path / "c.txt").write_text("# callers\n\nwhat are your opening hours\n")
    assert scenarios_of(tmp_path / "s.json") == {"mine": Scenario(speedup=8)}
    assert sentences_of(tmp_path / "c.txt") == ["what are your opening hours"]
    assert (scenarios_of(None), sentences_of(None)) == ({}, ())


@pytest.mark.parametrize("text", ["", "[]", '{"mine": 3}', '{"mine": {"speed": 8}}'])
def test_a_wrong_file_of_scenarios_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(SimError, match="mine" if "speed" in text else r"s\.json"):
        scenarios_of(tmp_path / "s.json")


def test_the_command_tells_and_does_not_trace(tmp_path: Path) -> None:
    told = CliRunner().invoke(sim_app, ["gemini", "--scenario", "colour=red", "--certificates", str(tmp_path)])
    assert told.exit_code == 1
    assert "'colour' is no setting" in told.output
    assert "Traceback" not in told.output
