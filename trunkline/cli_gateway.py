"""`python -m trunkline gateway`: the SIP gateway, started by the supervisor, to whom the other end of `--link` belongs.

When that end closes the supervisor is dead: nobody starts us again then, so every call gets its BYE and we go.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from trunkline import bus_wire as wire
from trunkline.bridge.sip.options import options_of
from trunkline.cli_service import all_secrets
from trunkline.errors import ConfigError, TrunklineError, UsageError
from trunkline.log import set_up
from trunkline.metrics_sum import Family, counter, gauge

if TYPE_CHECKING:
    from trunkline.bridge.sip.gateway import Gateway

SETUP_S = 10.0
log = structlog.get_logger("trunkline.sip")


def serve_sip(link_fd: int) -> int:
    """Serve until told to go; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor tells us what it means
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return asyncio.run(_serve(link_fd))


async def _serve(link_fd: int) -> int:
    try:
        link = await wire.Link.over(socket.socket(fileno=link_fd))
    except OSError as wrong:
        raise UsageError("--link: the gateway is started by `trunkline serve`, not by hand") from wrong
    try:
        setup = await _setup(link)
        settings = setup.settings
        set_up(settings.log.level, settings.log.format, settings.log.file, secrets=all_secrets(settings, os.environ))
        structlog.contextvars.bind_contextvars(worker="gateway")
        await _carry(link, setup)
    except (TrunklineError, OSError, ImportError) as wrong:
        link.send(wire.Failed(str(wrong), 2 if isinstance(wrong, ConfigError | ImportError) else 1))
        return 1
    finally:
        await link.close()
    return 0


async def _setup(link: wire.Link) -> wire.GatewaySetup:
    async with asyncio.timeout(SETUP_S):
        first = await link.receive()
    if not isinstance(first, wire.GatewaySetup):
        raise UsageError("the gateway is started by `trunkline serve`, not by hand")
    return first


async def _carry(link: wire.Link, setup: wire.GatewaySetup) -> None:
    """Calls, until told to go."""
    from trunkline.bridge.sip.gateway import Gateway  # the one place where the GPL's pjsua2 comes in

    options = options_of(setup.settings.sip, setup.socket, setup.journal)
    async with Gateway(options) as gateway, asyncio.TaskGroup() as group:
        link.send(wire.Listening(gateway.listening))
        drained: asyncio.Task[None] | None = None

        def drain(limit_s: float) -> None:
            nonlocal drained
            if drained is not None:
                drained.cancel()
            drained = group.create_task(_drained(gateway, limit_s), name="gateway.drain")

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, drain, setup.settings.server.drain_s)
        orders = group.create_task(_orders(link, gateway, drain), name="gateway.orders")
        await gateway.run()
        orders.cancel()
        if drained is not None:
            drained.cancel()


async def _drained(gateway: "Gateway", limit_s: float) -> None:
    await gateway.drain(limit_s)
    gateway.stop()


async def _orders(link: wire.Link, gateway: "Gateway", drain: Callable[[float], None]) -> None:
    """The supervisor's, until it is gone: then nobody needs us any more."""
    try:
        while (message := await link.receive()) is not None:
            match message:
                case wire.Drain(limit_s=limit_s):
                    drain(limit_s)
                case wire.Ask(id=number):
                    link.send(wire.Reply(number, wire.encode(wire.Figures(families(gateway)))))
                case _:
                    log.warning("bus.odd", message=type(message).__name__)
    except TrunklineError as wrong:
        log.error("bus.broken", error=str(wrong))
    log.info("gateway.leaving", hint="the supervisor has gone" if gateway.live else "")
    gateway.stop()


def families(gateway: "Gateway") -> list[Family]:
    """The gateway's figures. `live` is a number of now, all others only grow."""
    figures = dict(gateway.figures())
    live = figures.pop("live", 0)
    counts = ((({"kind": kind}), float(count)) for kind, count in sorted(figures.items()))
    trunks = ((({"trunk": name}), float(up)) for name, up in gateway.trunks())
    servers = ((({"trunk": name, "server": at}), float(up)) for name, at, up in gateway.servers())
    return [
        gauge("sip_trunk_up", "1 while a trunk is up; no series while nobody knows.", trunks),
        gauge("sip_trunk_server_up", "1 while a server behind a trunk's name answers.", servers),
        gauge("sip_calls", "SIP calls at the gateway, ringing ones among them.", [({}, live)]),
        counter(
            "sip_events", "What happened at the SIP gateway, by kind; gate_… before a transaction existed.", counts
        ),
    ]
