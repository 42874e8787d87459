"""Asterisk at the other end of an AudioSocket, in virtual time: it plays what it gets and acknowledges nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from tests.conformance.leg import Arrival
from tests.fakes.socket import FakeSocket
from tests.virtual_time import clock
from trunkline.bridge import audiosocket as wire
from trunkline.bridge.dialect import Message
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.config import AudioSocket

ID = UUID("12345678-1234-5678-1234-567812345678")


class FakeAsterisk:
    """Speaks Asterisk's side into a `FakeSocket`. `Far` of the leg suite."""

    def __init__(self, *, kind: int = wire.AUDIO, closes: bool = True) -> None:
        """kind: of its audio. closes: it hangs up as it does, by closing; else by a message."""
        self.socket = FakeSocket(self._taken)
        self.arrivals: list[Arrival] = []
        self.flushed_at: list[float] = []
        self.kinds: set[int] = set()  # of our audio
        self.hung_up_at: float | None = None
        self._kind = kind
        self._closes = closes

    def connect(self, uuid: UUID = ID) -> None:
        self.socket.say(wire.message(wire.UUID_KIND, uuid.bytes))

    def say(self, payload: bytes) -> None:
        self.socket.say(wire.message(self._kind, payload))

    def press(self, keys: str) -> None:
        for key in keys:
            self.socket.say(wire.message(wire.DTMF, key.encode()))

    def hang_up(self) -> None:
        if self._closes:
            self.socket.shut(1005)
        else:
            self.socket.say(wire.message(wire.HANG_UP))

    def vanish(self) -> None:
        self.socket.shut(1006)

    def _taken(self, message: Message) -> None:
        assert isinstance(message, bytes)
        now = asyncio.get_running_loop().time()
        reader = wire.FrameReader()
        for one in reader.feed(message):
            if one[0] == wire.HANG_UP:
                self.hung_up_at = now
                continue
            assert len(one) - wire.HEADER in (320, 640, 960), "Asterisk plays a message as one frame"
            self.kinds.add(one[0])
            self.arrivals.append(Arrival(now, one[wire.HEADER :]))
        assert not reader.held, "a header in two writes is garbage to Asterisk"


@asynccontextmanager
async def audiosocket_leg(
    far: FakeAsterisk | None = None, settings: Mapping[str, object] | None = None
) -> AsyncIterator[tuple[MediaSocketLeg, FakeAsterisk]]:
    """A leg that is up, and the Asterisk at its other end."""
    far = far or FakeAsterisk()
    far.connect()
    profile = wire.profile(AudioSocket(**(settings or {})))  # type: ignore[arg-type]
    async with open_media_leg(far.socket, profile, {}, clock=clock()) as leg:
        yield leg, far
