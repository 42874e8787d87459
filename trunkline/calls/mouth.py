"""The mouth: speech out. `room()` first, then `pop()` and `send()` with nothing between, so that a cut finds no frame
in anybody's hand."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from trunkline.ai.session import SILENT_DBOV
from trunkline.bridge.leg import CallLeg
from trunkline.calls.pieces import Given, Piece
from trunkline.calls.playout import Playout
from trunkline.clock import Clock
from trunkline.codecs.codec import Codec
from trunkline.codecs.frame import AudioFrame
from trunkline.codecs.resample import Resampler

FAR_WINDOW_S = 0.45  # echo of what the ear was given comes back within this
MARK_EVERY_S = 1.0
MOST_UNHEARD = 64  # payloads of which nobody asked how loud they were; older ones go as newer ones come
_LONGEST_MESSAGE_MS = 100


def message_frames(frame_ms: int, lead_s: float) -> int:
    """Frames in one wire message at most: 100 ms, and a fifth of the lead, which a message may overshoot."""
    longest_ms = min(_LONGEST_MESSAGE_MS, int(lead_s * 1000) // 5)
    return max(1, longest_ms // frame_ms)


class FarLevel:
    """How loud the caller's ear was given our voice, by a clock of what plays when. Pure; times in s.

    A level takes decoding the payload, and a model that judges echo itself never asks: only what is asked about is
    measured."""

    def __init__(self, level: Callable[[bytes], float]) -> None:
        """level: of a payload, dBov."""
        self._level = level
        self._coming: deque[tuple[float, float, bytes]] = deque()  # (begins, ends, payload), not overlapping
        self._played: deque[tuple[float, float]] = deque()  # (ends, dBov) of what began: later and quieter to the right
        self.plays_until = 0.0

    def gave(self, now: float, seconds: float, payload: bytes) -> float:
        """A payload went on the wire. Returns when it begins to be heard."""
        coming, begins = self._coming, self.plays_until
        if begins < now:
            begins = now
        self.plays_until = begins + seconds
        coming.append((begins, self.plays_until, payload))
        while len(coming) > MOST_UNHEARD and coming[0][1] < now - FAR_WINDOW_S:
            coming.popleft()
        return begins

    def cut(self, now: float, dropped_s: float) -> float:
        """The newest `dropped_s` will never be heard. Returns the moment at which the voice stops."""
        self.plays_until = max(now, self.plays_until - dropped_s)
        while self._coming and self._coming[-1][0] >= self.plays_until:
            self._coming.pop()
        if self._coming:
            begins, ends, payload = self._coming[-1]
            self._coming[-1] = (begins, min(ends, self.plays_until), payload)
        elif self._played:
            ends, level = self._played[-1]
            self._played[-1] = (min(ends, self.plays_until), level)
        return self.plays_until

    def loudest(self, now: float) -> float:
        """dBov, the maximum over the last 450 ms; -96 when nothing was heard.

        What has begun by now joins what was heard. It hides what is older and no louder, so that the first of them is
        the loudest: with a session that wants it, each frame of the caller asks."""
        coming, played = self._coming, self._played
        while coming and coming[0][0] <= now:
            _, ends, payload = coming.popleft()
            level = self._level(payload)
            while played and played[-1][1] <= level:
                played.pop()
            played.append((ends, level))
        while played and played[0][0] < now - FAR_WINDOW_S:
            played.popleft()
        return played[0][1] if played else SILENT_DBOV


class Voice:
    """Reply audio of any rate → payload of the leg's codec. State per call; the filter starts anew with each reply."""

    def __init__(self, codec: Codec) -> None:
        self._rate = codec.rate
        self._encoder = codec.encoder()
        self._resampler: Resampler | None = None
        self._from_rate = codec.rate

    def payload(self, frame: AudioFrame) -> bytes:
        """The frame as payload; up to 2 ms of it stay in the filter."""
        if frame.rate == self._rate:
            return self._encoder.encode(frame.pcm)
        if self._resampler is None or self._from_rate != frame.rate:
            self._resampler, self._from_rate = Resampler(frame.rate, self._rate), frame.rate
        return self._encoder.encode(self._resampler.push(frame.pcm))

    def rest(self) -> bytes:
        """What the filter still holds; the next frame begins a new reply."""
        if self._resampler is None:
            return b""
        pcm = self._resampler.flush()
        self._resampler = None
        return self._encoder.encode(pcm)


class Mouth:
    """The pump from playout to leg. `gave` is called after each piece, in the same breath."""

    def __init__(self, leg: CallLeg, playout: Playout, clock: Clock, gave: Callable[[Given], None]) -> None:
        self._leg = leg
        self._playout = playout
        self._now = clock.monotonic
        self._gave = gave
        self._codec = leg.info.codec
        self._frames = message_frames(leg.info.frame_ms, leg.info.lead_s)
        self._full = asyncio.Event()
        self._idle = False  # nothing to say: whoever brings something says it
        self._labels = 0
        self._marked_at = 0.0
        self.far = FarLevel(self._codec.level)

    def wake(self) -> None:
        """Something waits in playout. Where there is room for it, it is on the wire when this returns."""
        if self._idle:
            self._say_all()

    def mark(self) -> str:
        """Put a mark behind everything sent; its label is new."""
        self._labels += 1
        label = f"m{self._labels}"
        self._leg.mark(label)
        self._marked_at = self._now()
        return label

    def cut(self) -> float:
        """Flush the leg. Returns the seconds that will never be heard."""
        dropped_s = self._leg.flush()
        self.far.cut(self._now(), dropped_s)
        return dropped_s

    async def run(self) -> NoReturn:
        """Wait for room, again and again, until cancelled. A task's turn per message would cost more than the message:
        while there is room, `wake` needs none."""
        while True:
            await self._leg.room()
            self._say_all()
            if self._idle:
                self._full.clear()
                await self._full.wait()

    def _say_all(self) -> None:
        """Until there is no more room, or nothing more to say."""
        self._idle = False
        while self._leg.has_room():
            piece = self._playout.pop(self._frames)
            if piece is None:
                self._idle = True
                return
            self._say(piece)
            if self._playout.empty:  # nearly always, where speech comes as fast as it is heard
                self._idle = True
                return
        self._full.set()

    def _say(self, piece: Piece) -> None:
        payload = piece.payload
        if payload:
            self._leg.send(payload)
        now, codec = self._now(), self._codec
        starts = self.far.gave(now, len(payload) / codec.bytes_per_second, payload)
        marked = piece.first or piece.last or now - self._marked_at >= MARK_EVERY_S
        self._gave(Given(piece, now, starts, self.mark() if marked else ""))
