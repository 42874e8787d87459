"""A media socket's first seconds, and its last one: from the handshake to the stream's description, and the close."""

import asyncio
from collections.abc import Sequence

from trunkline.bridge.dialect import MediaDialect, MediaProfile, Message, StreamStarted, StreamStopped, WireEvent
from trunkline.bridge.leg import LegInfo, Oddity
from trunkline.bridge.wire_socket import Socket
from trunkline.errors import ProtocolError

EARLY_EVENTS = 1000  # kept from before the description


async def described(
    socket: Socket, profile: MediaProfile, dialect: MediaDialect, *, most: int, timeout_s: float
) -> Sequence[WireEvent]:
    """Everything up to the message that describes the stream; the socket holds what comes behind it.

    most: bytes of one message. Raises ProtocolError.
    """
    loop = asyncio.get_running_loop()
    opening = _Opening(socket, profile, dialect, most, int(profile.max_messages_per_s * timeout_s))
    greeting = loop.call_later(profile.hello_after_s, opening.greet)
    try:
        socket.listen(opening)
        async with asyncio.timeout(timeout_s):
            return await opening.events
    except TimeoutError as error:
        raise ProtocolError(f"{profile.name}: no `start` within {timeout_s:g} s", peer=profile.name) from error
    finally:
        greeting.cancel()
        socket.listen(None)


class _Opening:
    """Listens until the stream is described, or will not be."""

    def __init__(self, socket: Socket, profile: MediaProfile, dialect: MediaDialect, most: int, messages: int) -> None:
        self._socket = socket
        self._name = profile.name
        self._dialect = dialect
        self._most = most
        self._left = messages
        self._silent = True
        self._early: list[WireEvent] = []
        self.events: asyncio.Future[Sequence[WireEvent]] = asyncio.get_running_loop().create_future()

    def heard(self, message: Message) -> bool:
        """One message."""
        self._silent = False
        self._left -= 1
        events = understood(self._dialect, message, self._most)
        self._early = [*self._early[-EARLY_EVENTS:], *events]
        for event in events:
            if type(event) is StreamStarted:
                self._socket.listen(None)
                self._done(self._early)
            elif type(event) is StreamStopped:
                self._refuse("`stop` before `start`")
        if self._left < 0:
            self._refuse("too many messages before `start`")
        return False

    def odd(self, oddity: Oddity) -> None:
        """Told to the leg, should there be one."""
        self._early = [*self._early[-EARLY_EVENTS:], oddity]

    def gone(self) -> None:
        """No leg."""
        self._refuse("the socket closed before `start`")

    def greet(self) -> None:
        """Say hello to a carrier that waits for it."""
        hello = self._dialect.hello()
        if hello is None or not self._silent or self.events.done():
            return
        try:
            self._socket.send(hello)
        except OSError as error:
            self._refuse(f"the socket broke before `start`: {error}")

    def _done(self, events: Sequence[WireEvent]) -> None:
        if not self.events.done():
            self.events.set_result(events)

    def _refuse(self, why: str) -> None:
        if not self.events.done():
            self._socket.listen(None)
            self.events.set_exception(ProtocolError(f"{self._name}: {why}", peer=self._name))


def understood(dialect: MediaDialect, message: Message, most: int) -> Sequence[WireEvent]:
    """What a message of at most `most` bytes means."""
    if len(message) > most:
        return (Oddity("too_large", f"{len(message)} bytes, at most {most}"),)
    return dialect.receive(message)


def facts(profile: MediaProfile, early: Sequence[WireEvent]) -> LegInfo:
    """The leg's facts, of the first description among its early events."""
    started = next(event for event in early if isinstance(event, StreamStarted))
    return LegInfo(
        direction=started.direction,
        from_=started.from_,
        to=started.to,
        carrier=profile.name,
        codec=started.codec,
        frame_ms=profile.frame_ms,
        lead_s=profile.lead_s,
        carrier_ref=started.carrier_ref,
        stream_ref=started.stream_id,
        parameters=started.parameters,
    )


async def close(socket: Socket, code: int, reason: str, *, within_s: float) -> bool:
    """The closing handshake; False when the far end did not answer in time."""
    try:
        async with asyncio.timeout(within_s):
            await socket.close(code, reason)
    except (TimeoutError, OSError):
        return False
    return True
