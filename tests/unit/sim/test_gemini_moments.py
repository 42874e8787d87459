"""The simulated Gemini in virtual time: faults at rest, beside tools, at set-up; who is answered when two ask."""

from typing import Any

import pytest

from tests.unit.sim.gemini_rig import SETUP, Rig, babble
from trunkline_sim.gemini_scenario import Fault, Rule, Scenario, ToolUse
from trunkline_sim.gemini_stage import Reset

pytestmark = pytest.mark.slow

HOURS = "what are your opening hours"
CLIPS = {HOURS: babble(1, 0.8)}


def _rig(scenario: Scenario | None = None, connection: int = 1) -> Rig:
    return Rig(scenario, CLIPS, connection=connection)


def _text(text: str) -> dict[str, Any]:
    return {"realtimeInput": {"text": text}}


@pytest.mark.parametrize(
    ("fault", "after"),
    [(Fault(kind="rst", turn=1, idle_ms=300), "turnComplete"), (Fault(kind="rst", tool_ms=300), "toolCall")],
)
def test_an_end_at_rest_and_an_end_while_a_tool_runs(fault: Fault, after: str) -> None:
    rules = (Rule(match="pizza", tools=(ToolUse(name="order"),)),)
    rig = _rig(Scenario(rules=rules, faults=(fault,))).open(tools=[{"functionDeclarations": [{"name": "order"}]}])
    rig.send(_text("hello"))
    rig.wait(4)
    if after == "toolCall":
        rig.send(_text("a pizza"))
        rig.wait(2)
    assert isinstance(rig.end, Reset)
    (moment,) = rig.log.of(after)
    assert rig.log.events[-1].at_s - moment.at_s == pytest.approx(0.3, abs=0.05)


def test_a_muted_session_hears_and_never_speaks_again_not_even_resumed() -> None:
    rig = _rig(Scenario(faults=(Fault(kind="mute", turn=1, idle_ms=0),))).open(sessionResumption={})
    rig.send(_text("hello"))
    rig.wait(4)
    spoken = len(rig.spoken())
    assert spoken
    rig.say(CLIPS[HOURS])
    rig.wait(4)
    assert rig.log.heard == [HOURS]
    assert len(rig.spoken()) == spoken


@pytest.mark.parametrize(("connection", "ready"), [(1, False), (2, True)])
def test_only_the_first_set_up_may_be_slow(connection: int, ready: bool) -> None:
    rig = _rig(Scenario(slow_setup_s=3.0), connection=connection)
    rig.send({"setup": SETUP})
    rig.wait(1)
    assert bool(rig.of("setupComplete")) is ready


def test_a_named_group_of_what_was_heard_can_be_said() -> None:
    rig = _rig(Scenario(rules=(Rule(match='word for word: "(?P<words>[^"]+)"', say="{words}"),))).open()
    rig.send(_text('(Say word for word: "good evening")'))
    rig.wait(3)
    assert list(rig.log.replies.values()) == ["good evening"]


def test_a_caller_who_speaks_before_the_answer_to_a_text_is_answered_and_the_text_is_not() -> None:
    rig = _rig().open()
    rig.send(_text("say something"))
    rig.wait(0.1)
    rig.say(CLIPS[HOURS])
    rig.wait(4)
    assert list(rig.log.replies.values())[-1] == f"You said: {HOURS}"
