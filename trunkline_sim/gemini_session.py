"""One connection to the simulated Gemini Live: setup, hearing, turns, tools, resumption. Pure; time is handed in.

The shell gives each message to `receive`, calls `tick` when `next_at` has come, and carries out what they leave in
`take_actions`. Activity is detected on the audio's own clock, answers are timed by the shell's.
"""

import random
import re

from trunkline_sim.gemini_ear import RATE, Activity, Recordings, Vad
from trunkline_sim.gemini_faults import Faults
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_mouth import Mouth
from trunkline_sim.gemini_scenario import Fault, Rule, Scenario
from trunkline_sim.gemini_setup import Setup, understand
from trunkline_sim.gemini_stage import Action, Close, Memories, Memory, Stage
from trunkline_sim.gemini_tools import ToolDesk
from trunkline_sim.gemini_wire import (
    Audio,
    ClientMessage,
    ContextUpdate,
    Mark,
    Refused,
    SetupMessage,
    Text,
    ToolResults,
    Turns,
    read,
)

SETUP_S = 10.0  # how long the service waits for `setup`
_BEFORE_S = 0.5  # audio before the onset that belongs to an utterance
_LONGEST_S = 20.0  # of what is looked through for a recording
_HEARD = "heard"


class Session:
    """One connection's behaviour."""

    def __init__(
        self,
        scenario: Scenario,
        recordings: Recordings,
        memories: Memories,
        log: SessionLog,
        *,
        version: str = "v1beta",
        connection: int = 1,
        now: float = 0.0,
    ) -> None:
        dice = random.Random(scenario.seed * 1_000_003 + connection)
        self._stage = Stage(scenario, log, dice=dice)
        self._recordings = recordings
        self._memories = memories
        self._version = version
        self._connection = connection
        self._faults = Faults(self._stage, connection)
        self._mouth = Mouth(self._stage)
        self._mouth.on_progress = self._faults.spoke
        self._mouth.on_idle = self._idle
        self._tools = ToolDesk(self._stage)
        self._tools.on_done = self._tools_done
        self._tools.on_asked = self._faults.asked
        self._mouth.on_cut = self._tools.cancel
        self._vad = Vad()
        self._state = "wait setup"
        self._remembered = False  # memory is ours to give back
        self._seeded = False  # the client told what was said before
        self._onset = 0  # sample at which the utterance began
        self._not_before = 0  # sample up to which everything was answered
        self._utterances = 0
        self._unanswered = ""  # heard or told, but the caller went on before the answer
        self._told = False  # it was told, in a text
        self._waiting: list[str] = []  # results to be told when idle
        self._stage.agenda.put(now + SETUP_S, "setup", lambda at: self._refuse(Refused(1008, "No setup in time."), at))

    def receive(self, raw: str | bytes, now: float) -> None:
        """One message of the client."""
        if self._stage.over:
            return
        try:
            self._take(read(raw), now)
        except Refused as refused:
            self._stage.violation(now, "refused", refused.reason)
            self._refuse(refused, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._stage.agenda.run(now)

    def next_at(self) -> float | None:
        """When `tick` is wanted."""
        return self._stage.agenda.next_at()

    def take_actions(self) -> list[Action]:
        """What to do to the socket, in order; asked once."""
        actions, self._stage.actions = self._stage.actions, []
        return actions

    def do(self, fault: Fault, now: float) -> None:
        """Let something go wrong now, whatever its own moment says."""
        if not self._stage.over:
            self._faults.do(fault, now)

    def closed(self, now: float) -> None:
        """The connection has ended; its session may be resumed."""
        self._stage.over = True
        self._stage.agenda.clear()
        if self._remembered:
            self._stage.memory.in_use, self._stage.memory.left_at = False, now
            self._remembered = False

    def _refuse(self, refused: Refused, now: float) -> None:
        self._stage.end(now, Close(refused.code, refused.reason))

    def _take(self, message: ClientMessage, now: float) -> None:
        if isinstance(message, SetupMessage) != (self._state == "wait setup"):
            raise Refused(1007, "setup must be the first message, and come once.")
        if self._state == "setting up" and not isinstance(message, Audio):
            self._stage.violation(now, "before_setup_complete")
        match message:
            case SetupMessage():
                self._begin(understand(message.body, self._version), message, now)
            case Audio():
                self._hear(message, now)
            case Mark():
                self._mark(message.name, now)
            case Text():
                self._stage.log.add(now, "in", "text", message.text)
                self._turn(message.text, now)
                self._told = True
            case Turns():
                self._turns(message, now)
            case ToolResults():
                self._stage.log.add(now, "in", "toolResponse", list(message.results))
                self._tools.answered(message, now)
            case ContextUpdate():
                self._stage.log.add(now, "in", "contextUpdate", message.body)

    # setup

    def _begin(self, setup: Setup, message: SetupMessage, now: float) -> None:
        stage, scenario = self._stage, self._stage.scenario
        stage.setup, stage.log.setup = setup, message.body
        stage.log.add(now, "in", "setup", message.body)
        stage.agenda.cancel("setup")
        stage.memory = self._memory(setup, now)
        self._remembered = True
        self._vad = Vad(setup.prefix_ms, setup.silence_ms)
        self._state = "setting up"
        if not self._faults.before_setup(now) and not scenario.no_setup_ack:
            stage.agenda.put(now + self._setup_s(), "setup", self._ready)

    def _setup_s(self) -> float:
        scenario = self._stage.scenario
        slow = scenario.slow_setup_s > 0 and self._connection <= scenario.slow_setups
        return scenario.slow_setup_s if slow else scenario.setup_delay_s

    def _memory(self, setup: Setup, now: float) -> Memory:
        scenario = self._stage.scenario
        if not setup.handle:
            return Memory()
        if scenario.resume == "refused":
            raise Refused(scenario.refuse_code, "Session not found: the resumption handle is invalid or expired.")
        memory = self._memories.resume(setup.handle, now, scenario.handle_ttl_s, scenario.refuse_code)
        memory.poisoned = memory.poisoned or scenario.resume == "poisoned"
        self._stage.log.add(now, "note", "resumed", {"turn": memory.turn, "history": list(memory.history)})
        return memory

    def _ready(self, now: float) -> None:
        stage, scenario = self._stage, self._stage.scenario
        self._state = "seeding" if stage.setup.history_first and not stage.setup.handle else "ready"
        stage.send(now, "setupComplete", setupComplete={})
        self._faults.begin(now)
        if stage.setup.resumption:
            stage.agenda.put(now + scenario.handle_after_s, "handle", self._offer_handle)
        if scenario.goaway_at_s is not None:
            left, silent = scenario.goaway_left_s, scenario.goaway_silent
            stage.agenda.put(
                now + scenario.goaway_at_s, "goaway", lambda at: self._faults.go_away(at, left, silent=silent)
            )

    def _offer_handle(self, now: float) -> None:
        if self._mouth.phase != "idle" or self._tools.pending:
            return  # the end of the turn brings one
        update = {"newHandle": self._memories.new_handle(self._stage.memory), "resumable": True}
        self._stage.send(now, "newHandle", sessionResumptionUpdate=update)

    # hearing

    def _hear(self, audio: Audio, now: float) -> None:
        stage = self._stage
        if audio.rate != RATE:  # taken as if it were 16 kHz: nothing will be understood
            stage.log.violations[f"rate_{audio.rate}"] += 1
        stage.log.add_audio(now, audio.pcm)
        if self._state != "ready" or stage.setup.manual:
            return
        for activity in self._vad.push(audio.pcm):
            self._activity(activity, now)
        if self._vad.speaking:
            self._faults.heard(self._utterances, 1000 * (self._heard() - self._onset) / RATE, now)

    def _heard(self) -> int:
        """Samples received."""
        return len(self._stage.log.audio) // 2

    def _mark(self, name: str, now: float) -> None:
        stage = self._stage
        stage.log.add(now, "in", name)
        if (name == "audioStreamEnd") == stage.setup.manual:
            mode = "disabled" if stage.setup.manual else "enabled"
            raise Refused(1007, f"{name} is not allowed while automatic activity detection is {mode}.")
        if name == "activityStart":
            self._speech_began(self._heard(), now)
        elif name == "activityEnd" or self._vad.speaking:
            self._vad.reset()
            self._speech_ended(now)

    def _activity(self, activity: Activity, now: float) -> None:
        kind = "ACTIVITY_START" if activity.began else "ACTIVITY_END"
        if self._stage.scenario.voice_activity:
            offset = f"{activity.at / RATE:g}s"
            self._stage.send(now, "voiceActivity", voiceActivity={"type": kind, "audioOffset": offset})
        if activity.began:
            self._speech_began(activity.at, now)
        else:
            self._speech_ended(now)

    def _speech_began(self, at: int, now: float) -> None:
        stage = self._stage
        self._onset = at
        self._utterances += 1
        stage.log.add(now, "note", "speech_began", {"at_s": at / RATE})
        if not stage.setup.interrupts:
            return
        if self._mouth.phase == "thinking":
            self._mouth.give_up()
        else:
            self._unanswered = ""
            self._mouth.interrupt(now, stage.scenario.interrupt_s)
        if self._tools.blocking:
            self._tools.cancel(now)

    def _speech_ended(self, now: float) -> None:
        """The caller's turn is over: what was it?"""
        stage = self._stage
        text = self._understood()
        stage.log.add(now, "note", "speech_ended", {"text": text})
        if text is None:
            stage.log.not_understood += 1
            if self._unanswered and self._mouth.phase == "idle":  # a noise was no reason not to answer
                self._turn(self._unanswered, now, remember=False)
            elif stage.scenario.sorry:
                self._answer_with(stage.scenario.sorry, now)
            return
        self._not_before = self._heard()
        stage.log.heard.append(text)
        self._transcribe(text, now)
        earlier = "" if self._told else self._unanswered  # whoever speaks matters more than what was asked for
        self._turn(f"{earlier} {text}".strip(), now)

    def _understood(self) -> str | None:
        """What was said since the last thing understood; recordings may have pauses longer than the detector's."""
        log = self._stage.log
        if self._stage.scenario.hear == "any":
            return "(speech)"
        first = max(self._not_before, self._heard() - round(_LONGEST_S * RATE))
        for start in dict.fromkeys((max(first, self._onset - round(_BEFORE_S * RATE)), first)):
            match = self._recordings.understand(bytes(log.audio[2 * start :]))
            if match is not None:
                log.add(log.arrivals[-1][0], "note", "matched", {"text": match.text, "snr_db": match.snr_db})
                return match.text
        return None

    def _transcribe(self, text: str, now: float) -> None:
        """Fragments, the last of which may come after the answer began."""
        stage = self._stage
        if not stage.setup.transcribe_in:
            return
        words = text.split()
        third = max(1, -(-len(words) // 3))
        parts = [" ".join(words[at : at + third]) for at in range(0, len(words), third)]
        for place, part in enumerate(parts):
            at = now + place * (stage.scenario.first_audio_s + 0.3) / max(1, len(parts))
            stage.agenda.put(at, _HEARD, lambda due, part=part, place=place: self._fragment(part, place, due))  # type: ignore[misc]

    def _fragment(self, part: str, place: int, now: float) -> None:
        text = f" {part}" if place else part
        self._stage.send(now, "inputTranscription", serverContent={"inputTranscription": {"text": text}})

    # turns

    def _turns(self, message: Turns, now: float) -> None:
        stage = self._stage
        stage.log.add(now, "in", "clientContent", {"turns": list(message.turns), "complete": message.complete})
        stage.memory.history.extend(message.turns)
        if not message.complete:
            return
        if self._state == "seeding":
            self._state, self._seeded = "ready", True
            return
        self._mouth.give_up()
        self._mouth.interrupt(now, 0.0)
        stage.agenda.run(now)
        said = [text for role, text in message.turns if role == "user"]
        self._turn(said[-1] if said else "", now, remember=False)

    def _turn(self, text: str, now: float, *, remember: bool = True) -> None:
        """The user's turn is done: answer it."""
        stage = self._stage
        if self._state != "ready":
            return
        answered = any(role == "model" for role, _ in stage.memory.history)
        fresh = not (answered or self._seeded or stage.log.heard)
        if remember:
            stage.memory.history.append(("user", text))
        if stage.memory.poisoned:
            stage.log.add(now, "note", "poisoned")
            return
        self._unanswered, self._told = text, False
        rule = self._rule(text)
        if rule is None:
            self._answer_with(stage.scenario.greeting if fresh else stage.scenario.reply.replace("{text}", text), now)
        else:
            self._follow(rule, text, now)

    def _rule(self, text: str) -> Rule | None:
        rules = self._stage.scenario.rules
        return next((rule for rule in rules if re.search(rule.match, text, re.IGNORECASE)), None)

    def _follow(self, rule: Rule, text: str, now: float) -> None:
        if not rule.tools:
            self._answer_with(_filled(rule, rule.say, text), now)
            return
        self._unanswered = ""
        self._stage.agenda.put(
            now + self._stage.scenario.first_audio_s, "tool start", lambda at: self._use_tools(rule, text, at)
        )

    def _use_tools(self, rule: Rule, text: str, now: float) -> None:
        self._tools.start(rule, text, now)
        if rule.say and not self._tools.blocking:
            self._answer_with(_filled(rule, rule.say, text), now, 0.0)

    def _answer_with(self, text: str, now: float, delay_s: float | None = None) -> None:
        """Speak now, or when the mouth is free where it is not."""
        if not text:
            return
        if self._mouth.phase != "idle":
            self._waiting.append(text)
        else:
            self._mouth.say(text, now, delay_s)

    def _tools_done(self, text: str, scheduling: str, now: float) -> None:
        if scheduling == "SILENT":
            self._idle(now)
            return
        if scheduling == "INTERRUPT":
            self._mouth.interrupt(now, 0.0)
        self._answer_with(text, now)

    def _idle(self, now: float) -> None:
        """A turn is over."""
        self._unanswered = ""
        self._faults.rested(self._mouth.turn, now)
        if self._stage.setup.resumption:
            self._offer_handle(now)
        if self._waiting:
            self._mouth.say(self._waiting.pop(0), now, 0.0)


def _filled(rule: Rule, say: str, text: str) -> str:
    """What the rule says, with what was heard and the named groups of its match in it."""
    found = re.search(rule.match, text, re.IGNORECASE)
    for name, value in (found.groupdict() if found else {}).items():
        say = say.replace(f"{{{name}}}", value or "")
    return say.replace("{text}", text)
