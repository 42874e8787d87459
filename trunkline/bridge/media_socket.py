"""A carrier's media websocket, accepted: opened as a leg, closed as one (`media_leg.py` is the leg itself)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from trunkline.bridge.dialect import MediaProfile
from trunkline.bridge.media_leg import GOODBYE_S, MediaSocketLeg
from trunkline.bridge.opening import close, described
from trunkline.bridge.rate import RateLimit
from trunkline.bridge.wire_socket import Socket
from trunkline.clock import Clock
from trunkline.errors import ProtocolError
from trunkline.outcome import EndCause

__all__ = ["MediaSocketLeg", "open_media_leg"]


@asynccontextmanager
async def open_media_leg(
    socket: Socket,
    profile: MediaProfile,
    query: Mapping[str, str],
    *,
    clock: Clock,
    start_timeout_s: float = 10.0,
    max_message_bytes: int | None = None,
    max_messages_per_s: float | None = None,
) -> AsyncIterator[MediaSocketLeg]:
    """A leg over an accepted websocket, from the carrier's description of the stream to the closed socket.

    query: the handshake's parameters. The limits default to the profile's. An error of the body leaves as it is and
    ends the leg as `internal`, a cancellation as `drained`, falling off its end as `completed`.
    Raises ProtocolError when the carrier does not describe the stream within `start_timeout_s`, or hangs up before.
    """
    dialect = profile.dialect(query)
    most = max_message_bytes or profile.max_message_bytes
    rate = RateLimit(max_messages_per_s or profile.max_messages_per_s)
    try:
        early = await described(socket, profile, dialect, most=most, timeout_s=start_timeout_s)
    except ProtocolError as error:
        await close(socket, 1002, str(error), within_s=GOODBYE_S / 2)
        raise
    leg = MediaSocketLeg(socket, profile, dialect, early, clock, most, rate)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(leg.write(), name="leg.writer")
        socket.listen(leg)
        cause = EndCause.DRAINED  # if neither of the two below: cancelled
        try:
            yield leg
            cause = EndCause.COMPLETED
        except Exception as error:  # raised again below, free of the group's wrapping
            failure, cause = error, EndCause.INTERNAL
        finally:
            await leg.end(cause)
            writer.cancel()
    if failure is not None:
        raise failure
