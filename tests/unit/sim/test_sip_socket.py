"""The wires under simulated SIP calls: ports, and far ends that do not behave."""

import asyncio
import errno
import socket
from typing import Any

import pytest

from trunkline_sim import sip_socket
from trunkline_sim.errors import SimError
from trunkline_sim.sip_socket import MOST_UNSENT, SipSocket, TcpHop


async def test_any_port_is_one_that_is_free_for_udp_and_for_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    real = asyncio.start_server

    async def taken_once(made: Any, host: str, port: int) -> Any:
        tried.append(port)
        if len(tried) == 1:
            raise OSError(errno.EADDRINUSE, "taken")
        return await real(made, host, port)

    monkeypatch.setattr(sip_socket.asyncio, "start_server", taken_once)
    wire = SipSocket(lambda _message, _hop: None)
    await wire.open("127.0.0.1", 0)
    assert (len(tried), wire.port) == (2, tried[1])
    await wire.close()


async def test_a_port_that_is_taken_is_named_and_what_was_opened_closed() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SimError, match=f"cannot listen on 127.0.0.1:{port}"):
            await SipSocket(lambda _message, _hop: None).open("127.0.0.1", port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", port))  # its UDP half was given back
    with pytest.raises(SimError, match="0 to 65535"):
        await SipSocket(lambda _message, _hop: None).open("127.0.0.1", 99_999)


async def test_who_does_not_read_is_cut_off_and_counted() -> None:
    arrived = asyncio.Event()
    wire = SipSocket(lambda _message, _hop: None)
    server = await asyncio.start_server(lambda _reader, _writer: arrived.set(), "127.0.0.1", 0)
    await wire.open("127.0.0.1", 0, tcp=False)
    hop = await wire.hop(server.sockets[0].getsockname(), tcp=True)
    assert isinstance(hop, TcpHop)
    await arrived.wait()
    for _ in range(20):
        hop.send(bytes(MOST_UNSENT))
    assert wire.counts["deaf_streams"] == 1
    assert hop.writer.is_closing()
    server.close()
    await wire.close()


async def test_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_socket, "MOST_STREAMS", 1)
    wire = SipSocket(lambda _message, _hop: None)
    await wire.open("127.0.0.1", 0)
    _, first = await asyncio.open_connection("127.0.0.1", wire.port)
    reader, second = await asyncio.open_connection("127.0.0.1", wire.port)
    assert await reader.read() == b""  # turned away
    assert wire.counts["streams_turned_away"] == 1
    first.close()
    second.close()
    await wire.close()
