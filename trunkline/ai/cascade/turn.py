"""Whose turn is it? Pure: judgements of 32 ms windows go in, starts, pauses and ends of turns come out.

A turn of the caller::

    quiet ──start confirmed──► SPEAKING ──pause_s of silence──► PAUSING ──patience──► quiet
           SpeechStarted           ▲        SpeechStopped           │      TurnEnded
                                   └──────── SpeechResumed ─────────┘

* *Start.* While the far end (our agent) is silent, speech is believed after `start_s`. While it plays, what is heard
  may be its echo: then only windows louder than the far end minus `echo_gate_db` count, +1 each and -1 for every
  other window, and `barge_in_s` worth of them is a barge-in. The session that hears `SpeechStarted` during a reply
  interrupts it.
* *A pause inside a turn.* `SpeechStopped` says that the caller has been silent for `pause_s`: a chance to finish
  recognition ahead of time. If they go on before the turn has ended, `SpeechResumed` follows and it is the same turn:
  the utterance stays open, whatever was prepared is void, the clock of the silence starts anew. Once `TurnEnded` is
  out, further speech is a new turn with a `SpeechStarted` of its own (a barge-in when the reply already plays).
* *End.* `patience` seconds without speech. The dialogue may set it at any time, also inside a pause: 0.6 s by
  default, 0.35 s where it expects yes, no or digits.
* *Echo bar.* The detector hears the agent's echo as speech down to -40 dB. The far end's own loudness sets the bar;
  if the first 2 s of echo on a line come back louder than -22 dB, or a barge-in turns out to have been nothing
  (`mistaken`), the bar is raised to 6 dB above that echo.

Positions are seconds in the heard stream, so a hole in it counts as silence. Nothing here waits or looks at a clock.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from trunkline.ai.cascade.vad import WINDOW_S

_ECHO_MARGIN_DB: Final = 6.0
_LOUD_ECHO_DB: Final = -22.0  # measured echo above this raises the bar
_LEARN_WINDOWS: Final = 62  # 2 s
_LEARN_AT_LEAST: Final = 8  # windows before an estimate is used
_HIGHEST_BAR_DB: Final = -6.0  # relative to the far end: a caller can always still get through


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Thresholds of the turn taker; seconds, dB, probabilities."""

    threshold: float = 0.5  # probability from which a window is speech
    hold: float = 0.35  # … from which it goes on being speech inside a turn
    start_s: float = 0.06  # speech needed while the far end is silent
    barge_in_s: float = 0.16  # speech needed while the far end plays
    patience_s: float = 0.6  # silence that ends a turn
    short_patience_s: float = 0.35  # … where a short answer is expected; for the session, not used here
    pause_s: float = 0.2  # silence after which SpeechStopped is told
    echo_gate_db: float = 18.0  # speech must be louder than the far end minus this
    floor_dbov: float = -60.0  # softer is never speech
    far_silent_dbov: float = -60.0  # far end softer than this: not playing
    longest_turn_s: float = 20.0  # a turn is ended by force (music on the line)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A turn of the caller begins; confirmed a little after `onset_s`."""

    onset_s: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller pauses; perhaps they are done."""

    last_speech_s: float


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The caller goes on in the same turn."""

    onset_s: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller's turn is over. `forced`: it was cut at the longest turn."""

    last_speech_s: float
    forced: bool = False


TurnEvent: TypeAlias = SpeechStarted | SpeechStopped | SpeechResumed | TurnEnded


class TurnTaker:
    """One call's judge of turns."""

    def __init__(self, settings: TurnSettings) -> None:
        self._settings = settings
        self._patience_s = settings.patience_s
        self._echo = _EchoBar(settings.echo_gate_db)
        self._count = 0  # evidence for a start, in windows
        self._onset_s = 0.0  # where the evidence began
        self._last_speech_s = 0.0
        self._began_s: float | None = None  # onset of the open turn
        self._paused = False

    @property
    def speaking(self) -> bool:
        """Whether a turn of the caller is open (pauses included)."""
        return self._began_s is not None

    @property
    def echo_bar_db(self) -> float:
        """What speech must exceed while the far end plays, relative to the far end's level (dB)."""
        return self._echo.bar_db

    def patience(self, s: float | None) -> None:
        """Silence that ends the caller's turn from now on; None: the default."""
        self._patience_s = self._settings.patience_s if s is None else s

    def push(self, probability: float, near_dbov: float, far_dbov: float, window_end_s: float) -> Sequence[TurnEvent]:
        """One window of the caller. `far_dbov`: loudest level their ear was given over the last 450 ms (dBov)."""
        far_plays = far_dbov > self._settings.far_silent_dbov
        speech = self._is_speech(probability, near_dbov, far_dbov if far_plays else None)
        if self.speaking:
            return self._inside(speech, window_end_s)
        return self._outside(speech, far_plays, window_end_s)

    def idle(self, now_s: float) -> Sequence[TurnEvent]:
        """No audio arrives although the stream should be at `now_s`: silence may end the turn all the same."""
        return self._silence(now_s) if self.speaking else ()

    def mistaken(self) -> None:
        """The last start was no caller (nothing was understood in it while the far end played): learn from it."""
        self._echo.blame()

    def _is_speech(self, probability: float, near_dbov: float, far_dbov: float | None) -> bool:
        threshold = self._settings.hold if self.speaking and not self._paused else self._settings.threshold
        if probability < threshold or near_dbov < self._settings.floor_dbov:
            return False
        return far_dbov is None or self._echo.passes(near_dbov - far_dbov, learn=not self.speaking)

    def _outside(self, speech: bool, far_plays: bool, end_s: float) -> Sequence[TurnEvent]:
        if not speech:
            self._count = max(0, self._count - 1)
            return ()
        if self._count == 0:
            self._onset_s = end_s - WINDOW_S
        self._count += 1
        self._last_speech_s = end_s
        needed_s = self._settings.barge_in_s if far_plays else self._settings.start_s
        if self._count < math.ceil(round(needed_s / WINDOW_S, 6)):
            return ()
        self._count, self._began_s, self._paused = 0, self._onset_s, False
        return (SpeechStarted(self._onset_s),)

    def _inside(self, speech: bool, end_s: float) -> Sequence[TurnEvent]:
        if not speech:
            return self._silence(end_s)
        self._last_speech_s = end_s
        events: list[TurnEvent] = []
        if self._paused:
            self._paused = False
            events.append(SpeechResumed(end_s - WINDOW_S))
        if self._began_s is not None and end_s - self._began_s >= self._settings.longest_turn_s:
            events.append(self._end(forced=True))
        return events

    def _silence(self, now_s: float) -> Sequence[TurnEvent]:
        silent_s = now_s - self._last_speech_s + 1e-9
        events: list[TurnEvent] = []
        over = silent_s >= self._patience_s
        if not self._paused and (over or silent_s >= self._settings.pause_s):
            self._paused = True
            events.append(SpeechStopped(self._last_speech_s))
        if over:
            events.append(self._end(forced=False))
        return events

    def _end(self, *, forced: bool) -> TurnEnded:
        self._began_s, self._paused, self._count = None, False, 0
        return TurnEnded(self._last_speech_s, forced)


class _EchoBar:
    """How loud, relative to the far end, a sound must be to be the caller and not our echo."""

    def __init__(self, gate_db: float) -> None:
        self.bar_db = -gate_db
        self._echoes: list[float] = []  # dB; what was held to be echo
        self._passed: deque[float] = deque(maxlen=16)  # dB; what was let through last

    def passes(self, relative_db: float, *, learn: bool) -> bool:
        """Whether a window that sounds like speech, `relative_db` above the far end, is the caller's."""
        if relative_db > self.bar_db:
            self._passed.append(relative_db)
            return True
        if learn and len(self._echoes) < _LEARN_WINDOWS:
            self._echoes.append(relative_db)
            if len(self._echoes) >= _LEARN_AT_LEAST:
                self._raise(sorted(self._echoes)[int(0.9 * len(self._echoes))])
        return False

    def blame(self) -> None:
        """What was let through last was echo after all."""
        if self._passed:
            self._raise(max(self._passed))
            self._passed.clear()

    def _raise(self, echo_db: float) -> None:
        if echo_db > _LOUD_ECHO_DB:
            self.bar_db = min(_HIGHEST_BAR_DB, max(self.bar_db, echo_db + _ECHO_MARGIN_DB))


class PreRoll:
    """The last moments of a call's audio, so that an utterance can be given the time before its start was believed."""

    def __init__(self, rate: int, seconds: float = 1.0) -> None:
        self._rate = rate
        self._keep = int(rate * seconds) * 2  # bytes
        self._pcm = bytearray()
        self._end = 0  # samples heard so far

    def push(self, pcm: bytes) -> None:
        """s16le as it arrives."""
        self._pcm += pcm
        self._end += len(pcm) // 2
        if len(self._pcm) > 2 * self._keep:
            del self._pcm[: -self._keep]

    def since(self, position_s: float) -> bytes:
        """What was heard from `position_s` (seconds in the stream) on, as far back as it is kept.

        Ask for 0.4 s before an onset: the soft beginning of the first word lies there.
        """
        wanted = max(0, self._end - int(position_s * self._rate)) * 2
        wanted = min(wanted, self._keep, len(self._pcm))
        return bytes(self._pcm[len(self._pcm) - wanted :])
