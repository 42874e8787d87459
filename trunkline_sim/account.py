"""What a call was like for its caller, from everything the platform saw. Pure: observations in, figures out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trunkline_sim.caller import Caller, Checkpoint, Did
from trunkline_sim.ears import Run, speech_runs
from trunkline_sim.mulaw import RATE, level_dbov
from trunkline_sim.script import ExpectBargeIn, ExpectText, ExpectTool, Script
from trunkline_sim.smartflo import Ending
from trunkline_sim.spectator import ServiceTimeline, Told
from trunkline_sim.stream import Arrival, Stream
from trunkline_sim.voices import EDGE_S

_PAUSE_S = 0.25  # between audible messages: a new reply may begin
_STOP_S = 1.5  # an interrupted agent must be silent within this
_FINE = 40  # samples: 5 ms
_ROUNDING_S = 1e-6  # of one moment, counted from two beginnings

Verdict = Literal["met", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One act of the caller and how long they waited for the answer. Seconds of the call; None where none came."""

    number: int
    did: Did | None  # None: the greeting
    last_wire_s: float  # the caller's last speech sample, or key, left the platform
    wire_s: float | None  # first audible message of the answer arrived
    heard_s: float | None  # and its first sample was heard
    stages: Mapping[str, float] = field(default_factory=dict)  # the service's own account of the wait

    @property
    def response_s(self) -> float | None:
        """Last speech sample on the wire → first agent sample on the wire."""
        return None if self.wire_s is None else self.wire_s - self.last_wire_s

    @property
    def heard_response_s(self) -> float | None:
        """Last speech sample spoken → first agent sample heard: what the caller lived."""
        spoken = self.last_wire_s if self.did is None or self.did.kind == "pressed" else self.did.to_s - EDGE_S
        return None if self.heard_s is None else self.heard_s - spoken


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller spoke while the agent was heard."""

    did: Did
    onset_wire_s: float  # the message with the caller's first speech sample left
    clear_s: float | None  # `clear` arrived
    silent_s: float | None  # the agent was heard last
    dead: int  # audible messages after the clear, while the caller was still speaking: of the cut reply

    @property
    def clear_ms(self) -> float | None:
        """Onset on the wire → clear received."""
        return None if self.clear_s is None else 1000 * (self.clear_s - self.onset_wire_s)

    @property
    def silent_ms(self) -> float | None:
        """Onset on the wire → silence heard."""
        return None if self.silent_s is None else 1000 * (self.silent_s - self.onset_wire_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """An expectation and what came of it."""

    line: int
    text: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that is told of one call."""

    script: Script
    stream: Stream
    ending: Ending
    did: Sequence[Did]
    events: Sequence[Told]  # in the platform's seconds
    service: ServiceTimeline | None
    call_id: str
    agent_runs: Sequence[Run]
    answers: Sequence[Answer]
    barge_ins: Sequence[BargeIn]
    judged: Sequence[Judged]

    @property
    def duration_s(self) -> float:
        """Length of the call."""
        return max(len(self.stream.mic.track), len(self.stream.playout.heard)) / RATE

    @property
    def good(self) -> bool:
        """True when everything that the script demands was seen."""
        return all(judged.verdict == "met" for judged in self.judged)


def account(
    script: Script,
    caller: Caller,
    stream: Stream,
    ending: Ending,
    events: Sequence[Told] = (),
    service: ServiceTimeline | None = None,
    call_id: str = "",
) -> Account:
    """Fold a call's observations into its account."""
    runs = speech_runs(bytes(stream.playout.heard))
    barge_ins = [found for did in caller.did if (found := _barge_in(did, stream, runs)) is not None]
    return Account(
        script=script,
        stream=stream,
        ending=ending,
        did=tuple(caller.did),
        events=tuple(events),
        service=service,
        call_id=call_id,
        agent_runs=runs,
        answers=answers(caller.did, stream, events),
        barge_ins=barge_ins,
        judged=[
            *(Judged(missed.line, "script", "failed", missed.reason) for missed in caller.missed),
            *(_judge(point, caller.did, events, barge_ins) for point in caller.checkpoints),
        ],
    )


def answers(did: Sequence[Did], stream: Stream, events: Sequence[Told] = ()) -> list[Answer]:
    """The greeting, then one per act of the caller."""
    audible = [arrival for arrival in stream.arrivals if arrival.audible]
    found: list[Answer] = []
    for number, act in enumerate((None, *did)):
        until = did[number].from_s if number < len(did) else float("inf")
        last = _last_wire(act, stream)
        wire_s = _answer(audible, stream.playout.clears, last, until)
        stages = _stages(events, wire_s) if act is not None else {}
        found.append(Answer(number, act, last, wire_s, _audible_from(stream, wire_s), stages))
    return found


def _last_wire(act: Did | None, stream: Stream) -> float:
    if act is None:
        return 0.0
    return act.to_s if act.kind == "pressed" else stream.wire_s(act.to_s - EDGE_S)


def _answer(audible: Sequence[Arrival], clears: Sequence[float], after: float, until: float) -> float | None:
    """When the first audible message arrived that begins something new after `after`."""
    before = float("-inf")
    for arrival in audible:
        cut = any(before < clear <= arrival.at_s for clear in clears)
        if arrival.at_s >= after and (arrival.at_s - before > _PAUSE_S or cut):
            return arrival.at_s if arrival.at_s < until + _PAUSE_S else None
        before = arrival.at_s
    return None


def _audible_from(stream: Stream, at_s: float | None) -> float | None:
    """When something is heard, at or after `at_s`, to 5 ms."""
    if at_s is None:
        return None
    heard = stream.playout.heard
    for start in range(int(at_s * RATE), len(heard), _FINE):
        if level_dbov(bytes(heard[start : start + _FINE])) > -45.0:
            return start / RATE
    return None


def _stages(events: Sequence[Told], wire_s: float | None) -> Mapping[str, float]:
    """The service's stages of the turn whose answer left it at about `wire_s`."""
    told = [event for event in events if event.event == "turn_answered" and wire_s is not None]
    near = [event for event in told if wire_s is not None and abs(event.at_s - wire_s) < 0.5]
    return near[-1].stages if near else {}


def _barge_in(did: Did, stream: Stream, runs: Sequence[Run]) -> BargeIn | None:
    run = next((run for run in runs if run.from_s < did.from_s < run.to_s - 0.02), None)
    if run is None or did.kind == "pressed":
        return None
    onset = stream.wire_s(did.from_s + EDGE_S)
    spoken = stream.wire_s(did.to_s - EDGE_S)
    cuts = stream.playout.clears if stream.clears else _last_before(spoken, stream)
    clear = next((at_s for at_s in cuts if onset - 0.1 <= at_s <= spoken + 2.0), None)
    dead = [a for a in stream.arrivals if clear is not None and clear < a.at_s < spoken and a.audible]
    return BargeIn(did, onset, clear, run.to_s, len(dead))


def _last_before(at_s: float, stream: Stream) -> Sequence[float]:
    """Where there is no `clear`: when the last of the agent's voice came before the caller had spoken."""
    return [arrival.at_s for arrival in stream.arrivals if arrival.at_s <= at_s and arrival.audible][-1:]


def _judge(point: Checkpoint, did: Sequence[Did], events: Sequence[Told], barge_ins: Sequence[BargeIn]) -> Judged:
    since = did[point.acts - 1].from_s if point.acts else float("-inf")
    until = did[point.acts].from_s if point.acts < len(did) else float("inf")
    match point.step:
        case ExpectText(line, pattern):
            return _judge_text(line, pattern, _said(events, since, until), bool(events))
        case ExpectTool(line, tool, count):
            used = [e for e in events if e.event == "tool_used" and e.name == tool and e.ok and e.at_s < until]
            verdict: Verdict = "met" if len(used) >= count else "failed" if events else "unknown"
            reason = "" if events else _NO_EVENTS
            return Judged(line, f"{count} × {tool}", verdict, reason or f"{len(used)} seen")
        case ExpectBargeIn(line):
            mine = [barge_in for barge_in in barge_ins if point.acts and barge_in.did == did[point.acts - 1]]
            return _judge_barge_in(line, mine[0] if mine else None)


_NO_EVENTS = "the service's events could not be read (GET /events; give --key where keys are demanded)"


def _judge_text(line: int, pattern: re.Pattern[str], said: str, told: bool) -> Judged:
    if not told:
        return Judged(line, f"/{pattern.pattern}/", "unknown", _NO_EVENTS)
    met = pattern.search(said) is not None
    return Judged(line, f"/{pattern.pattern}/", "met" if met else "failed", f"agent: {said or 'nothing'}")


def _judge_barge_in(line: int, barge_in: BargeIn | None) -> Judged:
    if barge_in is None:
        return Judged(line, "barge-in", "failed", "the agent was not speaking when the caller began")
    if barge_in.clear_s is None:
        return Judged(line, "barge-in", "failed", "no `clear` came")
    if barge_in.dead:
        return Judged(line, "barge-in", "failed", f"{barge_in.dead} messages of the cut reply came after the clear")
    silent_ms = barge_in.silent_ms or 0.0
    met = silent_ms <= 1000 * _STOP_S
    return Judged(line, "barge-in", "met" if met else "failed", f"silent {silent_ms:.0f} ms after the caller's onset")


def _said(events: Sequence[Told], since: float, until: float) -> str:
    """What the agent set out to say in replies that began in this stretch of the call."""
    first: dict[str, float] = {}
    for event in events:
        if event.event == "reply_saying":
            first.setdefault(event.reply, event.at_s)
    began = {reply for reply, at_s in first.items() if since - _ROUNDING_S <= at_s < until - _ROUNDING_S}
    return " ".join(e.text for e in events if e.event == "reply_saying" and e.reply in began)
