"""What a worker answers other workers with: its desk, through the bus's narrow protocol."""

from pathlib import Path

import structlog

from trunkline.api_desk import Desk
from trunkline.calls.record import CallRecord
from trunkline.errors import StoreError
from trunkline.metrics_sum import Family
from trunkline.service_life import FOLDER

log = structlog.get_logger("trunkline.service")


class DeskLocal:
    """A desk as `bus.Local`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def record(self, call_id: str) -> CallRecord | None:
        """A live call's record so far."""
        return self._desk.calls.record(call_id)

    def hang_up(self, call_id: str) -> bool:
        """End a live call."""
        return self._desk.calls.hang_up(call_id)

    async def say(self, call_id: str, text: str) -> bool:
        """Say something in a live call."""
        return await self._desk.calls.say(call_id, text)

    def transfer(self, call_id: str, target: str, brief: str | None) -> str | None:
        """Hand a live call's caller on."""
        return self._desk.calls.transfer(call_id, target, brief)

    def send_digits(self, call_id: str, keys: str) -> str | None:
        """Send keys in a live call."""
        return self._desk.calls.send_digits(call_id, keys)

    def figures(self) -> list[Family]:
        """Our figures."""
        return self._desk.metrics.families()

    def deliver(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """Another worker's event, for our spectators."""
        self._desk.hub.deliver(tenant, call_id, kind, data)

    async def bury(self, worker: str) -> bool:
        """Close a dead worker's calls."""
        try:
            calls = await self._desk.store.abandon(worker)
        except StoreError as wrong:  # its sign stays, and whoever starts next tries again
            log.error("worker.not_buried", dead=worker, error=str(wrong))
            return False
        log.warning("worker.found_dead", dead=worker, calls_closed=calls)
        sign = Path(self._desk.settings.server.data_dir) / FOLDER / worker
        sign.unlink(missing_ok=True)
        return True
