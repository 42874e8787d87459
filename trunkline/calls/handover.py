"""How a caller gets to a person: by the far end's own doing (REFER), else by a second line of ours that is joined.

A second line is also what a warm transfer begins with: the person there hears first what it is about. Meanwhile the
caller hears ringing whenever the agent says nothing. Nobody there, or no wish to take it: the caller was never away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from trunkline.bridge.leg import Answered, CallLeg, Ended
from trunkline.bridge.telephony import TelephonyLeg, Transferred
from trunkline.calls.control import Transfer
from trunkline.clock import Clock
from trunkline.errors import AdmissionError, CarrierError
from trunkline.outcome import EndCause

RING_EVERY_S: Final = 4.0
Brief = Callable[[CallLeg, str], Awaitable[str]]
"""Tells a person on a second line what it is about. "": they take the call; else why not."""


@dataclass(frozen=True, slots=True)
class TransferOver:
    """A transfer was done, or not."""

    result: Transferred
    sorry: bool = False  # the caller is told if it was not


class Handover:
    """One transfer."""

    def __init__(self, leg: TelephonyLeg, ring: Callable[[], object], brief: Brief | None, clock: Clock) -> None:
        """ring: lets the caller hear that it rings."""
        self._leg = leg
        self._ring = ring
        self._brief = brief
        self._clock = clock
        self.by_ourselves = False  # the far end is not at work on it

    async def run(self, transfer: Transfer) -> Transferred:
        """Until the caller is there, or cannot be. A cancellation hangs up the second line."""
        if transfer.brief is None:
            result = await self._leg.transfer(transfer.target)
            if not result.refused:
                return result
        self.by_ourselves = True
        ringing = asyncio.create_task(self._ringing(), name="ringback")
        try:
            return await self._joined(transfer)
        finally:
            ringing.cancel()

    async def _joined(self, transfer: Transfer) -> Transferred:
        try:
            other = await self._leg.place(transfer.target)
        except (AdmissionError, CarrierError) as error:
            return Transferred(False, reason=str(error))
        result = Transferred(False)
        try:
            result = await self._reached(other, transfer.brief) or await self._leg.join(other)
            return result
        finally:
            if not result.joined:
                await other.end(EndCause.CANCELED)

    async def _reached(self, other: CallLeg, brief: str | None) -> Transferred | None:
        """None: somebody is there, and takes the call."""
        if brief is not None and self._brief is not None:
            why = await self._brief(other, brief)
            return Transferred(False, reason=why) if why else None
        async for event in other.events():
            if isinstance(event, Answered):
                return None
            if isinstance(event, Ended):
                return Transferred(False, reason=event.outcome.code or str(event.outcome.cause))
        return Transferred(False, reason="the second line is gone")

    async def _ringing(self) -> None:
        while True:
            self._ring()
            await self._clock.sleep_until(self._clock.monotonic() + RING_EVERY_S)
