"""What the simulated network writes down of every call: two lines of JSON, one at its INVITE and one at its end.

A dialler can be held against it: who was called, how often, with which headers, and what came of it.
"""

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal, TextIO

By = Literal["caller", "callee", "network", ""]
KEPT = 10_000  # ends that can be asked for in the process itself


@dataclass(slots=True)
class Entry:
    """One call. Seconds count from its INVITE; None: that never came."""

    call_id: str
    number: str
    from_: str
    attempt: int  # of that number in this process, from 1
    person: str
    headers: Mapping[str, str] = field(default_factory=dict)  # X-…
    rang_s: float | None = None
    answered_s: float | None = None
    ended_s: float | None = None
    by: By = ""
    code: int = 0  # final answer of the network; 487: given up by the caller
    reason: str = ""  # of the caller's BYE
    heard_s: float = 0.0  # speech of the agent
    heard_first_s: float | None = None  # since the answer
    spoke_s: float = 0.0
    keys: str = ""  # that the agent pressed
    transfer: int = 0  # what the agent's side said to our REFER
    replies: dict[str, int] = field(default_factory=dict)  # to requests of ours within the call: "INVITE 200"; 0: none
    referred_to: str = ""  # where the agent sent us
    script_missed: list[str] = field(default_factory=list)
    packets: int = 0
    packets_lost: int = 0
    recording: str = ""


class Account:
    """Writes entries and counts them. `ends`: the last ones."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.ends: deque[Entry] = deque(maxlen=KEPT)
        self._out = out

    def invited(self, entry: Entry) -> None:
        """An INVITE has come, and was not turned away at the door."""
        self.counts["invited"] += 1
        if entry.attempt > 1:
            self.counts["again"] += 1
        what = ("call_id", "number", "from_", "attempt", "person", "headers")
        self._write("invited", {name: getattr(entry, name) for name in what})

    def over(self, entry: Entry) -> None:
        """It is over."""
        self.counts[f"{entry.person}: {entry.code or 'no answer at all'}"] += 1
        self.ends.append(entry)
        self._write("over", asdict(entry))

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        if self._out is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {name.rstrip("_"): round(v, 3) if isinstance(v, float) else v for name, v in fields.items()}
        try:
            self._out.write(json.dumps({"event": event, "at": at, **told}) + "\n")
            self._out.flush()
        except OSError:  # a full disk ends no call
            self.counts["lines not written"] += 1
