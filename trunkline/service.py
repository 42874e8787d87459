"""The composition root: settings → parts → a running worker. Nobody imports it but `__main__`, the CLI and embedders.

A worker is a plain async service. Its listeners may be handed in (a supervisor opens them once and its children
inherit them), or it binds `[server] host, port` itself. An aiohttp user mounts `service.app` instead.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from trunkline import RUNS
from trunkline.ai.session import AiProvider
from trunkline.ai.tools import Tool
from trunkline.api import build_app
from trunkline.api_desk import DESK, Desk
from trunkline.api_ops import metrics_app
from trunkline.audiosocket_calls import AudioSocketCalls
from trunkline.calls.store import CallStore
from trunkline.clock import Clock, SystemClock
from trunkline.config import Settings
from trunkline.door import Door
from trunkline.errors import UsageError
from trunkline.http_connection import connections, retire
from trunkline.listeners import listen, listen_at, url_of
from trunkline.service_parts import Crew, Given, OnEvent, open_desk
from trunkline.sip_calls import SipCalls
from trunkline.tls import Certificate, kept_fresh

GOODBYE_S = 5.0  # handlers that still run after the calls are over get this long
SETTLE_S = 2.0  # who connected just before we stepped aside has sent its first request by then, TLS included
log = structlog.get_logger("trunkline.service")


class Service:
    """One worker: `async with Service(settings)` serves until it is left, `service.app` can be mounted instead.

    tools: join the built-in ones, and replace those of the same name. routes: aiohttp routes served beside ours.
    on_event: called with the call's id and each of its events; must return at once.
    provider, store, clock: in place of what the settings say; a provider and a store given stay the giver's to close.
    sockets: listening sockets, already bound; without them `[server] host, port` is bound. Raises ConfigError.
    crew: given by a supervisor to a worker that is one of several.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tools: Iterable[Tool] = (),
        routes: Iterable[web.AbstractRouteDef] = (),
        on_event: OnEvent | None = None,
        provider: AiProvider | None = None,
        store: CallStore | None = None,
        clock: Clock | None = None,
        sockets: Sequence[socket.socket] | None = None,
        crew: Crew | None = None,
    ) -> None:
        self.settings = settings
        self._given = Given(tuple(tools), on_event, provider, store, clock or SystemClock(), crew)
        self._sockets = sockets
        self._runner: web.AppRunner | None = None
        self._doors: list[Door] = []
        self._stack = AsyncExitStack()
        self._addresses: list[str] = []
        self._certificate: Certificate | None = None
        self._look_again: Callable[[], None] | None = None
        self._sip: SipCalls | None = None
        self.audiosocket = ""  # audiosocket://host:port, where we listen for Asterisk
        self.app = build_app(settings, routes)
        self.app.cleanup_ctx.append(self._parts)
        self.app.cleanup_ctx.append(self._tls)
        self.app.on_shutdown.append(self._shut)

    async def __aenter__(self) -> Self:
        """Listen, then bring up the agents' minds; returns when new calls are taken."""
        server = self.settings.server
        self._certificate = Certificate(server.tls_cert, server.tls_key) if server.tls_cert else None
        sockets = self._sockets if self._sockets is not None else listen(server.host, server.port)
        self._runner = web.AppRunner(
            self.app,
            handle_signals=False,
            access_log=None,
            shutdown_timeout=GOODBYE_S,
            auto_decompress=False,  # nobody who talks to us compresses, and a small body stays small
        )
        try:
            self._stack.push_async_callback(self._runner.cleanup)
            await self._runner.setup()
            crew = self._given.crew
            self._addresses = [url_of(one, "https" if self._certificate else "http") for one in sockets]
            await self._open_door(_http(self._runner), sockets, self._certificate)
            await self._listen_for_metrics(crew)
            await self._listen_for_audiosocket(crew)
            await self.desk.warm_up()
            if crew is not None and crew.sip_socket:
                self._sip = await self._stack.enter_async_context(SipCalls(self.desk, crew.sip_socket, crew.name))
            log.info("service.ready", addresses=self._addresses, agent=self.desk.minds.told(), runs=RUNS)
        except BaseException:
            await self._stack.aclose()
            for one in sockets:
                one.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut what is still live, close everything; leaves no task, socket or process behind."""
        await self._stack.aclose()

    async def _open_door(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        sockets: Sequence[socket.socket],
        certificate: Certificate | None = None,
    ) -> None:
        crew = self._given.crew
        tls = certificate.context if certificate else None
        if crew is None:
            door = Door(protocol, sockets, tls=tls)
        else:
            door = Door(protocol, sockets, step_back=crew.place.busier, arrived=crew.place.arrived, tls=tls)
        self._doors.append(await self._stack.enter_async_context(door))

    @property
    def desk(self) -> Desk:
        """The open parts. Raises UsageError before start and after stop."""
        desk = self.app[DESK].desk
        if desk is None:
            raise UsageError("the service is not running")
        return desk

    @property
    def url(self) -> str:
        """`http://host:port` of the first listener; https:// where the service speaks TLS itself."""
        return self._addresses[0]

    @property
    def addresses(self) -> Sequence[str]:
        """The same of every listener."""
        return tuple(self._addresses)

    @property
    def active(self) -> int:
        """Calls that are live."""
        return self.desk.calls.active

    @property
    def ready(self) -> bool:
        """True while new calls are taken."""
        return self.desk.state.ready

    async def drain(self, limit_s: float | None = None) -> None:
        """Take no new calls; live ones may finish within `limit_s` (default: [server] drain_s), then they are cut.

        `/ready` says 503 from now on; the listeners stay, so that it can be asked. Idempotent; a later, shorter
        limit wins.
        """
        limit_s = self.settings.server.drain_s if limit_s is None else limit_s
        if self._sip is not None:
            self._sip.close_door()
        log.info("service.draining", live_calls=self.active, limit_s=limit_s)
        cut = await self.desk.drain(limit_s)
        log.info("service.drained", calls_cut=cut)

    async def step_aside(self) -> None:
        """Take no more connections: others do. Who is connected is served; returns when nobody can be hurt by `drain`.

        Answers say `Connection: close` from now on, and idle connections are closed in the end.
        """
        self.desk.state.leaving = True
        for door in self._doors:
            door.shut()
        if self._sip is not None:
            self._sip.close_door()
        await asyncio.sleep(SETTLE_S)
        if self._runner is not None and self._runner.server is not None:
            retire(self._runner.server)

    async def _parts(self, app: web.Application) -> AsyncIterator[None]:
        """The application's resources, whoever runs it: a mounted one brings its minds up by itself."""
        async with open_desk(self.settings, self._given) as desk:
            app[DESK].desk = desk
            if self._runner is None:
                await desk.warm_up()
            try:
                yield
            finally:
                desk.state.phase = "stopped"
        app[DESK].desk = None

    async def _tls(self, app: web.Application) -> AsyncIterator[None]:
        """Watches the certificate's files while we listen with them."""
        desk, certificate = self.desk, self._certificate
        if certificate is None:
            yield
            return
        certificate.complain(desk.clock.utcnow())
        desk.metrics.watch(
            "tls_certificate_left_seconds",
            "Until the certificate expires.",
            lambda: certificate.facts.left_s(desk.clock.utcnow()),
        )
        desk.metrics.watch("tls_certificates_refused", "Renewals that could not be used.", lambda: certificate.refused)
        async with kept_fresh(certificate) as self._look_again:
            yield

    def renew_certificate(self) -> None:
        """Read the TLS files again now (SIGHUP); they are looked at every few seconds anyway. Live calls go on."""
        if self._look_again is not None:
            self._look_again()

    async def _shut(self, app: web.Application) -> None:
        """Before aiohttp waits for handlers: end calls and event streams, so that there is nothing to wait for."""
        if (desk := app[DESK].desk) is not None:
            await desk.drain(0)
            desk.hub.close()

    async def _listen_for_metrics(self, crew: Crew | None) -> None:
        """`/metrics` on an address of its own, when one is configured."""
        sockets = listen_at(self.settings.server.metrics_bind) if crew is None else crew.metrics_listeners
        if not sockets:
            return
        runner = web.AppRunner(metrics_app(self.app[DESK]), handle_signals=False, access_log=None)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await self._open_door(_http(runner), sockets)

    async def _listen_for_audiosocket(self, crew: Crew | None) -> None:
        """Asterisk's own protocol, when an address is configured for it."""
        sockets = listen_at(self.settings.audiosocket.listen) if crew is None else crew.audiosocket_listeners
        if not sockets:
            return
        calls = await self._stack.enter_async_context(AudioSocketCalls(self.desk))
        await self._open_door(calls.protocol, sockets)
        self.audiosocket = url_of(sockets[0], "audiosocket")
        log.info("audiosocket.listening", address=self.audiosocket)


def _http(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    if runner.server is None:
        raise UsageError("the application was not set up")
    return connections(runner.server)
