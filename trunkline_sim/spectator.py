"""The service's own account of a call, where it can be had: its event stream and its timeline, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

_TRANSIENT = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
_JOIN_S = 2.0  # for the event stream to be there
_LINGER_S = 2.0  # for the call's last events after its end


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the service, whatever its kind: the fields of `trunkline.calls.events` that we use."""

    event: str
    call_id: str = ""
    at_s: float = 0.0
    turn: int = -1
    reply: str = ""
    text: str = ""
    final: bool = True
    confidence: float | None = None
    key: str = ""
    heard_s: float = 0.0
    heard_text: str = ""
    interrupted: bool = False
    began_s: float = 0.0
    dropped_s: float = 0.0
    stop_ms: float = 0.0
    name: str = ""
    ok: bool = True
    took_ms: float = 0.0
    summary: str = ""
    kind: str = ""
    detail: str = ""
    cause: str = ""
    response_s: float = 0.0
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)
    from_: str = msgspec.field(name="from", default="")


class ServiceTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What we use of a turn of `GET /calls/{id}/timeline`."""

    turn: int
    caller_text: str = ""
    agent_text: str = ""
    heard_text: str = ""
    response_s: float | None = None
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)


class ServiceTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """What we use of the timeline."""

    turns: tuple[ServiceTurn, ...] = ()
    outcome: str = ""


def http_base(url: str) -> str:
    """The service's HTTP address, from that of its media socket: ws://host:1/x → http://host:1"""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc.rpartition("@")[2], "", "", ""))


class Spectator:
    """Follows one call, recognised by its caller's number. Everything here may be missing: a call needs none of it."""

    def __init__(
        self, base: str, number: str, *, key: str = "", on_event: Callable[[Told], None] | None = None
    ) -> None:
        self.events: list[Told] = []
        self.call_id = ""
        self.reachable = False
        self.joined = asyncio.Event()  # the stream is there, or will not be
        self.over = asyncio.Event()  # the call's last event came, or none will
        self._began = float("inf")  # second 0 of the service's account, by the loop's clock, or a little later
        self._base = base
        self._number = _digits(number)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._on_event = on_event

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follow the event stream while the block runs; network trouble here never disturbs it."""
        watch = asyncio.create_task(self._watch(), name="sim.watch")
        try:
            await _within(self.joined, _JOIN_S)
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        try:
            async with aiohttp.ClientSession(headers=self._headers) as session:
                await self._read(session)
        except _TRANSIENT:
            pass  # no spectator: `reachable` tells, the call goes on
        finally:
            self.joined.set()
            self.over.set()

    def events_since(self, zero: float) -> list[Told]:
        """The call's events in the platform's seconds; `zero`: the loop's time at which these began.

        The service counts from when it took the call up, which on a busy machine is tenths of a second after the
        platform began. No event is put before what caused it: no news arrives earlier than it happened, and the
        quickest of them all tells by how much the two counts differ.
        """
        late_s = self._began - zero if self.events else 0.0
        return [msgspec.structs.replace(e, at_s=e.at_s + late_s, began_s=e.began_s + late_s) for e in self.events]

    async def last(self) -> None:
        """Wait for the call's last event, within reason."""
        if self.call_id:
            await _within(self.over, _LINGER_S)

    async def timeline(self) -> ServiceTimeline | None:
        """The service's timeline of the call, or None."""
        if not self.call_id:
            return None
        limit = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=limit) as session,
                session.get(f"{self._base}/calls/{self.call_id}/timeline") as response,
            ):
                if response.status != 200:
                    return None
                return msgspec.json.decode(await response.read(), type=ServiceTimeline)
        except (*_TRANSIENT, msgspec.MsgspecError):
            return None

    async def _read(self, session: aiohttp.ClientSession) -> None:
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_JOIN_S)
        async with session.get(f"{self._base}/events", timeout=limit) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                return
            self.reachable = True
            self.joined.set()
            async for told in _events(response):
                if self._take(told) and told.event == "call_ended":
                    return

    def _take(self, told: Told) -> bool:
        if told.event == "call_started" and not self.call_id and _digits(told.from_) == self._number:
            self.call_id = told.call_id
        if not self.call_id or told.call_id != self.call_id:
            return False
        self.events.append(told)
        self._began = min(self._began, asyncio.get_running_loop().time() - told.at_s)
        if self._on_event is not None:
            self._on_event(told)
        return True


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Told]:
    async for line in response.content:
        if line.startswith(b"data:"):
            try:
                yield msgspec.json.decode(line[5:], type=Told)
            except msgspec.MsgspecError:
                continue  # an event of a later version: not for us


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _digits(number: str) -> str:
    return "".join(filter(str.isdigit, number))[-10:]
