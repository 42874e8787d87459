"""`python -m trunkline worker`: one worker, started by the supervisor, to whom the other end of `--link` belongs.

When that end closes the supervisor is dead: nobody else listens for us then, so the worker takes no more connections,
lets its calls finish and ends. No orphan stays behind.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.ai.offline.recogniser import CALLS_PER_PROCESS, default_processes
from trunkline.bus import Bus
from trunkline.cli_service import all_secrets, loop_factory, settle_garbage
from trunkline.config import Settings
from trunkline.errors import ConfigError, TrunklineError, UsageError
from trunkline.log import set_up
from trunkline.node_board import NodeBoard, Phase, Place
from trunkline.service import Service
from trunkline.service_minds import Minds
from trunkline.service_parts import Crew

SETUP_S = 10.0
log = structlog.get_logger("trunkline.worker")


def work(link_fd: int) -> int:
    """Serve until told to go; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor tells us what it means
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_work(link_fd))


async def _work(link_fd: int) -> int:
    link = await wire.Link.over(_inherited(link_fd))
    setup = await _setup(link)
    settings = setup.settings
    set_up(settings.log.level, settings.log.format, settings.log.file, secrets=all_secrets(settings, os.environ))
    structlog.contextvars.bind_contextvars(worker=setup.name)
    try:
        await _serve(link, setup)
    except (TrunklineError, OSError) as wrong:
        code = 2 if isinstance(wrong, ConfigError) else 1
        link.send(wire.Failed(str(wrong), code))
        return code
    finally:
        await link.close()
    return 0


async def _setup(link: wire.Link) -> wire.Setup:
    async with asyncio.timeout(SETUP_S):
        first = await link.receive()
    if not isinstance(first, wire.Setup):
        raise UsageError("a worker is started by `trunkline serve`, not by hand")
    return first


def _inherited(number: int) -> socket.socket:
    try:
        return socket.socket(fileno=number)
    except OSError as wrong:
        raise UsageError("--link: a worker is started by `trunkline serve`, not by hand") from wrong


def _listeners(numbers: Sequence[int]) -> list[socket.socket]:
    return [_inherited(number) for number in numbers]


async def _serve(link: wire.Link, setup: wire.Setup) -> None:
    limits = node_limits(setup.settings)
    place = Place(NodeBoard(setup.board), setup.row, setup.settings.limits.max_calls, limits)
    bus = Bus(link, setup.name, place)
    metrics, audiosocket = _listeners(setup.metrics_listeners), _listeners(setup.audiosocket_listeners)
    crew = Crew(setup.name, place, bus, metrics, audiosocket, setup.sip_socket)
    sigterm = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sigterm.set)
    async with bus.running(), Service(_shared(setup), sockets=_listeners(setup.listeners), crew=crew) as service:
        settle_garbage()
        place.phase(Phase.READY)
        bus.ready(_told(service.desk.minds, limits), await service.desk.gate.open_here())
        await _until_drained(service, bus, place, sigterm)
        bus.farewell(service.desk.metrics.families())
        await link.flushed()


def node_limits(settings: Settings) -> dict[str, int]:
    """Calls at once by profile that all workers carry together, those included that a rolling restart replaces."""
    offline, gemini = settings.ai.offline, settings.ai.gemini
    limits = {"offline": offline.capacity or CALLS_PER_PROCESS * (offline.recognisers or default_processes())}
    return limits | ({"gemini": gemini.capacity} if gemini.capacity else {})


def _shared(setup: wire.Setup) -> Settings:
    """The settings with this worker's share of the recogniser processes, and what those carry.

    The shares of calls may sum to more than the machine carries, since each worker has one process at least: what holds
    is `node_limits`, counted on the board."""
    settings, offline = setup.settings, setup.settings.ai.offline
    if setup.workers < 2:
        return settings
    processes = offline.recognisers or default_processes()
    mine = max(1, _share(processes, setup))
    capacity = min(offline.capacity, mine * -(-offline.capacity // processes))  # 0: as measured per process
    offline = msgspec.structs.replace(offline, recognisers=mine, capacity=capacity)
    return msgspec.structs.replace(settings, ai=msgspec.structs.replace(settings.ai, offline=offline))


def _share(whole: int, setup: wire.Setup) -> int:
    """Shares of all posts sum to the whole."""
    return (whole + setup.workers - min(setup.post, setup.workers)) // setup.workers


def _told(minds: Minds, limits: Mapping[str, int]) -> str:
    """Who answers, for the banner; with the node's limit, which may be another than ours."""
    provider, most = minds.providers[minds.default], limits.get(minds.default)
    if most is None or most == provider.capacity:
        return minds.told()
    return f"{minds.told()} per worker, {most} in all"


async def _until_drained(service: Service, bus: Bus, place: Place, sigterm: asyncio.Event) -> None:
    """Orders come until the calls are over; a later one with a shorter limit wins."""
    async with asyncio.TaskGroup() as group:
        drained = None
        orders = group.create_task(_orders(bus, service.settings, sigterm), name="worker.order")
        while drained is None or not drained.done():
            waiting = {orders} if drained is None else {orders, drained}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if orders.done():
                order = orders.result()
                drained = group.create_task(_drain(service, place, order), name="worker.drain")
                orders = group.create_task(_orders(bus, service.settings, sigterm), name="worker.order")
        orders.cancel()


async def _orders(bus: Bus, settings: Settings, sigterm: asyncio.Event) -> wire.Drain:
    """The next order: the supervisor's, or what follows from its death or from a SIGTERM to all of us."""
    own = wire.Drain(settings.server.drain_s)
    async with asyncio.TaskGroup() as group:
        told = group.create_task(bus.orders.get())
        lost = group.create_task(bus.lost.wait())
        termed = group.create_task(sigterm.wait())
        await asyncio.wait({told, lost, termed}, return_when=asyncio.FIRST_COMPLETED)
        for task in (told, lost, termed):
            task.cancel()
        if told.done() and not told.cancelled():
            return told.result()
    if bus.lost.is_set():
        bus.lost.clear()
        log.error("supervisor.lost", hint="this worker takes no more connections and ends after its calls")
        return wire.Drain(settings.server.drain_s, aside=True)
    sigterm.clear()
    return own


async def _drain(service: Service, place: Place, order: wire.Drain) -> None:
    if order.aside:
        place.phase(Phase.LEAVING)
        await service.step_aside()
    else:
        place.phase(Phase.DRAINING)
    with suppress(asyncio.CancelledError):
        await service.drain(order.limit_s)
