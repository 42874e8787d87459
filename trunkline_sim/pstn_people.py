"""Who lives in the simulated telephone network, and who answers at which number. Pure; a TOML file in, people out.

The same seed and number make the same person with the same patience, in whatever order the calls come.
"""

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from trunkline_sim import script as scripts
from trunkline_sim.errors import SimError
from trunkline_sim.script import Script, Speech
from trunkline_sim.tones import TONES
from trunkline_sim.voices import known_voice

MOST_WEIGHT = 1e9
MOST_S = 3600.0  # of any time in a file
NOBODY = 0  # a code: the network says nothing, not even 100
SCREENING_TEXT = (
    "Hi. The person you are calling is using a screening service. Please say your name and why you are calling."
)
ASKS = 'wait for agent up to 20 s\nsay "what are your opening hours"\nwait for agent\nsay "thank you goodbye"\nhang up'
MACHINE = (
    'say "hello you have reached the mailbox of nobody in particular please leave a message after the tone"\n'
    "play tone:beep\nwait for hang up up to 60 s"
)
MENU = 'say "welcome for sales press one"\nwait for keys 1 up to 20 s\nsay "connecting you"\nsilence 2 s\nhang up'
REASONS: Mapping[int, str] = {
    200: "OK", 404: "Not Found", 408: "Request Timeout", 410: "Gone", 480: "Temporarily Unavailable",
    484: "Address Incomplete", 486: "Busy Here", 500: "Server Internal Error", 503: "Service Unavailable",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 607: "Unwanted",
}  # fmt: skip


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry `[[person]]`: what differs from its `kind`. Times in seconds."""

    number: str = "*"  # pattern; the first that fits wins, those with the same pattern share its numbers
    kind: str = "answers"
    name: str = ""  # in the account; "": its kind
    weight: float = 1.0  # among those who share a pattern
    ring_s: float | tuple[float, float] = 2.0  # from the INVITE to the final answer, or between two values
    code: int = 200  # of the final answer; 0: none at all
    retry_after_s: int = 0  # with a code of 300 and more
    early: str = ""  # heard instead of ringing (183): words, tone:NAME, asterisk:NAME or a WAV file
    script: str = ASKS  # what they do, docs/simulators.md: the steps, or the name of a file of them
    voice: str = ""  # instead of the script's
    vad: bool = False  # their telephone sends one packet a second while they are silent
    record: bool = False  # both sides, where recordings are kept
    vanish_s: float = 0.0  # so long after the answer they are gone without a word; 0: never
    transferred: int = 200  # what comes of a transfer that the agent asks for; 603: refused at once
    then: str = ""  # name of who answers the next call to this number


KINDS: Mapping[str, Mapping[str, Any]] = {
    "answers": {},
    "mute": {"script": "wait for hang up up to 600 s"},
    "echo": {"script": "silence 0.2 s\nwait for hang up up to 600 s"},
    "hangs_up": {"script": "silence 1 s\nhang up"},
    "busy": {"ring_s": 0.2, "code": 486},
    "no_answer": {"ring_s": 180.0, "code": 480},
    "off": {"ring_s": 3.0, "code": 480},
    "rejects": {"ring_s": 1.5, "code": 603},
    "unwanted": {"ring_s": 0.5, "code": 607},
    "not_in_service": {"ring_s": 3.0, "code": 404, "early": "tone:sit-vacant"},
    "changed": {"ring_s": 3.0, "code": 410, "early": "tone:sit-intercept"},
    "incomplete": {"ring_s": 0.2, "code": 484},
    "failure": {"ring_s": 0.2, "code": 500},
    "overloaded": {"ring_s": 0.2, "code": 503, "retry_after_s": 5},
    "no_circuit": {"ring_s": 3.0, "code": 503, "early": "tone:sit-no-circuit"},
    "timeout": {"ring_s": 4.0, "code": 408},
    "nothing": {"code": NOBODY},
    "announced": {"ring_s": 4.0, "early": "your call is being connected please hold the line"},
    "ringback": {"ring_s": 4.0, "early": "tone:ringback"},
    "voicemail": {"ring_s": 4.0, "script": MACHINE, "record": True},
    "screening": {
        "script": f'say "{SCREENING_TEXT}"\nwait for agent\nsilence 2 s\nsay "hello"\nwait for agent\nhang up'
    },
    "fax": {"script": "play tone:fax\nplay tone:fax\nplay tone:fax\nhang up"},
    "ivr": {"script": MENU},
    "presses": {"script": "wait for agent up to 20 s\npress 12#\nwait for agent\nhang up"},
    "holds": {"script": "wait for agent up to 20 s\nhold 3 s\nsilence 2 s\nhang up"},
    "transfers": {"script": "wait for agent up to 20 s\ntransfer to sip:desk@pbx.invalid\nsilence 3 s\nhang up"},
    "vanishes": {"script": "wait for hang up up to 600 s", "vanish_s": 3.0},
}
"""What each kind is, beside the defaults of `Person`."""

DEFAULT_NUMBERS: Mapping[str, str] = {
    "*0486": "busy", "*0480": "off", "*0180": "no_answer", "*0603": "rejects", "*0607": "unwanted",
    "*0404": "not_in_service", "*0410": "changed", "*0484": "incomplete", "*0500": "failure", "*0503": "overloaded",
    "*0034": "no_circuit", "*0408": "timeout", "*0000": "nothing", "*0183": "announced", "*0182": "ringback",
    "*0700": "voicemail", "*0701": "screening", "*0702": "fax", "*0703": "ivr", "*0704": "presses", "*0705": "holds",
    "*0706": "transfers", "*0707": "vanishes", "*0708": "hangs_up", "*0709": "mute",
}  # fmt: skip
"""Without a file the last four digits say who answers; everybody else is a person who asks something."""


@dataclass(frozen=True, slots=True)
class Cast:
    """A person, with everything read that they need."""

    person: Person
    script: Script
    early: Speech | None
    index: int = 0  # of its entry

    @property
    def name(self) -> str:
        """In the account."""
        return self.person.name or self.person.kind

    @property
    def where(self) -> str:
        """Its entry, for whoever wrote it."""
        return f"[[person]] {self.index} ({self.name})"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who answers this call."""

    cast: Cast
    attempt: int  # of this number, from 1
    ring_s: float


@dataclass(slots=True)
class People:
    """All of them. `choose` counts the attempts of each number."""

    cast: Sequence[Cast]
    seed: int = 0
    attempts: dict[str, int] = field(default_factory=dict)

    def choose(self, number: str) -> Chosen | None:
        """Who answers there now; None when the number belongs to nobody."""
        first = self._first(number)
        if first is None:
            return None
        attempt = self.attempts[number] = self.attempts.get(number, 0) + 1
        cast = first
        for _ in range(attempt - 1):
            cast = next((one for one in self.cast if cast.person.then and one.name == cast.person.then), cast)
        low, high = _span(cast.person.ring_s)
        return Chosen(cast, attempt, random.Random(f"{self.seed}:{number}:{attempt}").uniform(low, high))

    def _first(self, number: str) -> Cast | None:
        pattern = next((one.person.number for one in self.cast if _fits(number, one.person.number)), None)
        sharing = [one for one in self.cast if one.person.number == pattern]
        if len(sharing) < 2:
            return sharing[0] if sharing else None
        weights = [one.person.weight for one in sharing]
        return random.Random(f"{self.seed}:{number}").choices(sharing, weights)[0]


def _fits(number: str, pattern: str) -> bool:
    return fnmatchcase(number, pattern.replace("[", "[[]").replace("?", "[?]"))


def _span(ring_s: float | tuple[float, float]) -> tuple[float, float]:
    return ring_s if isinstance(ring_s, tuple) else (ring_s, ring_s)


def default_people(seed: int = 0) -> People:
    """Those of DEFAULT_NUMBERS."""
    entries = [{"number": number, "kind": kind} for number, kind in DEFAULT_NUMBERS.items()]
    return people_of({"person": [*entries, {}]}, seed=seed)


def load_people(path: Path, seed: int | None = None) -> People:
    """From a TOML file; seed: instead of the file's. Raises SimError."""
    try:
        return people_of(tomllib.loads(path.read_text("utf-8")), path.parent, seed)
    except OSError as wrong:
        raise SimError(f"{path}: {wrong.strerror or wrong}") from wrong
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, SimError) as wrong:
        raise SimError(f"{path}: {wrong}") from wrong


def people_of(tree: Mapping[str, Any], folder: Path = Path(), seed: int | None = None) -> People:
    """`seed` and the list `person`, as TOML has them. Raises SimError, which names the entry."""
    if unknown := sorted(tree.keys() - {"seed", "person"}):
        raise SimError(f"{unknown[0]}: there are only seed and [[person]]")
    entries, own = tree.get("person"), tree.get("seed", 0)
    if not isinstance(own, int):
        raise SimError(f"seed = {own!r}: must be a whole number")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise SimError("person: must be one or more tables [[person]], with two brackets")
    cast = [_cast(number, entry, folder) for number, entry in enumerate(entries, 1)]
    names = {one.name for one in cast}
    for one in cast:
        if one.person.then and one.person.then not in names:
            raise SimError(
                f"{one.where}: then = {one.person.then!r} is nobody's name; there are: {', '.join(sorted(names))}"
            )
    return People(cast, own if seed is None else seed)


def _cast(number: int, entry: Mapping[str, Any], folder: Path) -> Cast:
    kind = entry.get("kind", "answers")
    where = f"[[person]] {number} ({entry.get('name') or kind})"
    if not isinstance(kind, str) or kind not in KINDS:
        raise SimError(f"{where}: kind {kind!r} is unknown; there are: {', '.join(KINDS)}")
    try:
        if unknown := sorted(entry.keys() - set(Person.__struct_fields__)):
            raise ValueError(f"{unknown[0]}: no such setting; there are: {', '.join(Person.__struct_fields__)}")
        person = msgspec.convert({**KINDS[kind], **entry}, Person)
        _check(person)
        return Cast(person, _script(person, folder), _speech(person.early) if person.early else None, number)
    except (msgspec.ValidationError, SimError, ValueError) as wrong:
        raise SimError(f"{where}: {wrong}") from wrong


def _check(person: Person) -> None:
    low, high = _span(person.ring_s)
    if not 0 <= low <= high <= MOST_S:  # nan is not, either
        raise ValueError(f"ring_s = {person.ring_s}: must be seconds up to {MOST_S:g}, or two, the smaller first")
    if person.code and person.code not in range(200, 700):
        raise ValueError(f"code = {person.code}: must be 0 or a final status, 200 to 699")
    if not 0 < person.weight <= MOST_WEIGHT:
        raise ValueError(f"weight = {person.weight}: must be more than 0, at most {MOST_WEIGHT:g}")
    if not 0 <= person.vanish_s <= MOST_S:
        raise ValueError(f"vanish_s = {person.vanish_s}: must be seconds from 0 (never) to {MOST_S:g}")
    if not 0 <= person.retry_after_s <= MOST_S:
        raise ValueError(f"retry_after_s = {person.retry_after_s}: must be seconds from 0 (none) to {MOST_S:g}")
    if person.transferred not in range(200, 700):
        raise ValueError(f"transferred = {person.transferred}: must be a final status, 200 to 699")
    if person.voice:
        known_voice(person.voice)


def _script(person: Person, folder: Path) -> Script:
    if person.script.endswith(".call") and "\n" not in person.script:
        script = scripts.load(folder / person.script)
    else:
        script = scripts.parse(person.script, person.name or person.kind, folder)
    return replace(script, voice=person.voice) if person.voice else script


def _speech(early: str) -> Speech:
    if early.startswith("tone:") and early[5:] not in TONES:
        raise ValueError(f"early = {early!r}: there are {', '.join(TONES)}")
    recorded = early.startswith(("tone:", "asterisk:")) or early.endswith(".wav")
    return Speech(recording=early) if recorded else Speech(text=early)
