"""When somebody is heard speaking, by level. Pure; fed with mu-law frames of 20 ms in order."""

from dataclasses import dataclass

from trunkline_sim.mulaw import RATE, level_dbov

FRAME_S = 0.02
FRAME = int(RATE * FRAME_S)  # samples


@dataclass(slots=True)
class Run:
    """One stretch of speech, pauses of less than `Ears.merge_s` included. Seconds of the call."""

    from_s: float
    to_s: float


class Ears:
    """Speech by level: `loud_dbov` for 40 ms begins a run, `merge_s` below it ends one."""

    def __init__(self, loud_dbov: float = -45.0, merge_s: float = 0.3) -> None:
        self.runs: list[Run] = []
        self.now_s = 0.0
        self._loud_dbov = loud_dbov
        self._merge_s = merge_s
        self._loud_since: float | None = None

    def hear(self, payload: bytes) -> None:
        """The next 20 ms."""
        began = self.now_s
        self.now_s += len(payload) / RATE
        if level_dbov(payload) < self._loud_dbov:
            self._loud_since = None
            return
        if self._loud_since is None:
            self._loud_since = began
        if self.runs and began - self.runs[-1].to_s <= self._merge_s:
            self.runs[-1].to_s = self.now_s
        elif self.now_s - self._loud_since >= 2 * FRAME_S - 1e-9:
            self.runs.append(Run(self._loud_since, self.now_s))

    def quiet_s(self) -> float:
        """Seconds since the last speech; since the beginning when there was none."""
        return self.now_s - (self.runs[-1].to_s if self.runs else 0.0)

    def run_since(self, at_s: float) -> Run | None:
        """The first run that began at or after `at_s`, to the accuracy of the ear."""
        return next((run for run in self.runs if run.from_s >= at_s - 2 * FRAME_S), None)


def speech_runs(track: bytes, loud_dbov: float = -45.0, merge_s: float = 0.3) -> list[Run]:
    """All runs of speech in a mu-law track."""
    ears = Ears(loud_dbov, merge_s)
    for start in range(0, len(track), FRAME):
        ears.hear(track[start : start + FRAME])
    return ears.runs
