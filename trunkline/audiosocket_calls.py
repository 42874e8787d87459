"""Asterisk's AudioSocket connections of one worker: who may in, whether there is room, and the call that follows.

The protocol knows no password: who may connect is decided by address ([audiosocket] allow), which call it is by UUID.
"""

import asyncio
from types import TracebackType
from typing import Self

import structlog

from trunkline.api_desk import Desk
from trunkline.bridge.audiosocket import HANG_UP, NAME, message, profile
from trunkline.bridge.audiosocket_connection import AudioSocketConnection
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.bridge.opening import close
from trunkline.calls.switchboard import Seat
from trunkline.errors import AdmissionError, ProtocolError
from trunkline.log_limited import Rarely
from trunkline.outcome import EndCause
from trunkline.proxies import address_of, among, masked, networks

GOODBYE_S = 5.0  # calls that were cut may take so long to be recorded
REFUSAL_S = 1.0  # until a refused connection is closed from here
log = structlog.get_logger("trunkline.audiosocket")


class AudioSocketCalls:
    """`async with AudioSocketCalls(desk) as calls:` and `calls.protocol` for each connection. Owns a task per call."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._profile = profile(desk.settings.audiosocket)
        self._chosen = bool(desk.settings.audiosocket.lines)  # then UUIDs of no line are refused
        self._allowed = networks(desk.settings.audiosocket.allow)
        self._strangers = Rarely()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut what is still live, as all other calls are."""
        await self._desk.drain(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def protocol(self) -> AudioSocketConnection:
        """For one connection."""
        return AudioSocketConnection(self._came)

    def _came(self, connection: AudioSocketConnection) -> None:
        if not self._may(connection.peer):
            self._desk.metrics.refused(NAME, "stranger")
            if count := self._strangers.due(self._desk.clock.monotonic()):
                peer = masked(address_of(connection.peer))
                log.warning("audiosocket.stranger", peer=peer, count=count, allowed="[audiosocket] allow")
            connection.abort()
            return
        task = asyncio.get_running_loop().create_task(self._answer(connection), name="audiosocket.call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _may(self, peer: str) -> bool:
        address = address_of(peer)
        return address is not None and (address.is_loopback or among(address, self._allowed))

    async def _answer(self, connection: AudioSocketConnection) -> None:
        try:
            seat = self._desk.knock(NAME)
        except AdmissionError:
            await _refuse(connection)
            return
        with seat:
            try:
                await self._hold(connection, seat)
            except Exception:  # a bug of ours ends this call and no other
                log.exception("audiosocket.failed")
            finally:
                connection.abort()

    async def _hold(self, connection: AudioSocketConnection, seat: Seat) -> None:
        """The call, from the first message to its end. Whoever names no call is left."""
        desk = self._desk
        start_s = desk.settings.limits.start_timeout_s
        with desk.handshakes.one() as begun:
            try:
                async with open_media_leg(
                    connection, self._profile, {}, clock=desk.clock, start_timeout_s=start_s
                ) as leg:
                    begun()
                    await self._talk(leg, seat)
            except ProtocolError as wrong:
                desk.metrics.refused(NAME, "no_start")
                log.warning("audiosocket.no_start", reason=str(wrong))

    async def _talk(self, leg: MediaSocketLeg, seat: Seat) -> None:
        if self._desk.state.shut:  # the goodbye came between the connection and its first words
            self._desk.metrics.refused(NAME, "draining")
            await leg.end(EndCause.DRAINED)
        elif self._chosen and "line" not in leg.info.parameters:
            self._desk.metrics.refused(NAME, "unknown_uuid")
            log.warning("audiosocket.unknown_uuid", carrier_ref=leg.info.carrier_ref, allowed="[audiosocket] lines")
            await leg.end(EndCause.REJECTED)
        else:
            await self._desk.calls.attend(leg, seat)


async def _refuse(connection: AudioSocketConnection) -> None:
    """Hang up, so that the dialplan goes on with whatever stands behind."""
    try:
        connection.send(message(HANG_UP))
    except OSError:
        return
    await close(connection, 1000, "", within_s=REFUSAL_S)
