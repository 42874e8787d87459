"""Scenarios from JSON and from a key; wrong ones say what is wrong."""

import pytest

from trunkline_sim.errors import SimError
from trunkline_sim.gemini_scenario import PRESETS, Fault, Scenario, scenario_from, with_changes


def test_a_scenario_from_json() -> None:
    made = scenario_from({"speedup": 8, "faults": [{"kind": "rst", "turn": 2, "after_ms": 300}]})
    assert made == Scenario(speedup=8, faults=(Fault(kind="rst", turn=2, after_ms=300),))


@pytest.mark.parametrize(("body", "told"), [
    ({"speed": 8}, "speed"),
    ({"speedup": "fast"}, "speedup"),
    ({"speedup": 0}, "speedup must be above 0"),
    ({"rate": 11025}, "rate must be"),
    ({"chunk_bytes": []}, "chunk_bytes"),
    ({"faults": [{"kind": "rst"}]}, "needs its moment"),
    ({"faults": [{"kind": "flood", "at_s": 1}]}, "faults"),
    ({"faults": [{"kind": "close", "at_s": 1, "code": 7}]}, "close code"),
    ([], "object"),
])  # fmt: skip
def test_a_wrong_scenario_names_the_field(body: object, told: str) -> None:
    with pytest.raises(SimError, match=told):
        scenario_from(body)


def test_changes_in_a_key() -> None:
    assert with_changes(Scenario(), "speedup=8,voice=flite,odd_chunks=true") == Scenario(
        speedup=8, voice="flite", odd_chunks=True
    )
    with pytest.raises(SimError, match="'colour' is no setting"):
        with_changes(Scenario(), "colour=red")


def test_presets_are_all_of_the_faults_of_the_reference() -> None:
    wanted = {"http_401", "http_429", "http_503", "no_setup_ack", "slow_setup", "rst", "half_open", "stall_mid_turn"}
    wanted |= {"slow_first_audio", "slow_pong", "goaway", "goaway_silent", "goaway_short", "resume_refused"}
    wanted |= {"resume_poisoned", "phantom_interrupt", "odd_messages", "odd_chunks", "no_turn_complete", "noise"}
    assert wanted <= set(PRESETS)
