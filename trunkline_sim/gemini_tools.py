"""The simulated Gemini's use of tools: calls, answers in any order, waiting, cancellation. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trunkline_sim.gemini_scenario import Rule, ToolUse
from trunkline_sim.gemini_stage import Close, Stage
from trunkline_sim.gemini_wire import INVALID, Json, ToolResults, tool_call

_WAIT, _CANCEL = "tool wait", "tool cancel"
_EXTENDED = "gemini-3.8-live-extended-thinking"


@dataclass(slots=True)
class _Job:
    """One use of a rule: its calls, and what they answered."""

    rule: Rule
    text: str
    to_come: list[ToolUse]
    open: dict[str, str] = field(default_factory=dict)  # id → name
    results: list[Any] = field(default_factory=list)
    scheduling: str = "WHEN_IDLE"


class ToolDesk:
    """At most one job at a time. `on_done(text, scheduling, now)` when all its answers are there, `on_asked(n, now)`
    when tools were asked for, for the n-th time on this connection."""

    def __init__(self, stage: Stage) -> None:
        self.on_done: Callable[[str, str, float], None] = lambda text, scheduling, now: None
        self.on_asked: Callable[[int, float], None] = lambda request, now: None
        self._stage = stage
        self._job: _Job | None = None
        self._requests = 0
        self._cancelled: set[str] = set()
        self._answered: set[str] = set()

    @property
    def pending(self) -> bool:
        """True while an answer is awaited."""
        return self._job is not None

    @property
    def blocking(self) -> bool:
        """True while the model says nothing for lack of an answer."""
        job = self._job
        return job is not None and any(self._stage.setup.tools.get(name, True) for name in job.open.values())

    def start(self, rule: Rule, text: str, now: float) -> None:
        """Call the tools of a rule."""
        self.cancel(now)
        self._job = _Job(rule, text, list(rule.tools))
        self._call(self._job, now)

    def cancel(self, now: float) -> None:
        """What is not answered is not wanted any more."""
        if self._job is None:
            return
        ids = list(self._job.open)
        self._cancelled.update(ids)
        self._end_job()
        self._stage.send(now, "toolCallCancellation", toolCallCancellation={"ids": ids})

    def answered(self, message: ToolResults, now: float) -> None:
        """The client's toolResponse."""
        for result in message.results:
            if not self._one(result, now):
                return
        job = self._job
        if job is None or job.open:
            return
        if job.to_come:
            self._call(job, now)
            return
        self._end_job()
        self.on_done(_filled(job), job.scheduling, now)

    def _call(self, job: _Job, now: float) -> None:
        stage, scenario = self._stage, self._stage.scenario
        uses = job.to_come[:1] if job.rule.one_by_one else job.to_come
        job.to_come = job.to_come[len(uses) :]
        calls = [(f"function-call-{stage.dice.getrandbits(64)}", use.name, use.args) for use in uses]
        job.open = {id_: name for id_, name, _ in calls}
        if stage.setup.resumption:
            stage.send(now, "resumable", sessionResumptionUpdate={"resumable": False})
        listed = [{"id": id_, "name": name, "args": args} for id_, name, args in calls]
        stage.raw(now, "toolCall", tool_call(calls), {"toolCall": {"functionCalls": listed}})
        stage.agenda.cancel(_WAIT)
        stage.agenda.put(now + scenario.tool_timeout_s, _WAIT, self._gave_up)
        if scenario.tool_cancel_s is not None:
            stage.agenda.put(now + scenario.tool_cancel_s, _CANCEL, self.cancel)
        self._requests += 1
        self.on_asked(self._requests, now)

    def _one(self, result: Json, now: float) -> bool:
        job, id_ = self._job, result["id"]
        if result.get("scheduling") and self._stage.setup.model == _EXTENDED:
            self._refuse(now, "tool_scheduling", id_)
            return False
        if job is None or job.open.get(id_) != result["name"]:
            return self._wrong(id_, now)
        if result.get("willContinue"):
            return True
        del job.open[id_]
        self._answered.add(id_)
        job.results.append(result["response"])
        job.scheduling = str(result.get("scheduling") or job.scheduling)
        return True

    def _wrong(self, id_: str, now: float) -> bool:
        """An answer nobody waits for. One that crossed its cancellation on the wire is no fault of the client's."""
        known = {"tool_cancelled_answered": self._cancelled, "tool_answered_twice": self._answered}
        name = next((name for name, ids in known.items() if id_ in ids), "tool_unknown_id")
        self._stage.violation(now, name, id_)
        if name != "tool_cancelled_answered" and self._stage.scenario.strict:
            self._stage.end(now, Close(1007, INVALID))
            return False
        return True

    def _refuse(self, now: float, name: str, about: str) -> None:
        self._stage.violation(now, name, about)
        self._stage.end(now, Close(1007, "Function response scheduling is not supported in this model."))

    def _gave_up(self, now: float) -> None:
        self._stage.violation(now, "tool_not_answered", list(self._job.open) if self._job else None)
        self._stage.end(now, Close(1011, "Deadline expired before operation could complete."))

    def _end_job(self) -> None:
        self._job = None
        self._stage.agenda.cancel(_WAIT)
        self._stage.agenda.cancel(_CANCEL)


def _filled(job: _Job) -> str:
    told = "; ".join(_told(result) for result in job.results)
    return job.rule.then.replace("{text}", job.text).replace("{result}", told)


def _told(response: Json) -> str:
    value = response.get("output", response.get("error", response))
    return value if isinstance(value, str) else json.dumps(value)
