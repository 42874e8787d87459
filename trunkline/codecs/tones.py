"""Making tones: keys (DTMF, ITU-T Q.23) and what a line sounds like (progress tones, ITU-T E.180 and its annex).

Levels are dBov per frequency (`level.py`). A clip of tones starts and ends within 2 ms, so that it does not click.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.codecs.level import amplitude
from trunkline.errors import UsageError

Country: TypeAlias = Literal["us", "in", "eu"]
ToneName: TypeAlias = Literal["dial", "ringback", "busy", "congestion"]
COUNTRIES: Final[tuple[Country, ...]] = get_args(Country)

LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYPAD = ("123A", "456B", "789C", "*0#D")
KEYS = "0123456789*#ABCD"
_EDGE_S = 0.002
_LOUDEST_DBOV = -3.02  # a sine that just does not clip


@dataclass(frozen=True, slots=True)
class Tone:
    """Frequencies sounding together, and the rhythm they are switched in."""

    hz: tuple[float, ...]
    cadence_s: tuple[float, ...] = ()  # on, off, on, off, …, repeated; empty: continuous


def _plan(hz: tuple[float, ...], ring: Tone, busy_s: float, congestion_s: float) -> Mapping[ToneName, Tone]:
    return MappingProxyType(
        {
            "dial": Tone(hz),
            "ringback": ring,
            "busy": Tone(_interrupted(hz), (busy_s, busy_s)),
            "congestion": Tone(_interrupted(hz), (congestion_s, congestion_s)),
        }
    )


def _interrupted(dial: tuple[float, ...]) -> tuple[float, ...]:
    """The busy tone's frequencies, from the dial tone's."""
    return {(350, 440): (480, 620), (375, 425): (400,)}.get((int(dial[0]), int(dial[-1])), dial)


# India modulates 400 Hz with 25 Hz for dial tone and ringback: that is 375 and 425 Hz together.
PROGRESS: Final[Mapping[Country, Mapping[ToneName, Tone]]] = MappingProxyType(
    {
        "us": _plan((350, 440), Tone((440, 480), (2.0, 4.0)), 0.5, 0.25),
        "in": _plan((375, 425), Tone((375, 425), (0.4, 0.2, 0.4, 2.0)), 0.75, 0.25),
        "eu": _plan((425,), Tone((425,), (1.0, 4.0)), 0.5, 0.25),
    }
)


def sines(hz: Sequence[float], seconds: float, rate: int = 8000, level_dbov: float | Sequence[float] = -13.0) -> bytes:
    """s16le: the given frequencies together, each at `level_dbov` (one value, or one per frequency)."""
    wave = _sines(hz, round(seconds * rate), rate, level_dbov)
    return np.rint(np.clip(wave, -32768, 32767)).astype("<i2").tobytes()


def dtmf(
    keys: str,
    rate: int = 8000,
    *,
    on_s: float = 0.1,
    off_s: float = 0.1,
    level_dbov: float = -13.0,
    twist_db: float = 0.0,
) -> bytes:
    """s16le: each key for `on_s`, then silence for `off_s`.

    level_dbov: of the low frequency. twist_db: by how much the high one is louder. Raises UsageError for other keys
    than 0-9 * # A-D.
    """
    parts = []
    for key in keys:
        parts += [sines(key_hz(key), on_s, rate, (level_dbov, level_dbov + twist_db)), _silence(off_s, rate)]
    return b"".join(parts)


def key_hz(key: str) -> tuple[int, int]:
    """The two frequencies of a key. Raises UsageError for what is no key."""
    for low, row in zip(LOW_HZ, KEYPAD, strict=True):
        if len(key) == 1 and key in row:
            return low, HIGH_HZ[row.index(key)]
    raise UsageError(f"key: {key!r} is not a key; allowed are {' '.join(KEYS)}")


def progress_tone(
    name: ToneName, country: Country, seconds: float, rate: int = 8000, level_dbov: float = -16.0
) -> bytes:
    """s16le: `seconds` of a progress tone, in the country's rhythm, from the beginning of it."""
    tone = _tone(name, country)
    if not tone.cadence_s:
        return sines(tone.hz, seconds, rate, level_dbov)
    parts: list[bytes] = []
    wanted = SAMPLE_BYTES * round(seconds * rate)
    for turn in range(10 * wanted):
        if sum(map(len, parts)) >= wanted:
            break
        part_s = tone.cadence_s[turn % len(tone.cadence_s)]
        parts.append(_silence(part_s, rate) if turn % 2 else sines(tone.hz, part_s, rate, level_dbov))
    return b"".join(parts)[:wanted]


def _tone(name: ToneName, country: Country) -> Tone:
    if country not in PROGRESS:
        raise UsageError(f"country: {country!r} is not known; allowed are {', '.join(PROGRESS)}")
    if name not in PROGRESS[country]:
        raise UsageError(f"name: {name!r} is no progress tone; allowed are {', '.join(PROGRESS[country])}")
    return PROGRESS[country][name]


def _sines(
    hz: Sequence[float], samples: int, rate: int, level_dbov: float | Sequence[float]
) -> npt.NDArray[np.float64]:
    levels = [level_dbov] * len(hz) if isinstance(level_dbov, int | float) else list(level_dbov)
    if len(levels) != len(hz) or max(levels) > _LOUDEST_DBOV or max(hz) >= rate / 2:
        raise UsageError(
            f"tone: {list(hz)} Hz at {levels} dBov, {rate} Hz; at most -3.02 dBov each, below half the rate"
        )
    time = np.arange(samples) / rate
    wave = np.zeros(samples)
    for frequency, level in zip(hz, levels, strict=True):
        wave += np.sqrt(2) * amplitude(level) * np.sin(2 * np.pi * frequency * time)
    edge = min(round(_EDGE_S * rate), samples // 2)
    if edge:
        rise = np.sin(np.arange(edge) / edge * np.pi / 2) ** 2
        wave[:edge] *= rise
        wave[-edge:] *= rise[::-1]
    return wave


def _silence(seconds: float, rate: int) -> bytes:
    return bytes(SAMPLE_BYTES * round(seconds * rate))
