"""What goes wrong on a simulated Gemini connection, and when. Pure."""

import json

from trunkline_sim.gemini_scenario import DEADLINE, Fault
from trunkline_sim.gemini_stage import Close, Freeze, Reset, Stage
from trunkline_sim.gemini_wire import audio_part, content, model_turn, write

_HUGE = 1_500_000  # bytes

_ODD: dict[str, bytes] = {
    "unknown": write(futureThing={"so": "what"}),
    "error": write(error={"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}),
    "bad_json": b'{"serverContent":{"modelTurn":',
    "bad_b64": content(modelTurn=model_turn([{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "@@@"}}])),
    "wrong_type": write(serverContent={"turnComplete": "perhaps", "modelTurn": [1, 2]}),
    "empty": b"",
    "phantom_interrupted": content(interrupted=True),
}


class Faults:
    """Those of one connection. Each happens once at most."""

    def __init__(self, stage: Stage, connection: int) -> None:
        self._stage = stage
        self._left = [
            fault
            for fault in stage.scenario.faults
            if fault.connection in (0, connection) and stage.dice.random() < fault.probability
        ]

    def before_setup(self, now: float) -> bool:
        """Those that come instead of setupComplete; True when there was one."""
        return self._fire([fault for fault in self._left if fault.at_s is not None and fault.at_s < 0], now)

    def begin(self, now: float) -> None:
        """setupComplete was sent: those with a time of their own are planned."""
        for fault in [fault for fault in self._left if fault.at_s is not None]:
            self._left.remove(fault)
            self._plan(fault, now + (fault.at_s or 0.0))

    def spoke(self, turn: int, sent_ms: float, now: float) -> None:
        """So much audio of reply `turn` was sent."""
        due = [f for f in self._left if _in_speech(f) and f.turn == turn and sent_ms >= f.after_ms]
        self._fire(due, now)

    def rested(self, turn: int, now: float) -> None:
        """The turn of reply `turn` is complete."""
        for fault in [f for f in self._left if f.idle_ms is not None and f.turn == turn]:
            self._left.remove(fault)
            self._plan(fault, now + (fault.idle_ms or 0.0) / 1000)

    def asked(self, request: int, now: float) -> None:
        """Tools were asked for, for the `request`-th time."""
        for fault in [f for f in self._left if f.tool_ms is not None and f.turn in (0, request)]:
            self._left.remove(fault)
            self._plan(fault, now + (fault.tool_ms or 0.0) / 1000)

    def heard(self, utterance: int, ms: float, now: float) -> None:
        """The caller is so far into an utterance."""
        due = [f for f in self._left if f.caller_ms is not None and f.turn in (0, utterance) and ms >= f.caller_ms]
        self._fire(due, now)

    def do(self, fault: Fault, now: float) -> None:
        """This one, now."""
        stage = self._stage
        stage.log.add(now, "note", "fault", {"kind": fault.kind})
        match fault.kind:
            case "close":
                stage.end(now, Close(fault.code, fault.reason))
            case "rst":
                stage.end(now, Reset())
            case "half_open":
                stage.end(now, Freeze())
            case "stall":
                self._stall(fault)
            case "mute":
                stage.memory.poisoned = True
            case "goaway":
                self.go_away(now, fault.seconds, silent=fault.silent)
            case "message":
                stage.raw(now, "planted", json.dumps(fault.message).encode(), fault.message)
            case "huge":
                stage.raw(now, "huge", _huge())
            case _:
                stage.raw(now, fault.kind, _ODD[fault.kind])

    def go_away(self, now: float, left_s: float, *, silent: bool) -> None:
        """The connection is to end in `left_s`; whoever has not left by then is closed with 1011."""
        stage = self._stage
        stage.send(now, "goAway", goAway={"timeLeft": f"{left_s:g}s"})
        stage.silent = stage.silent or silent
        stage.agenda.put(now + left_s, "deadline", lambda at: stage.end(at, Close(1011, DEADLINE)))

    def _plan(self, fault: Fault, at: float) -> None:
        self._stage.agenda.put(at, "fault", lambda due: self.do(fault, due))

    def _fire(self, due: list[Fault], now: float) -> bool:
        for fault in due:
            self._left.remove(fault)
            self.do(fault, now)
        return bool(due)

    def _stall(self, fault: Fault) -> None:
        """Nothing is sent for a while; what was under way goes on afterwards."""
        if fault.seconds:
            self._stage.agenda.delay(fault.seconds)
        else:
            self._stage.silent = True


def _in_speech(fault: Fault) -> bool:
    """Whether its moment lies in the agent's sentence."""
    return fault.at_s is fault.caller_ms is fault.idle_ms is fault.tool_ms is None


def _huge() -> bytes:
    """A message of 1.5 MB that means nothing: silence of 0 samples, and text nobody reads."""
    return content(modelTurn=model_turn([audio_part(b"", 24_000), {"text": " " * _HUGE, "thought": True}]))
