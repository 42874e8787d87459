"""What handlers may touch, in one typed place of the application."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from trunkline.api_auth import Gate, Secrets
from trunkline.api_base import refuse
from trunkline.api_events import Hub
from trunkline.api_visitor import visitor_of
from trunkline.bridge.carrier_http import CarrierHttp, CarrierRequest
from trunkline.bridge.dialect import MediaProfile
from trunkline.calls.store import CallStore
from trunkline.calls.switchboard import Seat, Switchboard
from trunkline.clock import Clock
from trunkline.config import Settings
from trunkline.errors import AdmissionError
from trunkline.log_limited import Rarely
from trunkline.metrics import Metrics
from trunkline.peers import Alone, Peers
from trunkline.proxies import public_base, socket_base
from trunkline.service_minds import Minds

log = structlog.get_logger("trunkline.api")
Phase: TypeAlias = Literal["starting", "ready", "draining", "stopped"]


@dataclass(slots=True)
class State:
    """Where the service is in its life."""

    phase: Phase = "starting"
    shut: bool = False  # a call that was admitted earlier and starts only now comes too late
    leaving: bool = False  # other workers take the connections; answers close theirs
    reasons: dict[str, str] = field(default_factory=dict)  # why it is not ready: part → what is the matter

    @property
    def ready(self) -> bool:
        """True while new calls are taken."""
        return self.phase == "ready" and not self.reasons


class Handshakes:
    """Sockets that were admitted and whose call has not begun: a drain waits for them, too."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[Callable[[], None]]:
        """One handshake, from here until what this gives is called, at the latest to the block's end."""
        self._count += 1
        self._none.clear()
        open_ = True

        def done() -> None:
            nonlocal open_
            self._count -= open_
            open_ = False
            if not self._count:
                self._none.set()

        try:
            yield done
        finally:
            done()

    async def over(self, within_s: float) -> None:
        """Return once there are none, at the latest after `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._none.wait()


@dataclass(frozen=True, slots=True)
class SipState:
    """What this worker knows of the SIP gateway."""

    connected: bool
    listening: tuple[str, ...]  # "udp 192.0.2.1:5060"
    calls: int  # of this worker
    trunks: Mapping[str, str]  # name → up, down, registering, rejected, unchecked


@dataclass(slots=True)
class Desk:
    """The parts of one worker, as its handlers use them."""

    settings: Settings
    secrets: Secrets
    store: CallStore
    calls: Switchboard
    minds: Minds
    gate: Gate
    hub: Hub
    metrics: Metrics
    clock: Clock
    carriers: Mapping[str, MediaProfile]
    carriers_http: Mapping[str, CarrierHttp]
    state: State = field(default_factory=State)
    handshakes: Handshakes = field(default_factory=Handshakes)
    peers: Peers = field(default_factory=Alone)
    refusals: Rarely = field(default_factory=Rarely)
    sip: Callable[[], SipState] | None = None  # None: this worker has nothing to do with SIP

    def has_room(self, carrier: str, to: str = "") -> None:
        """Whether a call could be taken now; nothing is held for it. Raises AdmissionError, counted and told."""
        with self._refusing(carrier):
            self.calls.admit(carrier, to).leave()

    def admit(self, carrier: str, to: str) -> Seat:
        """Room for a call that begins now. Raises AdmissionError, counted and told."""
        with self._refusing(carrier):
            return self.calls.admit(carrier, to)

    def knock(self, carrier: str) -> Seat:
        """A place for a socket whose call has not begun. Raises AdmissionError, counted and told."""
        with self._refusing(carrier):
            return self.calls.knock(carrier)

    @contextmanager
    def _refusing(self, carrier: str) -> Iterator[None]:
        reason = "full" if self.state.ready else self.state.phase
        try:
            if not self.state.ready:
                raise AdmissionError(f"no new calls: the service is {self.state.phase}")
            yield
        except AdmissionError as no:
            self.metrics.refused(carrier, reason)
            if count := self.refusals.due(self.clock.monotonic()):
                log.warning("call.refused", carrier=carrier, reason=str(no), count=count)
            raise

    async def warm_up(self) -> None:
        """Bring up what takes seconds; afterwards new calls are taken. Raises ProviderError."""
        await self.minds.start()
        if self.state.phase == "starting":
            self.state.phase = "ready"
            self.metrics.ready(True)

    async def drain(self, limit_s: float) -> int:
        """No new calls; live ones may finish within `limit_s`, then they are cut. Returns how many were."""
        self.state.phase = "draining"
        self.metrics.ready(False)
        until = self.clock.monotonic() + limit_s
        await self.handshakes.over(limit_s)
        self.state.shut = True
        return await self.calls.drain(max(0.0, until - self.clock.monotonic()))

    def public_url(self, request: web.Request) -> str:
        """Where carriers find us: as configured, else as this request found us. No slash at the end."""
        return public_base(self.settings.server.public_url, visitor_of(request))

    def asked(
        self, request: web.Request, http: CarrierHttp, body: bytes = b"", *, calling: bool = True
    ) -> CarrierRequest:
        """A carrier's request, once it has proven to come from the carrier. calling: a call depends on it, so that its
        refusal is counted as that of a call. Raises Refused (403).

        Carriers that sign must have signed it; of the others the shared secret is asked by `Gate.webhook`.
        """
        signs = http.unsigned is not None
        url = self._addressed(request) if signs else ""
        found = CarrierRequest(request.method, url, request.headers, request.query, body)
        wrong = http.unsigned(found) if http.unsigned is not None else ""
        if wrong:
            if calling:
                self.metrics.refused(http.name, "unsigned")
            log.warning("carrier.unsigned", carrier=http.name, path=request.path, reason=wrong)
            raise refuse(403, f"This is not proven to come from {http.name}", wrong, field=http.signature, value=url,
                         allowed="the carrier's own signature of exactly this request")  # fmt: skip
        return found

    def _addressed(self, request: web.Request) -> str:
        """The URL the carrier asked for. `Host` is believed on this machine alone: anybody may write it."""
        public = self.settings.server.public_url.rstrip("/")
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if not public and visitor_of(request).relayed:
            public = visitor_of(request).base  # a trusted proxy says so, not whoever asks
        if not public and not self.gate.here(request):
            raise refuse(
                403, "Signatures cannot be checked: the public address is not known", field="server.public_url",
                allowed="[server] public_url (PUBLIC_URL): the https address at which carriers reach this service",
            )  # fmt: skip
        base = public or f"{request.scheme}://{request.host}"
        prefix = urlsplit(base).path
        if prefix and request.raw_path.startswith(prefix + "/"):
            base = base.removesuffix(prefix)
        return (socket_base(base) if socket else base) + request.raw_path


class Place:
    """Where an application finds its desk: empty before start and after stop, so that the app can exist before both."""

    desk: Desk | None = None


DESK = web.AppKey("desk", Place)
DOCUMENT = web.AppKey("document", dict[str, Any])  # OpenAPI


def desk_of(request: web.Request) -> Desk:
    """The parts that belong to this request's application. Raises Refused (503) while there are none."""
    desk = request.app[DESK].desk
    if desk is None:
        raise refuse(503, "The service is starting or has stopped", headers={"Retry-After": "5"})
    return desk
