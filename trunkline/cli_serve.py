"""`trunkline serve`: the supervisor in this process and workers below it, until a signal says otherwise.

With `[server] workers = 0` there is one worker in this very process and nobody above it: no restart after a crash, no
rolling restart. That is for debuggers and for whoever watches processes by number.
"""

import asyncio
import os
import resource
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from rich.console import Console

from trunkline.bus_far import node_name
from trunkline.bus_redis import RedisBus
from trunkline.bus_wire import Ready
from trunkline.cli_orders import Orders
from trunkline.cli_service import all_secrets, banner, first_key, loop_factory
from trunkline.config import Settings
from trunkline.config_load import Configuration
from trunkline.errors import ConfigError, TrunklineError
from trunkline.listeners import listen, listen_at, url_of
from trunkline.log import set_up
from trunkline.node_board import NodeBoard
from trunkline.supervisor import Supervisor
from trunkline.supervisor_child import Heritage
from trunkline.supervisor_gateway import RunFolder, why_not

Reread = Callable[[], Configuration]
log = structlog.get_logger("trunkline.supervisor")


def serve(configuration: Configuration, *, create_key: bool = False, reread: Reread | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises ConfigError when it cannot start.

    reread: reads the configuration again, at SIGHUP; None: workers are replaced with the one that there is.
    """
    settings = configuration.settings
    wanted = settings.log
    set_up(wanted.level, wanted.format, wanted.file, secrets=all_secrets(settings, os.environ))
    _raise_file_limit()
    if settings.server.workers == 0:
        from trunkline.cli_serve_here import serve_here

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(serve_here(settings, create_key, Console()))
    return asyncio.run(_serve(configuration, create_key, reread or (lambda: configuration), Console()))


async def _serve(configuration: Configuration, create_key: bool, reread: Reread, console: Console) -> int:
    settings = configuration.settings
    orders = Orders()
    with orders.listening(asyncio.get_running_loop()):
        listeners = listen(settings.server.host, settings.server.port)
        metrics_listeners = listen_at(settings.server.metrics_bind)
        audiosocket_listeners = listen_at(settings.audiosocket.listen)
        if create_key:
            await first_key(settings)
        board = NodeBoard.create()
        try:
            folder = None if why_not(settings) else _run_folder(settings)
            path = folder.socket if folder is not None else ""
            heritage = Heritage(listeners, metrics_listeners, board, node_name(), audiosocket_listeners, path)
            far = await _other_nodes(settings, heritage)
            await _supervise(settings, heritage, far, folder, orders, reread, console)
        finally:
            for one in (*listeners, *metrics_listeners, *audiosocket_listeners):
                one.close()
            board.close()
    console.print("Stopped.")
    return 0


async def _other_nodes(settings: Settings, heritage: Heritage) -> RedisBus | None:
    """The bus to them, where there are any. Raises ConfigError."""
    if not settings.redis_url:
        return None
    far = RedisBus(settings.redis_url, heritage.node)
    await far.check()
    return far


async def _supervise(
    settings: Settings,
    heritage: Heritage,
    far: RedisBus | None,
    folder: RunFolder | None,
    orders: Orders,
    reread: Reread,
    console: Console,
) -> None:
    failed: TrunklineError | None = None
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        if far is not None:
            stack.push_async_callback(far.close)
        supervisor = Supervisor(settings, heritage, group, far, folder)
        starting = group.create_task(_started(supervisor, settings.server.workers), name="supervisor.start")
        stopped = group.create_task(orders.stop.wait(), name="supervisor.stop")
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and isinstance(failed := _failure(starting), TrunklineError):
            stopped.cancel()
        else:
            if starting.done() and isinstance(ready := starting.result(), Ready):
                addresses = [url_of(one, _scheme(settings)) for one in heritage.listeners]
                sip = supervisor.sip.told() if supervisor.sip is not None else why_not(settings)
                banner(settings, addresses, ready.agent, ready.open_here, console, sip)
                orders.on_hangup = lambda: _roll(supervisor, group, reread)
                await stopped
            await _drain(supervisor, settings, orders, console, group)
            starting.cancel()
    if failed is not None:
        raise failed


async def _started(supervisor: Supervisor, workers: int) -> Ready | TrunklineError:
    try:
        return await supervisor.start(workers)
    except TrunklineError as wrong:
        return wrong
    except OSError as wrong:
        return TrunklineError(f"no worker can be started: {wrong}")


def _failure(starting: "asyncio.Task[Ready | TrunklineError]") -> TrunklineError | None:
    result = starting.result()
    return result if isinstance(result, TrunklineError) else None


def _scheme(settings: Settings) -> str:
    return "https" if settings.server.tls_cert else "http"


def _roll(supervisor: Supervisor, group: asyncio.TaskGroup, reread: Reread) -> None:
    """SIGHUP: the configuration read again, every worker replaced."""
    try:
        settings = reread().settings
    except ConfigError as wrong:
        log.error("supervisor.not_rolled", why=str(wrong), hint="the workers from before go on")
        return
    log.info("supervisor.rolling", workers=max(1, settings.server.workers))
    group.create_task(supervisor.roll(settings, max(1, settings.server.workers)), name="supervisor.roll")


async def _drain(
    supervisor: Supervisor, settings: Settings, orders: Orders, console: Console, group: asyncio.TaskGroup
) -> None:
    if live := supervisor.active:
        console.print(f"{live} live calls may finish within {settings.server.drain_s:g} s; Ctrl-C cuts them now.")
    drained = group.create_task(supervisor.stop(settings.server.drain_s), name="supervisor.drain")
    hurried = group.create_task(orders.at_once.wait(), name="supervisor.at_once")
    await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
    if not drained.done():
        await supervisor.stop(0)
    hurried.cancel()


def _run_folder(settings: Settings) -> RunFolder:
    try:
        return RunFolder(settings.server.data_dir)
    except OSError as wrong:
        raise ConfigError(
            f"server.data_dir = {settings.server.data_dir!r}: cannot be used ({wrong.strerror}); "
            "choose another: --data-dir, DATA_DIR"
        ) from wrong


def _raise_file_limit() -> None:
    """Each call holds descriptors; what the system allows us anyway, we take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
