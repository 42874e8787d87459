"""The SIP gateway as the supervisor holds it: one process, started again when it dies, asked for its figures.

It carries no conversation: a gateway that dies costs its calls, which its workers end and whose far ends its successor
tells, and nothing else.
"""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.bridge.sip.free_ports import said
from trunkline.config import Settings
from trunkline.errors import TrunklineError
from trunkline.metrics_sum import Family, counter, gauge, lasting, total
from trunkline.supervisor_policy import Restarts

UP_S: Final = 10.0  # the banner waits no longer for it
READY_S: Final = 60.0  # not listening by then: killed, and tried again
POLL_S: Final = 5.0
GATHER_S: Final = 1.0
HUNG: Final = 3  # figures asked for in a row and not told: killed
GOODBYE_S: Final = 6.0  # from the order to go until it is killed; BYE to all far ends included
MOST_PATH: Final = 96  # a unix socket's path has 107 bytes, and the gateway binds beside it first
MISSING: Final = "off: pjsua2 is not installed (scripts/setup.sh builds it; TRUNKLINE_SIP=off if that is wanted)"
_figures = msgspec.msgpack.Decoder(wire.Figures)
log = structlog.get_logger("trunkline.supervisor")


def why_not(settings: Settings) -> str:
    """Why there is no SIP, "" when there can be."""
    if not settings.sip.enabled:
        return "off, as asked for ([sip] enabled)"
    if not settings.sip.listen:
        return "off: [sip] listen is empty"
    return "" if importlib.util.find_spec("_pjsua2") is not None else MISSING


class RunFolder:
    """Where the gateway's socket and its journal are: DATA_DIR/run, or a private folder where that path is too long."""

    def __init__(self, data_dir: str) -> None:
        """Raises OSError."""
        self._folder = Path(data_dir).absolute() / "run"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self.journal = str(self._folder / "sip-dialogs")
        self._private = ""
        socket_path = self._folder / "sip.sock"
        if len(os.fsencode(socket_path)) > MOST_PATH:
            self._private = tempfile.mkdtemp(prefix="trunkline-")
            socket_path = Path(self._private) / "sip.sock"
        self.socket = str(socket_path)

    def close(self) -> None:
        """The private folder goes."""
        if self._private:
            rmtree(self._private, ignore_errors=True)


class GatewayKeeper:
    """`start`, later `stop`. Methods are for the supervisor's loop; `own` gives a task an owner."""

    def __init__(self, settings: Settings, folder: RunFolder, own: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._own = own
        self._process: Process | None = None
        self._link: wire.Link | None = None
        self._restarts = Restarts()
        self._stopping = asyncio.Event()
        self._up = asyncio.Event()
        self._over = asyncio.Event()
        self._now: list[Family] = []  # its figures, as last told
        self._gone: list[Family] = []  # counters of the dead
        self._begun = False
        self._starts = 0
        self._silent = 0
        self.listening: tuple[str, ...] = ()
        self.failed = ""  # why the last one did not come up

    async def start(self) -> None:
        """From now on there is one; returns when it listens, could not, or takes its time."""
        self._begun = True
        self._own(self._keep())
        self._own(self._poll())
        with suppress(TimeoutError):
            async with asyncio.timeout(UP_S):
                await self._up.wait()

    def told(self) -> str:
        """For people: where it listens, or why not."""
        if self.listening:
            return said(self._settings.sip.listen, self.listening)
        return f"not yet: {self.failed}" if self.failed else "not yet: the gateway is starting"

    async def figures(self) -> list[Family]:
        """The gateway's, those of its predecessors, and our own."""
        await self.refresh()
        up = gauge("sip_gateway_up", "1 while the SIP gateway listens.", [({}, float(bool(self.listening)))])
        starts = counter("sip_gateway_starts", "Processes of the SIP gateway so far.", [({}, self._starts)])
        return total([[up, starts], self._gone, self._now])

    async def stop(self, limit_s: float) -> None:
        """Let it end its calls within `limit_s`; returns when it is gone."""
        self._stopping.set()
        if not self._begun:
            self._over.set()
        if self._link is not None:
            self._link.send(wire.Drain(limit_s))
        try:
            async with asyncio.timeout(limit_s + GOODBYE_S):
                await self._over.wait()
        except TimeoutError:
            log.error("gateway.killing")
            self.kill()
            await self._over.wait()
        self._folder.close()

    def kill(self) -> None:
        """At once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    # -- its life

    async def _keep(self) -> None:
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                how = await self._life()
                if self._stopping.is_set():
                    return
                delay_s = self._restarts.died(time.monotonic(), time.monotonic() - began)
                log.error("gateway.ended", how=how, why=self.failed or "see its lines above", next_try_in_s=delay_s)
                self._up.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._stopping.wait()
        finally:
            self._over.set()

    async def _life(self) -> str:
        """One process, to its end: "0", an exit code, the name of a signal, or why there was none."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "trunkline", "gateway", "--link", str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
            link = await wire.Link.over(ours)
        except OSError as wrong:
            ours.close()
            self.failed = str(wrong)
            return "not started"
        self._process, self._link, self.failed = process, link, ""
        self._starts += 1
        self._silent = 0
        log.info("gateway.started", pid=process.pid)
        link.send(wire.GatewaySetup(self._settings, self._folder.socket, self._folder.journal))
        if self._stopping.is_set():
            link.send(wire.Drain(0))
        late = asyncio.get_running_loop().call_later(READY_S, self._not_ready)
        try:
            await self._listen(link)
        finally:
            late.cancel()
            self._bury()
            await link.close()
            self._link = None
            code = await self._gone_within(process)
            self._process = None
        return str(code) if code >= 0 else signal.Signals(-code).name

    async def _listen(self, link: wire.Link) -> None:
        try:
            while (message := await link.receive()) is not None:
                match message:
                    case wire.Listening(addresses=addresses):
                        self.listening = addresses
                        self._up.set()
                        log.info("gateway.listening", addresses=list(addresses))
                    case wire.Failed(why=why):
                        self.failed = why
                    case _:
                        log.warning("bus.odd", worker="gateway", message=type(message).__name__)
        except (TrunklineError, msgspec.MsgspecError) as wrong:
            log.error("bus.broken", worker="gateway", error=str(wrong))
            self.kill()

    async def _gone_within(self, process: Process) -> int:
        try:
            async with asyncio.timeout(GOODBYE_S):
                return await process.wait()
        except TimeoutError:
            self.kill()
            return await process.wait()

    def _not_ready(self) -> None:
        if not self.listening:
            self.failed = f"it did not listen within {READY_S:g} s"
            self.kill()

    def _bury(self) -> None:
        self.listening = ()
        self._gone, self._now = total([self._gone, lasting(self._now)]), []

    async def _poll(self) -> None:
        """Keep its figures fresh, and notice when it hangs."""
        while not self._stopping.is_set():
            await self.refresh()
            if self._silent >= HUNG:
                log.error("gateway.hangs", for_s=HUNG * POLL_S)
                self.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._stopping.wait()

    async def refresh(self) -> None:
        """Ask for figures."""
        link = self._link
        if link is None or not self.listening:
            return
        reply = await link.ask("gateway", wire.encode(wire.FiguresWanted()), GATHER_S)
        if reply is None:
            self._silent += 1
        elif not reply.gone and link is self._link:
            self._silent = 0
            self._now = _figures.decode(reply.body).families
