"""A real leg over a socket in memory, for whoever needs a far end that talks back in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from tests.fakes.smartflo import FakeSmartflo
from tests.fakes.twilio import FakeTwilio
from tests.virtual_time import clock
from trunkline.bridge.carriers import CARRIERS, carriers
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.config import Carriers, Smartflo


@asynccontextmanager
async def smartflo_leg(
    clear: Literal["honoured", "late", "ignored"] = "honoured",
    *,
    echoes: bool = True,
    dids: tuple[str, ...] = (),
    query: dict[str, str] | None = None,
    **start: Any,
) -> AsyncIterator[tuple[MediaSocketLeg, FakeSmartflo]]:
    """A leg that is up, and the platform at its other end. start: replaced fields of the `start` message."""
    linear = str(start.get("mediaFormat", {}).get("encoding", "mulaw")) in ("slin", "audio/x-l16")
    rate = int(start.get("mediaFormat", {}).get("sampleRate", 8000))
    far = FakeSmartflo(clear, echoes=echoes, rate=rate * 2 if linear else rate)
    far.connect(**start)
    profile = carriers(Carriers(smartflo=Smartflo(dids=dids)))["smartflo"]
    async with open_media_leg(far.socket, profile, query or {}, clock=clock()) as leg:
        yield leg, far


@asynccontextmanager
async def twilio_leg(
    clear: Literal["honoured", "late", "ignored"] = "honoured", *, echoes: bool = True
) -> AsyncIterator[tuple[MediaSocketLeg, FakeTwilio]]:
    """The same for Twilio."""
    far = FakeTwilio(clear, echoes=echoes)
    far.connect()
    async with open_media_leg(far.socket, CARRIERS["twilio"], {}, clock=clock()) as leg:
        yield leg, far
