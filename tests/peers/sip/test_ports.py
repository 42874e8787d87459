"""Somebody else has the port that was asked for."""

import socket

import pytest

from tests.peers.sip.rig import folder, gateway, needs

pytestmark = pytest.mark.peers
_ = folder


@pytest.mark.parametrize("kind", ["udp", "tcp"])
async def test_udp_and_tcp_go_to_the_next_free_port_together(folder, kind: str) -> None:
    needs()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        if kind == "tcp":
            other.listen()
        port = other.getsockname()[1]
        listen = (f"udp:127.0.0.1:{port}", f"tcp:127.0.0.1:{port}")
        async with gateway(folder, listen=listen) as up:
            assert up.port("udp") == up.port("tcp") > port
