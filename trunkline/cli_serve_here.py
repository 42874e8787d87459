"""`trunkline serve --workers 0`: one worker in this very process."""

import asyncio

from rich.console import Console

from trunkline.cli_orders import Orders
from trunkline.cli_service import banner, first_key, settle_garbage
from trunkline.config import Settings
from trunkline.errors import ConfigError
from trunkline.listeners import listen
from trunkline.service import Service


async def serve_here(settings: Settings, create_key: bool, console: Console) -> int:
    """Serve until told otherwise; returns the exit code. Raises ConfigError."""
    if settings.redis_url:
        raise ConfigError(
            "redis_url (REDIS_URL) joins nodes, and a node has a supervisor: [server] workers = 1 or more"
        )
    orders = Orders()
    with orders.listening(asyncio.get_running_loop()):
        sockets = listen(settings.server.host, settings.server.port)
        if create_key:
            await first_key(settings)
        async with Service(settings, sockets=sockets) as service:
            orders.on_hangup = service.renew_certificate
            settle_garbage()
            open_here = await service.desk.gate.open_here()
            banner(
                settings,
                list(service.addresses),
                service.desk.minds.told(),
                open_here,
                console,
                "off: it needs [server] workers = 1 or more",
            )
            await orders.stop.wait()
            await _drain(service, orders, console)
    console.print("Stopped.")
    return 0


async def _drain(service: Service, orders: Orders, console: Console) -> None:
    live = service.active
    if live:
        limit = service.settings.server.drain_s
        console.print(f"{live} live calls may finish within {limit:g} s; Ctrl-C cuts them now.")
    async with asyncio.TaskGroup() as group:
        drained = group.create_task(service.drain(), name="service.drain")
        hurried = group.create_task(orders.at_once.wait(), name="service.at_once")
        await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await service.drain(0)
        hurried.cancel()
