"""A scripted caller on a line of sound and silence, without a service."""

from tests.unit.sim.tiny_service import tone
from trunkline_sim.caller import Act, Caller, HangUp, PressKey, Speak
from trunkline_sim.ears import FRAME_S, Ears, speech_runs
from trunkline_sim.mulaw import SILENCE
from trunkline_sim.script import parse
from trunkline_sim.voices import speeches

QUIET = bytes((SILENCE,)) * 160
LOUD = tone(0.02)


def _talk(text: str, agent: list[tuple[float, float]], until_s: float) -> tuple[Caller, list[tuple[float, Act]]]:
    """Play a script against an agent that speaks in these spans; the acts with their times."""
    script = parse(text)
    caller = Caller(script, {speech: tone(1.0) for speech in speeches(script)})
    acts: list[tuple[float, Act]] = []
    for tick in range(int(until_s / FRAME_S)):
        now = tick * FRAME_S
        caller.hear(LOUD if any(a <= now < b for a, b in agent) else QUIET)
        acts += [(round(now + FRAME_S, 2), act) for act in caller.tick(now + FRAME_S)]
    return caller, acts


def test_waits_until_the_agent_has_finished_then_speaks_then_leaves() -> None:
    caller, acts = _talk('wait for agent\nsay "hello"\nhang up', [(0.5, 1.5)], 5)
    assert [(at_s, type(act)) for at_s, act in acts] == [(2.2, Speak), (3.2, HangUp)]
    assert (caller.did[0].from_s, caller.did[0].to_s) == (2.2, 3.2)
    assert caller.finished
    assert not caller.missed


def test_a_pause_within_a_reply_is_no_end_of_it() -> None:
    _, acts = _talk('wait for agent\nsay "hello"', [(0.5, 1.5), (2.0, 3.0)], 4)
    assert acts[0][0] == 3.7


def test_interrupts_while_the_agent_speaks() -> None:
    caller, acts = _talk('interrupt after 800 ms with "stop"', [(1.0, 5.0)], 4)
    assert acts[0] == (1.8, Speak("stop", tone(1.0)))
    assert caller.did[0].kind == "interrupted"


def test_an_interruption_that_came_too_late_is_told_and_done_anyway() -> None:
    caller, acts = _talk('interrupt after 800 ms with "stop"', [(1.0, 1.2)], 4)
    assert isinstance(acts[0][1], Speak)
    assert "had finished" in caller.missed[0].reason


def test_the_answer_is_what_begins_after_the_callers_act() -> None:
    # The cut reply goes on for 300 ms into the interruption; the caller waits for the next one.
    _, acts = _talk('interrupt after 800 ms with "stop"\nwait for agent\nhang up', [(1.0, 2.1), (3.5, 4.5)], 8)
    assert acts[-1] == (5.2, HangUp())


def test_an_agent_that_never_answers_is_told() -> None:
    caller, acts = _talk("wait for agent up to 2 s\nhang up", [], 4)
    assert acts == [(2.0, HangUp())]
    assert caller.missed[0].reason == "the agent said nothing within 2 s"
    assert caller.missed[0].line == 1


def test_keys_are_pressed_one_after_the_other() -> None:
    _, acts = _talk("press 12#\nhang up", [], 2)
    assert [act for _, act in acts] == [PressKey("1"), PressKey("2"), PressKey("#"), HangUp()]
    assert acts[1][0] - acts[0][0] >= 0.24


def test_silence_then_the_agents_prompt() -> None:
    _, acts = _talk("wait for agent\nsilence 2 s\nwait for agent\nhang up", [(0.5, 1.0), (4.0, 5.0)], 8)
    assert acts == [(5.7, HangUp())]


def test_the_service_ends_the_call_first() -> None:
    script = parse('say "hello"\nexpect /x/\nwait for hang up\nhang up')
    caller = Caller(script, {speech: tone(1.0) for speech in speeches(script)})
    caller.tick(0.02)
    caller.closed()
    assert caller.finished
    assert [missed.line for missed in caller.missed] == [1]
    assert len(caller.checkpoints) == 1


def test_ears_find_speech_and_its_end() -> None:
    ears = Ears()
    for frame in (QUIET, LOUD, QUIET, LOUD, LOUD, LOUD, QUIET, QUIET):
        ears.hear(frame)
    assert [(round(run.from_s, 2), round(run.to_s, 2)) for run in ears.runs] == [(0.06, 0.12)]
    assert round(ears.quiet_s(), 2) == 0.04


def test_runs_of_a_track() -> None:
    track = QUIET * 10 + tone(0.5) + QUIET * 5 + tone(0.5) + QUIET * 30 + tone(0.2)
    assert [(round(run.from_s, 2), round(run.to_s, 2)) for run in speech_runs(track)] == [(0.2, 1.3), (1.9, 2.1)]
