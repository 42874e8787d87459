"""Spectators: bounded queues, told losses, tenants kept apart."""

import msgspec
import pytest

from trunkline.api_events import MAX_SPECTATORS, QUEUE, Hub
from trunkline.calls.events import CallEnded, CallStarted, Note

STARTED = CallStarted(0.0, "inbound", "smartflo", "receptionist")
ENDED = CallEnded(1.0, "completed", "caller")


class Losses:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, count: int) -> None:
        self.count += count


def hub_of(tenants: dict[str, str], losses: Losses | None = None) -> Hub:
    return Hub(tenants.get, losses or Losses())


async def test_a_spectator_gets_its_tenants_calls_in_order() -> None:
    hub = hub_of({"c-1": "acme", "c-2": "other"})
    with hub.watch("acme") as spectator:
        for call_id in ("c-1", "c-2"):
            hub.notify(call_id, STARTED)
            hub.notify(call_id, ENDED)
        taken = await spectator.take(1.0)
    assert [kind for kind, _ in taken] == ["call_started", "call_ended"]
    assert msgspec.json.decode(taken[0][1])["call_id"] == "c-1"


async def test_one_calls_events_can_be_asked_for() -> None:
    hub = hub_of({})
    with hub.watch("default", "c-2") as spectator:
        hub.notify("c-1", Note(0.0, "x"))
        hub.notify("c-2", Note(0.0, "y"))
        taken = await spectator.take(1.0)
    assert [msgspec.json.decode(data)["call_id"] for _, data in taken] == ["c-2"]


async def test_a_slow_spectator_loses_the_oldest_and_is_told_how_many() -> None:
    losses = Losses()
    hub = hub_of({}, losses)
    with hub.watch("default") as spectator:
        for number in range(QUEUE + 7):
            hub.notify("c-1", Note(float(number), "n"))
        taken = await spectator.take(1.0)
    assert taken[0][0] == "lost"
    assert msgspec.json.decode(taken[0][1])["lost"] == 7
    assert len(taken) == QUEUE + 1
    assert msgspec.json.decode(taken[1][1])["at_s"] == 7.0
    assert losses.count == 7


async def test_nothing_to_tell_is_an_empty_take_and_closing_ends_the_stream() -> None:
    hub = hub_of({})
    with hub.watch("default") as spectator:
        assert await spectator.take(0.01) == []
        hub.notify("c-1", Note(0.0, "last"))
        hub.close()
        assert [kind for kind, _ in await spectator.take(1.0)] == ["note"]
        assert spectator.closed
    assert hub.spectators == 0


def test_there_is_an_end_to_the_number_of_spectators() -> None:
    hub = hub_of({})
    opened = [hub.watch("default") for _ in range(MAX_SPECTATORS)]
    for one in opened:
        one.__enter__()
    with pytest.raises(OverflowError), hub.watch("default"):
        pass
