"""What goes wrong between a platform and a service: a pure stage that messages pass on their way out."""

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

from trunkline_sim.playout import Clear


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How a carrier misbehaves. Percentages are per media message; times are seconds of the call unless named."""

    loss: float = 0.0  # % never sent; its sequence number is missing
    duplicate: float = 0.0  # % sent twice
    reorder: float = 0.0  # % sent after their successor: sequence numbers go back
    late: float = 0.0  # % sent `late_ms` late, alone, behind what follows
    late_ms: float = 250.0
    jitter_ms: float = 0.0  # each is up to this late, order kept
    burst_ms: float = 0.0  # held back this long and sent at once, every `burst_every_s`
    burst_every_s: float = 5.0
    stall_at_s: float | None = None  # nothing is sent from here …
    stall_s: float = 2.0  # … for so long; then all of it at once
    reset_at_s: float | None = None  # TCP reset
    vanish_at_s: float | None = None  # nothing is sent any more, the socket stays open
    no_stop: bool = False  # hang up by closing, without `stop`
    clear: Clear = "honoured"
    clear_late_ms: float = 300.0
    no_marks: bool = False  # marks are never given back
    odd: float = 0.0  # % preceded by nonsense: bad JSON, unknown event, wrong stream, bad base64


_NONSENSE = (
    "{not json",
    "[]",
    '{"event":"weather","streamSid":"x"}',
    '{"event":"media","streamSid":"somebody-else","media":{"chunk":"1","timestamp":"0","payload":"////"}}',
    '{"event":"media","media":{"payload":"%%%"}}',
    '{"event":"dtmf","dtmf":{}}',
    '{"event":"mark"}',
)


@dataclass(order=True, slots=True)
class _Held:
    at_s: float
    order: int
    message: str = field(compare=False)


class Link:
    """Delays, loses, doubles and reorders. `counts` says how often it did which."""

    def __init__(self, faults: Faults, seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self._faults = faults
        self._random = random.Random(seed)
        self._held: list[_Held] = []
        self._order = 0
        self._floor_s = 0.0  # nothing that keeps its order may leave before this

    def put(self, message: str, now: float, *, media: bool = False) -> None:
        """A message leaves the platform at `now` (s)."""
        at_s = self._gate(now)
        if media:
            self._put_media(message, at_s)
        else:
            self._hold(message, max(self._floor_s, at_s))

    def due(self, now: float) -> list[str]:
        """Messages that are on the wire by `now`, in order."""
        out: list[str] = []
        while self._held and self._held[0].at_s <= now:
            out.append(heapq.heappop(self._held).message)
        return out

    def _put_media(self, message: str, at_s: float) -> None:
        faults = self._faults
        if self._chance(faults.odd, "odd"):
            self._hold(self._random.choice(_NONSENSE), at_s)
        if self._chance(faults.loss, "lost"):
            return
        if faults.jitter_ms:
            at_s += self._random.uniform(0, faults.jitter_ms) / 1000
        self._floor_s = at_s = max(self._floor_s, at_s)
        if self._chance(faults.late, "late"):
            at_s += faults.late_ms / 1000
        elif self._chance(faults.reorder, "reordered"):
            at_s += 0.15
        self._hold(message, at_s)
        if self._chance(faults.duplicate, "duplicated"):
            self._hold(message, at_s)

    def _hold(self, message: str, at_s: float) -> None:
        self._order += 1
        heapq.heappush(self._held, _Held(at_s, self._order, message))

    def _gate(self, now: float) -> float:
        """When a stall or a burst lets go of something that would leave at `now`."""
        faults = self._faults
        if faults.vanish_at_s is not None and now >= faults.vanish_at_s:
            self.counts["vanished"] += 1
            return float("inf")
        if faults.stall_at_s is not None and faults.stall_at_s <= now < faults.stall_at_s + faults.stall_s:
            self.counts["stalled"] += 1
            return faults.stall_at_s + faults.stall_s
        into = now % faults.burst_every_s if faults.burst_ms else 0.0
        if faults.burst_ms and into < faults.burst_ms / 1000 and now >= faults.burst_every_s:
            self.counts["burst"] += 1
            return now - into + faults.burst_ms / 1000
        return now

    def _chance(self, percent: float, name: str) -> bool:
        if percent <= 0 or self._random.random() * 100 >= percent:
            return False
        self.counts[name] += 1
        return True
