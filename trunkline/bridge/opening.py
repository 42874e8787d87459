"""A media socket's first seconds, and its last one: from the handshake to the stream's description, and the close."""

import asyncio
from collections.abc import Sequence

from trunkline.bridge.dialect import MediaDialect, MediaProfile, Message, StreamStarted, StreamStopped, WireEvent
from trunkline.bridge.leg import Oddity
from trunkline.bridge.wire_socket import Socket
from trunkline.errors import ProtocolError

EARLY_EVENTS = 1000  # kept from before the description


async def described(
    socket: Socket, profile: MediaProfile, dialect: MediaDialect, *, most: int, timeout_s: float
) -> Sequence[WireEvent]:
    """Everything up to the message that describes the stream; most: bytes of one message. Raises ProtocolError."""
    events: list[WireEvent] = []
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            while not any(type(event) is StreamStarted for event in events):
                message = await (socket.receive() if received else _first_words(socket, profile, dialect))
                received += 1
                if message is None:
                    raise ProtocolError(f"{profile.name}: the socket closed before `start`", peer=profile.name)
                if received > profile.max_messages_per_s * timeout_s:
                    raise ProtocolError(f"{profile.name}: too many messages before `start`", peer=profile.name)
                events = [*events[-EARLY_EVENTS:], *understood(dialect, message, most)]
                if any(type(event) is StreamStopped for event in events):
                    raise ProtocolError(f"{profile.name}: `stop` before `start`", peer=profile.name)
    except TimeoutError as error:
        raise ProtocolError(f"{profile.name}: no `start` within {timeout_s:g} s", peer=profile.name) from error
    except OSError as error:
        raise ProtocolError(f"{profile.name}: the socket broke before `start`: {error}", peer=profile.name) from error
    return events


async def _first_words(socket: Socket, profile: MediaProfile, dialect: MediaDialect) -> Message | None:
    """The carrier's first message; where it waits for ours, say it once."""
    hello = dialect.hello()
    if hello is None:
        return await socket.receive()
    try:
        async with asyncio.timeout(profile.hello_after_s):
            return await socket.receive()
    except TimeoutError:
        await socket.send(hello)
    return await socket.receive()


def understood(dialect: MediaDialect, message: Message, most: int) -> Sequence[WireEvent]:
    """What a message of at most `most` bytes means."""
    if len(message) > most:
        return (Oddity("too_large", f"{len(message)} bytes, at most {most}"),)
    return dialect.receive(message)


async def close(socket: Socket, code: int, reason: str, *, within_s: float) -> bool:
    """The closing handshake; False when the far end did not answer in time."""
    try:
        async with asyncio.timeout(within_s):
            await socket.close(code, reason)
    except (TimeoutError, OSError):
        return False
    return True
