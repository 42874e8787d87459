"""A cheap local ear: when the caller's voice rose and fell, by energy alone. It judges no turns (the vendor does);
it says where in the heard stream a turn that the vendor noticed began and ended."""

from trunkline.codecs.fast import rms
from trunkline.codecs.level import amplitude

_LEAST = amplitude(-46.0)  # quieter is never a voice on a telephone line
_ABOVE_FLOOR = 3.0  # times the noise between words (about 9.5 dB)
_HANG_S = 0.3  # a pause within speech
_FLOOR_UP = 1.02  # per frame: the noise floor rises slowly and falls at once


class Ear:
    """One caller's stream. Times ending in `_s` are seconds into it, `…_at` are clock times."""

    __slots__ = ("_floor", "_quiet_s", "heard_s", "last_at", "last_s", "onset_s", "run_s")

    def __init__(self) -> None:
        self.heard_s = 0.0
        self.onset_s = 0.0  # begin of the newest run of speech
        self.last_s = -1.0  # end of its last speech sample; -1: none yet
        self.last_at = 0.0  # when that sample arrived
        self.run_s = 0.0  # speech within that run
        self._floor = _LEAST
        self._quiet_s = _HANG_S

    @property
    def speaking(self) -> bool:
        """Whether a run of speech goes on (pauses up to 300 ms belong to it)."""
        return self.last_s >= 0.0 and self._quiet_s < _HANG_S

    @property
    def onset_at(self) -> float:
        """When (clock, s) the newest run of speech began."""
        return self.last_at - (self.last_s - self.onset_s)

    @property
    def now_at(self) -> float:
        """When (clock, s) the newest of the stream arrived."""
        return self.last_at + (self.heard_s - self.last_s)

    def push(self, pcm: bytes, seconds: float, now: float) -> None:
        """Some more of the stream. pcm: s16le; `seconds` long; arrived at `now`."""
        level = rms(pcm) if pcm else 0
        begin = self.heard_s
        self.heard_s += seconds
        if level > _LEAST and level > self._floor * _ABOVE_FLOOR:
            if self._quiet_s >= _HANG_S:
                self.onset_s, self.run_s = begin, 0.0
            self._quiet_s = 0.0
            self.run_s += seconds
            self.last_s, self.last_at = self.heard_s, now
        else:
            self._quiet_s += seconds
        self._floor = min(max(float(level), 1.0), self._floor * _FLOOR_UP, _LEAST * 3)
