"""A caller's script: a small text form, read into frozen steps. Pure. The language: docs/simulators.md."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from trunkline_sim.errors import ScriptError

ANSWER_S = 12.0  # how long `wait for agent` waits unless told


@dataclass(frozen=True, slots=True)
class Speech:
    """Something to say: a text for a synthetic voice, or a recording ("hours.wav", "asterisk:hours")."""

    text: str = ""
    voice: str = ""  # "": the script's
    recording: str = ""

    @property
    def label(self) -> str:
        """How to show it."""
        return self.text or f"(recording {self.recording.removeprefix('asterisk:')})"


@dataclass(frozen=True, slots=True)
class WaitForAgent:
    """Until the agent has answered what the caller did last, and is silent again."""

    line: int
    within_s: float = ANSWER_S


@dataclass(frozen=True, slots=True)
class WaitForHangUp:
    """Until the service ends the call."""

    line: int
    within_s: float = ANSWER_S


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing for so long."""

    line: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    """Speak."""

    line: int
    speech: Speech


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Speak once the agent has been heard for `after_s`, whether or not it goes on."""

    line: int
    after_s: float
    speech: Speech


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys, one each 250 ms."""

    line: int
    keys: str


@dataclass(frozen=True, slots=True)
class ExpectText:
    """The agent's words since the caller's last act match a regular expression."""

    line: int
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class ExpectTool:
    """At least `count` successful uses of a tool so far in the call."""

    line: int
    tool: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class ExpectBargeIn:
    """The agent fell silent after the last interruption, and sent nothing of the cut reply afterwards."""

    line: int


@dataclass(frozen=True, slots=True)
class HangUpStep:
    """End the call."""

    line: int


@dataclass(frozen=True, slots=True)
class WaitForKeys:
    """Until the agent has pressed these keys, since the step began."""

    line: int
    keys: str
    within_s: float = ANSWER_S


@dataclass(frozen=True, slots=True)
class HoldStep:
    """Put the agent on hold for so long. On a telephone line alone, as the next."""

    line: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TransferStep:
    """Ask the agent's side to call somebody else (REFER)."""

    line: int
    target: str


Step: TypeAlias = (
    WaitForAgent
    | WaitForKeys
    | HoldStep
    | TransferStep
    | WaitForHangUp
    | Silence
    | Say
    | Interrupt
    | Press
    | ExpectText
    | ExpectTool
    | ExpectBargeIn
    | HangUpStep
)


@dataclass(frozen=True, slots=True)
class Script:
    """A caller: who calls, over which carrier, and what they do. `carrier` holds fault settings by name."""

    name: str
    steps: tuple[Step, ...]
    title: str = ""
    voice: str = "kal16"
    from_: str = ""
    to: str = "918069000000"
    carrier: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()  # where relative recordings are looked for


_TIME = r"(?P<time>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|seconds?)"
_SPEECH = r"(?:\"(?P<text>[^\"]+)\"|(?P<recording>(?:asterisk|tone):\S+|\S+\.wav))(?:\s+in voice\s+(?P<voice>\S+))?"
_WITHIN = r"(?:\s+(?:up to|within)\s+" + _TIME + ")?"
HEADER = ("title", "voice", "from", "to")
CARRIER = (
    "clear",
    "clear_late_ms",
    "message_ms",
    "loss",
    "duplicate",
    "reorder",
    "late",
    "late_ms",
    "jitter_ms",
    "burst_ms",
    "burst_every_s",
    "stall_at_s",
    "stall_s",
    "reset_at_s",
    "vanish_at_s",
    "no_stop",
    "no_marks",
    "odd",
)


def _seconds(match: re.Match[str], default: float = 0.0) -> float:
    if match["time"] is None:
        return default
    return float(match["time"]) / (1000 if match["unit"] == "ms" else 1)


def _speech(match: re.Match[str]) -> Speech:
    return Speech(match["text"] or "", match["voice"] or "", match["recording"] or "")


def _pattern(line: int, match: re.Match[str]) -> Step:
    try:
        return ExpectText(line, re.compile(match["regex"], re.IGNORECASE | re.DOTALL))
    except re.error as wrong:
        raise ValueError(f"not a regular expression: {wrong}") from wrong


_Make: TypeAlias = Callable[[int, re.Match[str]], Step]
_FORMS: tuple[tuple[str, str, _Make], ...] = (
    ("wait for agent [up to 10 s]", r"wait for agent" + _WITHIN, lambda n, m: WaitForAgent(n, _seconds(m, ANSWER_S))),
    (
        "wait for hang up [up to 10 s]",
        r"wait for hang ?up" + _WITHIN,
        lambda n, m: WaitForHangUp(n, _seconds(m, ANSWER_S)),
    ),
    ("silence 2 s", r"(?:silence|wait)\s+" + _TIME, lambda n, m: Silence(n, _seconds(m))),
    ('say "words" [in voice awb]', r"say\s+" + _SPEECH, lambda n, m: Say(n, _speech(m))),
    ("play hours.wav, play asterisk:hours, play tone:beep", r"play\s+" + _SPEECH, lambda n, m: Say(n, _speech(m))),
    (
        'interrupt after 800 ms with "words"',
        r"interrupt after\s+" + _TIME + r"\s+with\s+" + _SPEECH,
        lambda n, m: Interrupt(n, _seconds(m), _speech(m)),
    ),
    (
        "wait for keys 12# [up to 10 s]",
        r"wait for keys?\s+(?P<keys>[0-9*#A-D]+)" + _WITHIN,
        lambda n, m: WaitForKeys(n, m["keys"], _seconds(m, ANSWER_S)),
    ),
    ("hold 3 s", r"hold\s+" + _TIME, lambda n, m: HoldStep(n, _seconds(m))),
    ("transfer to sip:x@host", r"transfer to\s+(?P<target>\S+)", lambda n, m: TransferStep(n, m["target"])),
    ("press 1", r"press\s+(?P<keys>[0-9*#A-D]+)", lambda n, m: Press(n, m["keys"])),
    ("expect /words/", r"expect\s+/(?P<regex>.+)/i?", _pattern),
    ("expect order", r"expect\s+(?:an? )?order", lambda n, m: ExpectTool(n, "place_order")),
    ("expect 2 orders", r"expect\s+(?P<count>\d+) orders", lambda n, m: ExpectTool(n, "place_order", int(m["count"]))),
    ("expect tool lookup_order", r"expect\s+tool\s+(?P<tool>\w+)", lambda n, m: ExpectTool(n, m["tool"])),
    ("expect barge-in", r"expect\s+barge[- ]in", lambda n, m: ExpectBargeIn(n)),
    ("hang up", r"hang ?up", lambda n, m: HangUpStep(n)),
)
_READY = tuple((form, re.compile(regex), make) for form, regex, make in _FORMS)


def parse(text: str, name: str = "script", folder: Path = Path()) -> Script:
    """A script's text → the script. Raises ScriptError with every wrong line, by number."""
    header: dict[str, str] = {}
    carrier: dict[str, str] = {}
    steps: list[Step] = []
    wrong: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if (setting := re.fullmatch(r"(\w+):\s*(.+)", line)) is not None:
                _setting(setting[1], setting[2].strip(), header, carrier, after_steps=bool(steps))
            else:
                steps.append(_step(number, line))
        except ValueError as fault:
            wrong.append(f"{name}:{number}: {fault}")
    if not steps and not wrong:
        wrong.append(f"{name}: no step in it; the least is: wait for agent")
    if wrong:
        raise ScriptError("\n".join(wrong))
    return _script(name, folder, header, carrier, steps)


def load(path: Path) -> Script:
    """Read a script file. Raises ScriptError when it cannot be read or is wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ScriptError(f"{path}: cannot be read as text: {wrong}") from wrong
    return parse(text, str(path), path.parent)


def _setting(key: str, value: str, header: dict[str, str], carrier: dict[str, str], *, after_steps: bool) -> None:
    if key not in HEADER and key not in CARRIER:
        raise ValueError(f"unknown setting {key!r}{_nearest(key, (*HEADER, *CARRIER))}")
    if after_steps:
        raise ValueError(f"setting {key!r} belongs above the first step")
    (header if key in HEADER else carrier)[key] = value


def _step(number: int, line: str) -> Step:
    for _, regex, make in _READY:
        if (match := regex.fullmatch(line)) is not None:
            return make(number, match)
    verb = line.split()[0]
    for form, _, _ in _READY:
        if form.split()[0] == verb:
            forms = [form for form, _, _ in _READY if form.split()[0] == verb]
            raise ValueError(f"cannot read {line!r}; a line with {verb!r} looks like: {' · '.join(forms)}")
    verbs = sorted({form.split()[0] for form, _, _ in _READY})
    raise ValueError(f"{line!r} is no step{_nearest(verb, verbs)}; a step starts with {', '.join(verbs)}")


def _nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _script(
    name: str, folder: Path, header: Mapping[str, str], carrier: Mapping[str, str], steps: list[Step]
) -> Script:
    return Script(
        name=Path(name).stem,
        steps=tuple(steps),
        title=header.get("title", ""),
        voice=header.get("voice", "kal16"),
        from_=header.get("from", ""),
        to=header.get("to", "918069000000"),
        carrier=carrier,
        folder=folder,
    )
