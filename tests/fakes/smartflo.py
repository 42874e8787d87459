"""The far end of a Smartflo socket in virtual time: a playout buffer, marks, and three ways to treat `clear`."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.conformance.leg import Arrival
from tests.fakes.socket import FakeSocket
from trunkline.bridge.dialect import Message

START: dict[str, Any] = {
    "streamSid": "S1",
    "accountSid": "A1",
    "callSid": "h11.08-1776875353.216650",
    "from": "919800000001",
    "to": "918069000000",
    "direction": "inbound",
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
    "customParameters": {"custom_identifier": '{"call_token":"abc"}'},
}


@dataclass(slots=True)
class _Piece:
    payload: bytes
    starts: float
    ends: float


class FakeSmartflo:
    """Speaks Smartflo's side into a `FakeSocket`. `Far` of the leg suite."""

    def __init__(
        self, clear: Literal["honoured", "late", "ignored"] = "honoured", *, echoes: bool = True, rate: int = 8000
    ) -> None:
        self.socket = FakeSocket(self._taken)
        self.arrivals: list[Arrival] = []
        self.flushed_at: list[float] = []
        self.hung_up_at: float | None = None
        self.heard: list[_Piece] = []  # what the caller's ear got, or will get
        self._clear = clear
        self._echoes = echoes
        self._rate = rate
        self._until = 0.0
        self._sequence = 0
        self._marks: dict[str, asyncio.TimerHandle] = {}

    # -- the caller's side

    def connect(self, **start: Any) -> None:
        """`connected` and `start`, with fields of `start` replaced."""
        self.socket.say('{"event":"connected"}')
        self.tell("start", start={**START, **start})

    def tell(self, event: str, **fields: Any) -> None:
        """One numbered message of the stream."""
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": "S1", **fields}
        self.socket.say(json.dumps(message))

    def say(self, payload: bytes) -> None:
        self.tell("media", media={"payload": base64.b64encode(payload).decode()})

    def lose(self, messages: int) -> None:
        """So many messages get lost on the way."""
        self._sequence += messages

    def press(self, keys: str) -> None:
        self.tell("dtmf", dtmf={"digit": keys})

    def hang_up(self) -> None:
        self.tell("stop", stop={"callSid": START["callSid"], "reason": "Call ended"})

    def vanish(self) -> None:
        self.socket.shut(1006)

    # -- the platform's side

    def _taken(self, message: Message) -> None:
        body = json.loads(message)
        now = asyncio.get_running_loop().time()
        match body["event"]:
            case "media":
                self._play(base64.b64decode(body["media"]["payload"]), now)
            case "mark":
                self._mark(body["mark"]["name"], now)
            case "clear":
                self.flushed_at.append(now)
                self._forget(now)
            case "end":
                self.hung_up_at = now

    def _play(self, payload: bytes, now: float) -> None:
        assert len(payload) >= 160, "audible gap"
        assert len(payload) % 160 == 0, "audible gap"
        starts = max(self._until, now)
        self._until = starts + len(payload) / self._rate
        self.arrivals.append(Arrival(now, payload))
        self.heard.append(_Piece(payload, starts, self._until))

    def _mark(self, name: str, now: float) -> None:
        if self._echoes:
            at = max(self._until, now)
            self._marks[name] = asyncio.get_running_loop().call_at(at, self._echo, name)

    def _echo(self, name: str) -> None:
        timer = self._marks.pop(name, None)
        if timer is not None:
            timer.cancel()
            self.tell("mark", mark={"name": name})

    def _forget(self, now: float) -> None:
        if self._clear == "honoured":
            self._drop(list(self.heard), list(self._marks), now)
        elif self._clear == "late":
            later = (list(self.heard), list(self._marks), now + 0.3)
            asyncio.get_running_loop().call_at(now + 0.3, self._drop, *later)

    def _drop(self, pieces: Sequence[_Piece], marks: Sequence[str], now: float) -> None:
        """Forget what was there when the clear came; what came since moves up."""
        kept = [piece for piece in self.heard if piece.starts <= now or all(piece is not p for p in pieces)]
        self._until = now
        for piece in kept:
            if piece.ends > now and any(piece is p for p in pieces):
                piece.ends = now
            elif piece.starts > now:
                length = piece.ends - piece.starts
                piece.starts, piece.ends = self._until, self._until + length
                self._until = piece.ends
        self.heard = kept
        for name in marks:
            self._echo(name)
