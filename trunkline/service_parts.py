"""The parts of a worker, opened in order and closed in reverse: store, agents' minds, switchboard, desk."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from trunkline.ai.business import load_business
from trunkline.ai.session import AiProvider
from trunkline.ai.toolbox import toolbox
from trunkline.ai.tools import TOOLS, Tool
from trunkline.api_auth import Gate, Secrets, Tickets, load_secrets
from trunkline.api_desk import Desk
from trunkline.api_events import Hub
from trunkline.bridge.carriers import carriers, carriers_http
from trunkline.bridge.targets import usual_target
from trunkline.bus import Bus
from trunkline.calls.events import CallEvent, Observer
from trunkline.calls.retention import Forgetful, Retention
from trunkline.calls.sentences import Phrases
from trunkline.calls.store import CallStore
from trunkline.calls.store_sql import open_store
from trunkline.calls.switchboard import Switchboard
from trunkline.clock import Clock, SystemClock
from trunkline.config import Settings
from trunkline.config_load import Configuration, database_url, is_loopback, require_safe_bind
from trunkline.crew_local import DeskLocal
from trunkline.errors import ConfigError
from trunkline.keys import Keyring
from trunkline.metrics import Metrics
from trunkline.node_board import Place
from trunkline.peers import Alone, Peers
from trunkline.service_life import alive
from trunkline.service_minds import Minds, choose_minds
from trunkline.service_sentences import prepare

OnEvent = Callable[[str, CallEvent], None]
log = structlog.get_logger("trunkline.service")


@dataclass(frozen=True, slots=True)
class Crew:
    """What a supervisor gives to a worker that is one of several."""

    name: str
    place: Place  # on the node's board
    bus: Bus
    metrics_listeners: Sequence[socket.socket] = ()
    audiosocket_listeners: Sequence[socket.socket] = ()
    sip_socket: str = ""  # path of the SIP gateway's; "": there is none


@dataclass(frozen=True, slots=True)
class Given:
    """What an embedder hands in, in place of or beside what the settings say."""

    tools: Sequence[Tool] = ()
    on_event: OnEvent | None = None
    provider: AiProvider | None = None  # answers every call
    store: CallStore | None = None
    clock: Clock = field(default_factory=SystemClock)
    crew: Crew | None = None


class Told:
    """An embedder's `on_event` as an observer: what it raises is logged once and never reaches a call."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._complained = False

    def notify(self, call_id: str, event: CallEvent) -> None:
        """Hand the event over."""
        try:
            self._on_event(call_id, event)
        except Exception:  # the embedder's code, in our calls
            if not self._complained:
                self._complained = True
                log.exception("on_event.failed", hint="logged once; later failures are not shown")


@asynccontextmanager
async def open_desk(settings: Settings, given: Given) -> AsyncIterator[Desk]:
    """Everything but the listeners and the providers' start. Raises ConfigError, StoreError."""
    data_dir = _data_dir(settings)
    carrier_secrets = _secrets(settings, data_dir)
    async with AsyncExitStack() as stack:
        store = await _store(settings, given, stack)
        keyring = Keyring(store, given.clock)
        require_safe_bind(Configuration(settings, {"server.host": "as asked for"}), has_keys=await keyring.any())
        crew = given.crew
        worker = worker_name() if crew is None else crew.name
        await stack.enter_async_context(alive(data_dir, worker, store))
        minds = choose_minds(settings, given.clock, given.provider)
        stack.push_async_callback(minds.close)
        metrics = Metrics()
        peers: Peers = Alone(worker) if crew is None else crew.bus
        hub = Hub(lambda call_id: _tenant(board, call_id), metrics.spectator_lost, peers)
        observers: list[Observer] = [metrics, hub]
        if given.on_event is not None:
            observers.append(Told(given.on_event))
        phrases = await prepare(settings)
        board = _switchboard(settings, given, store, minds, observers, worker, phrases)
        gate = _gate(settings, keyring, carrier_secrets, given.clock)
        desk = Desk(
            settings=settings, secrets=carrier_secrets, store=store, calls=board, minds=minds, gate=gate, hub=hub,
            metrics=metrics, clock=given.clock, carriers=carriers(settings.carriers),
            carriers_http=carriers_http(settings.carriers), peers=peers,
        )  # fmt: skip
        _watch(desk)
        await stack.enter_async_context(_running(metrics.measure_lag(), "service.lag"))
        await _forgetting(desk, stack)
        if crew is not None:
            crew.bus.attach(DeskLocal(desk))
            stack.callback(crew.bus.attach, None)
        yield desk


async def _store(settings: Settings, given: Given, stack: AsyncExitStack) -> CallStore:
    if given.store is not None:
        return given.store
    return await stack.enter_async_context(open_store(database_url(settings), clock=given.clock))


def _switchboard(
    settings: Settings,
    given: Given,
    store: CallStore,
    minds: Minds,
    observers: Sequence[Observer],
    worker: str,
    phrases: Mapping[str, Phrases],
) -> Switchboard:
    data_dir = Path(settings.server.data_dir)
    business = load_business(settings.ai.offline.business or None, data_dir=data_dir)
    transfer_to = settings.sip.allow_transfer_to
    extra = dict(TOOLS) | {tool.name: tool for tool in given.tools}
    return Switchboard(
        limits=settings.limits,
        agents=settings.agents,
        providers=minds.providers,
        store=store,
        clock=given.clock,
        routes=settings.route,
        default_agent=settings.default_agent,
        default_profile=minds.default,
        tools=toolbox(business, store, transfer_to=usual_target(transfer_to), extra=extra),
        observers=observers,
        worker=worker,
        data_dir=data_dir,
        room=given.crew.place if given.crew is not None else None,
        failure=settings.failure,
        phrases=phrases,
        transfer_to=transfer_to,
    )


def _gate(settings: Settings, keyring: Keyring, carrier_secrets: Secrets, clock: Clock) -> Gate:
    def now() -> float:
        return clock.utcnow().timestamp()

    return Gate(
        keyring,
        Tickets(carrier_secrets.ticket_key, settings.auth.ticket_ttl_s, now),
        carrier_secrets,
        clock,
        on_loopback=is_loopback(settings.server.host),
        unauthenticated=settings.auth.allow_unauthenticated,
        origins=settings.server.cors_origins,
    )


def _watch(desk: Desk) -> None:
    """Gauges that are read when somebody asks."""
    desk.metrics.watch("calls_limit", "Calls at once that are admitted.", lambda: desk.settings.limits.max_calls)
    desk.metrics.watch("event_streams_open", "Readers of /events.", lambda: desk.hub.spectators)
    desk.metrics.watch("tasks_running", "Tasks of the event loop.", lambda: len(asyncio.all_tasks()))


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Owns a task of the worker's own. No TaskGroup: an application may be stopped by another task than started it."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _forgetting(desk: Desk, stack: AsyncExitStack) -> None:
    keep_days = desk.settings.privacy.keep_transcripts_days
    if not keep_days or not isinstance(desk.store, Forgetful):
        return
    retention = Retention(desk.store, desk.clock, keep_days)
    told = retention.counters
    desk.metrics.watch("calls_forgotten", "Calls whose words became too old.", lambda: told["calls_forgotten"])
    desk.metrics.watch("retention_failures", "Hours without forgetting.", lambda: told["retention_failed"])
    await stack.enter_async_context(_running(retention.run(), "service.retention"))


def _tenant(board: Switchboard, call_id: str) -> str | None:
    record = board.record(call_id)
    return record.tenant if record else None


def _data_dir(settings: Settings) -> Path:
    folder = Path(settings.server.data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise _no_data_dir(folder, wrong) from wrong
    return folder


def _secrets(settings: Settings, data_dir: Path) -> Secrets:
    auth = settings.auth
    try:
        return load_secrets(data_dir, media_token=auth.media_token, webhook_secret=auth.webhook_secret)
    except OSError as wrong:
        raise _no_data_dir(data_dir, wrong) from wrong


def _no_data_dir(folder: Path, wrong: OSError) -> ConfigError:
    return ConfigError(
        f"server.data_dir = {str(folder)!r}: cannot be used ({wrong.strerror}); choose another: --data-dir, DATA_DIR"
    )


def worker_name() -> str:
    """Who we are in a call's row: unlike that of any other worker, and of our own earlier lives."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
