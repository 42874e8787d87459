"""What networks and machines say without words, as mu-law at 8 kHz. Pure; written a second time, as `mulaw` is.

Frequencies and rhythms: ITU-T E.180 and E.182 in their North American form; the special information tones with the
lengths and heights by which Telcordia's networks tell the four reasons apart.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from trunkline_sim import mulaw

_Stroke = tuple[float, Sequence[float]]  # seconds, Hz; no Hz: silence
_LEVEL = 0.1  # of full scale, for all frequencies of a stroke together: about -23 dBov
_LONG, _SHORT = 0.380, 0.274  # s, of an information tone's strokes


def _sit(first: tuple[float, float], second: tuple[float, float]) -> tuple[_Stroke, ...]:
    return ((first[1], (first[0],)), (second[1], (second[0],)), (_LONG, (1776.7,)), (0.4, ()))


TONES: Mapping[str, tuple[_Stroke, ...]] = {
    "beep": ((0.5, (1000.0,)), (0.1, ())),  # an answering machine's
    "ringback": ((2.0, (440.0, 480.0)), (4.0, ())),
    "busy": tuple([(0.5, (480.0, 620.0)), (0.5, ())] * 4),
    "congestion": tuple([(0.25, (480.0, 620.0)), (0.25, ())] * 8),
    "sit-intercept": _sit((913.8, _SHORT), (1370.6, _SHORT)),  # the number was changed
    "sit-vacant": _sit((985.2, _LONG), (1370.6, _SHORT)),  # there is no such number
    "sit-reorder": _sit((913.8, _SHORT), (1428.5, _LONG)),  # incomplete, or the local network failed
    "sit-no-circuit": _sit((985.2, _LONG), (1428.5, _LONG)),
    "fax": ((3.0, (2100.0,)), (0.5, ())),  # CED: a machine that is none of ours
}


def tone(name: str) -> bytes:
    """One round of it. Raises KeyError."""
    return b"".join(_stroke(seconds, hz) for seconds, hz in TONES[name])


def _stroke(seconds: float, hz: Sequence[float]) -> bytes:
    at = np.arange(round(seconds * mulaw.RATE)) / mulaw.RATE
    sound = np.zeros_like(at)
    for one in hz:
        sound += np.sin(2 * np.pi * one * at)
    return mulaw.encode(np.round(sound * mulaw.FULL_SCALE * _LEVEL / max(1, len(hz))).astype(np.int16))
