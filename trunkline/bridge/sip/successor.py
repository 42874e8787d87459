"""What a dead gateway owes the far ends: BYE to those who talk, CANCEL to those that ring, on sockets of its own.

pjsip knows nothing of the dialogs of a process that is gone, so these requests are made from the journal. UDP is sent
again until something comes back (RFC 3261 17.1.2.2: T1 = 0.5 s), a connection once.
"""

import asyncio
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import structlog

from trunkline.bridge.sip.dialogs import Dialog, Invite, bye, cancel, next_hop
from trunkline.bridge.sip.options import Options

AGAIN_S: Final = (0.5, 1.0, 2.0, 4.0)
AT_ONCE: Final = 50
CONNECT_S: Final = 4.0
log = structlog.get_logger("trunkline.sip.successor")


async def end_all(
    left: Sequence[Dialog | Invite], own: str, options: Options
) -> AsyncIterator[tuple[Dialog | Invite, bool]]:
    """Each with whether its far end said something to it. own: the address that we listen on."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(record: Dialog | Invite) -> tuple[Dialog | Invite, bool]:
        async with room:
            try:
                return record, await _end(record, own, options)
            except OSError as error:
                log.warning("dialog.left", reason=str(error), sip_call=record.call_id)
                return record, False

    tasks = [asyncio.create_task(one(record), name="sip.bye") for record in left]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(record: Dialog | Invite, own: str, options: Options) -> bool:
    if isinstance(record, Invite) and not record.via:
        return False  # it was about to be sent: nothing to take back
    kind, host, port = next_hop(record)
    if not host:
        return False
    if kind == "udp":
        return await _by_udp(record, host, port, own)
    return await _by_connection(record, host, port, _context(options) if kind == "tls" else None)


def _request(record: Dialog | Invite, here: tuple[str, int]) -> bytes:
    if isinstance(record, Invite):
        return cancel(record)
    host = f"[{here[0]}]" if ":" in here[0] else here[0]
    return bye(record, f"{host}:{here[1]}", secrets.token_hex(8))


async def _by_udp(record: Dialog | Invite, host: str, port: int, own: str) -> bool:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with suppress(OSError):
            sock.bind((own, 0))
        sock.connect(address)
        request = _request(record, sock.getsockname()[:2])
        for wait in AGAIN_S:
            await loop.sock_sendall(sock, request)
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(wait):
                    return bool(await loop.sock_recv(sock, 4096))
    return False


async def _by_connection(record: Dialog | Invite, host: str, port: int, context: ssl.SSLContext | None) -> bool:
    writer = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.write(_request(record, writer.get_extra_info("sockname")[:2]))
            await writer.drain()
            return bool(await reader.read(4096))
    except TimeoutError:
        return False
    finally:
        if writer is not None:
            writer.close()


def _context(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.tls_ca or None)
    if not options.tls_ca:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
