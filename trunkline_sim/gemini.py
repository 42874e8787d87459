"""Gemini Live in a box: a TLS websocket server that the real google-genai SDK takes for Google's.

    async with GeminiSim({"what are your opening hours": Voices().say("what are your opening hours")}) as gemini:
        client = genai.Client(api_key="any", http_options={"base_url": gemini.url, …})   # and gemini.ca_file

The behaviour is in `gemini_session` (pure); here are the door, the sockets and the clock. What happened stands in
`sessions`; a running one is disturbed by `do`. Other processes use the same over HTTP: `/_sim/…` (docs/simulators.md).
"""

import asyncio
import re
import socket
import ssl
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from trunkline_sim.certs import Certificates, make_certificates
from trunkline_sim.errors import SimError
from trunkline_sim.gemini_bench import serve_bench
from trunkline_sim.gemini_control import control_routes
from trunkline_sim.gemini_ear import Demand, Recordings
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import PRESETS, Fault, Scenario, with_changes
from trunkline_sim.gemini_session import Session
from trunkline_sim.gemini_stage import Close, Freeze, Memories, Reset, Send

_PATH = re.compile(
    r"^/+(?:(?P<name>(?!ws/)[^/]+)/+)?(?:[^/]+/+)*?ws/(?:"
    r"google\.ai\.generativelanguage\.(?P<version>v1|v1beta|v1alpha)\.GenerativeService\.BidiGenerateContent(?:Constrained)?"
    r"|google\.cloud\.aiplatform\.(?P<vertex>v1|v1beta1)\.LlmBidiService/BidiGenerateContent)$"
)
_STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
_MOST_SESSIONS = 2000
_SEND_S = 20.0  # a client that reads nothing for so long is cut
_BAD_KEY = "API key not valid. Please pass a valid API key."


class GeminiSim:
    """The server. `url` and `ca_file` once entered; `sessions` holds the log of each connection, oldest first."""

    def __init__(
        self,
        recordings: Mapping[str, bytes] | None = None,
        scenario: Scenario | None = None,
        scenarios: Mapping[str, Scenario] | None = None,
        *,
        demand: Demand | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.recordings = Recordings(dict(recordings or {}), demand or Demand())
        self.scenarios: dict[str, Scenario] = {**PRESETS, **(scenarios or {})}
        if scenario is not None:
            self.scenarios["default"] = scenario
        self.sessions: list[SessionLog] = []
        self.refused: Counter[int] = Counter()  # upgrades, by HTTP status
        self.stopping = asyncio.Event()
        self._live: dict[int, _Connection] = {}
        self._memories = Memories()
        self._numbers: Counter[str] = Counter()
        self._total = 0
        self._host, self._port = host, port
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._runner: web.AppRunner | None = None
        self._certificates: Certificates | None = None

    async def __aenter__(self) -> "GeminiSim":
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="trunkline-gemini-")
        self._certificates = make_certificates(self._folder or Path(self._temporary.name if self._temporary else "."))
        app = web.Application(client_max_size=16 << 20)
        app.add_routes(control_routes(self))
        app.router.add_get("/{path:.*}", self._door)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._certificates.server_context())
        try:
            await site.start()
        except OSError as wrong:
            await self._runner.cleanup()
            raise SimError(f"cannot listen on {self._host}:{self._port}: {wrong.strerror}") from wrong
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping.set()
        for connection in list(self._live.values()):
            connection.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def url(self) -> str:
        """For the SDK's base_url; append `/NAME` for a scenario."""
        return f"https://{self._host}:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The authority that a client has to trust, PEM."""
        return self._made().ca_file

    def client_context(self) -> ssl.SSLContext:
        """A TLS context that trusts this server."""
        return self._made().client_context()

    def _made(self) -> Certificates:
        if self._certificates is None:
            raise SimError("the simulator is not running: use `async with`")
        return self._certificates

    def understand(self, recordings: Mapping[str, bytes]) -> None:
        """Know these callers too (text → mu-law at 8 kHz); for connections to come."""
        self.recordings = Recordings({**self.recordings.clips, **recordings}, self.recordings.demand)

    async def do(self, number: int, fault: Fault) -> None:
        """Let something go wrong now on a live connection. Raises SimError when there is none of that number."""
        connection = self._live.get(number)
        if connection is None:
            raise SimError(f"connection {number} is not open; open are: {', '.join(map(str, self._live)) or 'none'}")
        await connection.do(fault)

    async def until(self, true: Callable[[], object], within_s: float = 10.0) -> None:
        """Wait until `true()`; for tests. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110 - any condition over values, none of which tells
                await asyncio.sleep(0.01)

    async def _door(self, request: web.Request) -> web.StreamResponse:
        found = _PATH.match(request.rel_url.raw_path)
        if found is None:
            return _no(404, f"{request.path} is not served here")
        key = _key(request)
        try:
            name, scenario = self._scenario(found["name"] or "", key)
        except SimError as wrong:
            return _no(400, str(wrong))
        self._numbers[name] += 1
        status = self._status(scenario, key, self._numbers[name])
        if status:
            self.refused[status] += 1
            return _no(status, "refused by the scenario" if key else "no API key", scenario.retry_after_s)
        return await self._serve(request, (name, key, found["version"] or found["vertex"]), scenario)

    def _scenario(self, prefix: str, key: str) -> tuple[str, Scenario]:
        """By the path, then by the key (`sim:NAME:changes`), else the default."""
        words = key.split(":", 2) if key.startswith("sim:") else []
        name = prefix or (words[1] if len(words) > 1 and words[1] != "badkey" else "") or "default"
        scenario = self.scenarios.get(name)
        if scenario is None:
            raise SimError(f"scenario {name!r} is unknown; there are: {', '.join(self.scenarios)}")
        return name, with_changes(scenario, words[2]) if len(words) > 2 else scenario

    @staticmethod
    def _status(scenario: Scenario, key: str, number: int) -> int:
        if not key:
            return 401
        return scenario.http_status if not scenario.refuse_first or number <= scenario.refuse_first else 0

    async def _serve(
        self, request: web.Request, who: tuple[str, str, str], scenario: Scenario
    ) -> web.WebSocketResponse:
        name, key, version = who
        ws = web.WebSocketResponse(compress=False, max_msg_size=0, autoping=not scenario.pong_delay_s, timeout=1.0)
        await ws.prepare(request)
        log = self._new_log(name, key)
        if scenario.mode == "bench":
            await serve_bench(ws, scenario, log, version)
        elif key == "sim:badkey" or (scenario.keys and key not in scenario.keys):
            await ws.receive()
            await ws.close(code=1007, message=_BAD_KEY.encode())
        else:
            await self._talk(request, ws, scenario, log, version)
        log.open, log.close_code = False, ws.close_code
        return ws

    async def _talk(
        self, request: web.Request, ws: web.WebSocketResponse, scenario: Scenario, log: SessionLog, version: str
    ) -> None:
        number = self._numbers[log.scenario]
        session = Session(
            scenario, self.recordings, self._memories, log, version=version, connection=number, now=time.monotonic()
        )
        connection = self._live[log.number] = _Connection(request, ws, session, log, scenario.pong_delay_s)
        try:
            await connection.run(self.stopping)
        finally:
            del self._live[log.number]
            session.closed(time.monotonic())

    def _new_log(self, name: str, key: str) -> SessionLog:
        self._total += 1
        log = SessionLog(self._total, name, key)
        self.sessions.append(log)
        if len(self.sessions) > _MOST_SESSIONS:  # the oldest go; numbers tell that they did
            del self.sessions[0]
        return log


class _Connection:
    """Loops around one session: the reader, and the clock."""

    def __init__(
        self, request: web.Request, ws: web.WebSocketResponse, session: Session, log: SessionLog, pong_delay_s: float
    ) -> None:
        self._transport = request.transport
        self._ws = ws
        self._session = session
        self._log = log
        self._pong_delay_s = pong_delay_s
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._frozen = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Until either side has ended it."""
        async with asyncio.TaskGroup() as group:
            clock = group.create_task(self._keep_time(), name="gemini.clock")
            pongs: set[asyncio.Task[None]] = set()
            await self._read(group, pongs)
            if self._frozen:
                await stopping.wait()
            for task in (clock, *pongs):
                task.cancel()

    def cut(self) -> None:
        """Drop the connection with a TCP reset."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def do(self, fault: Fault) -> None:
        """Disturb it now."""
        self._session.do(fault, time.monotonic())
        await self._carry_out()

    async def _read(self, group: asyncio.TaskGroup, pongs: set["asyncio.Task[None]"]) -> None:
        async for message in self._ws:
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self._session.receive(message.data, time.monotonic())
                await self._carry_out()
            elif message.type == aiohttp.WSMsgType.PING:
                task = group.create_task(self._pong(message.data))
                pongs.add(task)
                task.add_done_callback(pongs.discard)
            if self._frozen:
                return

    async def _pong(self, data: bytes) -> None:
        await asyncio.sleep(self._pong_delay_s)
        if not self._ws.closed:
            await self._ws.pong(data)

    async def _keep_time(self) -> None:
        while True:
            self._changed.clear()
            due = self._session.next_at()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                self._session.tick(time.monotonic())
                await self._carry_out()

    async def _carry_out(self) -> None:
        """What the session wants done to the socket, in order, whoever asks."""
        self._changed.set()
        async with self._sending:
            for action in self._session.take_actions():
                try:
                    async with asyncio.timeout(_SEND_S):
                        await self._act(action)
                except (ConnectionError, TimeoutError) as wrong:  # the reader sees the same end of the socket
                    self._log.add(time.monotonic(), "note", "send_failed", type(wrong).__name__)
                    self.cut()
                    return

    async def _act(self, action: Any) -> None:
        match action:
            case Send():
                await self._ws.send_bytes(action.data)
            case Close():
                await self._ws.close(code=action.code, message=action.reason.encode()[:123])
            case Reset():
                self.cut()
            case Freeze():
                self._frozen = True
                self._session.closed(time.monotonic())
                if self._transport is not None:
                    self._transport.pause_reading()


def _key(request: web.Request) -> str:
    """The API key, wherever a client may put it; "" for none."""
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    return request.headers.get("x-goog-api-key") or request.query.get("key") or bearer


def _no(status: int, message: str, retry_after_s: float | None = None) -> web.Response:
    body = {"error": {"code": status, "message": message, "status": _STATUS.get(status, "INVALID_ARGUMENT")}}
    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
    return web.json_response(body, status=status, headers=headers)
