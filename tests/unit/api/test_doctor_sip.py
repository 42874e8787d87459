"""What the doctor makes of SIP: ports, address, trunks, and an OPTIONS that it sends itself."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from trunkline import doctor_sip, doctor_trunk
from trunkline.bridge.sip.free_ports import refusal
from trunkline.bridge.sip.options import Trunk
from trunkline.bridge.sip.targets import Target
from trunkline.config import Settings, Sip
from trunkline.config_load import Configuration
from trunkline.doctor_finding import Finding
from trunkline.doctor_options import Answered, answer, ask, question
from trunkline.doctor_paste import paste_sip
from trunkline.doctor_sip import address_finding, split, taken

TAKEN = OSError(errno.EADDRINUSE, "Address already in use")
TRUNK = Trunk(name="acme", host="sip.example.com", register=True)
TARGET = Target("192.0.2.9", 5060)


def sip(**more: Any) -> Sip:
    return msgspec.convert(more, Sip)


def of_sip(**more: Any) -> Configuration:
    return Configuration(msgspec.convert({"sip": more}, Settings))


async def local(**more: Any) -> dict[str, Finding]:
    return {finding.part: finding for finding in await doctor_sip.here(of_sip(**more))}


@pytest.mark.parametrize("spec", ["udp:127.0.0.1:5060", "tls:[::1]:5061", "tcp:0.0.0.0:0"])
def test_a_place_to_listen_in_its_parts(spec: str) -> None:
    kind, host, port = split(spec)
    assert f"{kind}:{'[' + host + ']' if ':' in host else host}:{port}" == spec


def test_a_port_that_is_taken_says_by_whom_and_what_comes_instead() -> None:
    ours = taken("SIP udp", "h:5060", TAKEN, Answered(200, "OK", 1.0, "Trunkline/0.1"), 5061)
    assert ours.status == "ok"
    theirs = taken("SIP udp", "h:5060", TAKEN, Answered(200, "OK", 1.0, "Asterisk PBX 22"), 5061)
    assert (theirs.status, "Asterisk" in theirs.text, "5061" in theirs.then) == ("warn", True, True)
    mute = taken("SIP udp", "h:5060", TAKEN, None, 0)
    assert (mute.status, "Address already in use" in mute.text) == ("fail", True)


@pytest.mark.parametrize("kind", ["udp", "tcp"])
async def test_ports_are_tried(kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        found = await local(listen=[f"{kind}:127.0.0.1:{port}"])
        assert found[f"SIP {kind}"].status == "warn"
        assert "SIP will listen on port" in found[f"SIP {kind}"].then
    assert refusal(kind, "127.0.0.1", port) is None


async def test_too_few_ports_for_the_audio_and_those_that_the_system_gives_away() -> None:
    few = await local(listen=["udp:127.0.0.1:0"], rtp_ports="10000-10099", max_calls=100)
    assert (few["SIP audio"].status, "10000-10399" in few["SIP audio"].then) == ("warn", True)
    mixed = await local(listen=["udp:127.0.0.1:0"], rtp_ports="40000-49999")
    assert "overlap" in mixed["SIP audio"].text
    assert (await local(listen=["udp:127.0.0.1:0"]))["SIP audio"].status == "ok"


@pytest.mark.parametrize(
    ("listen", "public", "way_out", "status", "words"),
    [
        ("udp:127.0.0.1:5060", "", "10.0.0.5", "ok", "only programs on this machine"),
        ("udp:0.0.0.0:5060", "", "10.0.0.5", "warn", "10.0.0.5, a private address"),
        ("udp:0.0.0.0:5060", "203.0.113.7", "10.0.0.5", "ok", "203.0.113.7"),
        ("udp:0.0.0.0:5060", "", "8.8.4.4", "ok", "8.8.4.4"),
        ("udp:192.168.1.5:5060", "", "8.8.4.4", "warn", "192.168.1.5"),
    ],
)
def test_the_address_that_far_ends_are_told(listen: str, public: str, way_out: str, status: str, words: str) -> None:
    found = address_finding(sip(listen=[listen], public_address=public), way_out)
    assert (found.status, words in found.text) == (status, True), found


async def test_weak_passwords_nobody_allowed_and_tls_without_a_certificate() -> None:
    found = await local(listen=["tls:0.0.0.0:0"], user=[{"name": "desk", "password": "short"}])
    assert "desk" in found["SIP callers"].text
    assert found["SIP TLS"].status == "fail"
    assert "nobody is allowed" in (await local(listen=["udp:0.0.0.0:0"]))["SIP callers"].text
    assert (await local(enabled=False)) == {"SIP": Finding("SIP", "ok", "off, as asked for ([sip] enabled)")}


def test_an_answer_is_ours_final_and_read() -> None:
    data = (
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.5:4000;branch=z;received=203.0.113.7;rport=4000\r\n"
        b"Server: Kamailio\r\nCall-ID: c1\r\n\r\nm=audio 1 RTP/AVP 8 18\r\n"
    )
    found = answer(data, "c1", 12.0)
    assert found == Answered(200, "OK", 12.0, "Kamailio", ("PCMA/8000", "G729/8000"), "203.0.113.7")
    assert answer(data, "c2", 12.0) is None
    assert answer(data.replace(b"200 OK", b"100 Trying"), "c1", 12.0) is None
    assert answer(b"junk", "c1", 1.0) is None
    assert b"\r\nVia: SIP/2.0/TLS [::1]:9;" in question("sip:x", ("::1", 9), "tls", "c1")


@pytest.mark.parametrize("kind", ["udp", "tcp"])
async def test_a_server_is_asked_and_one_that_is_not_there(kind: str) -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(_reply(data), addr)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_reply(await reader.readuntil(b"\r\n\r\n")))

    def _reply(data: bytes) -> bytes:
        kept = [line for line in data.split(b"\r\n") if line[:4] in (b"Via:", b"Call")]
        return b"\r\n".join([b"SIP/2.0 405 Method Not Allowed", *kept, b"User-Agent: Box", b"", b""])

    loop = asyncio.get_running_loop()
    if kind == "udp":
        transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
        port, close = transport.get_extra_info("sockname")[1], transport.close
    else:
        server = await asyncio.start_server(stream, "127.0.0.1", 0)
        port, close = server.sockets[0].getsockname()[1], server.close
    found = await ask("127.0.0.1", port, kind, "sip:x")  # type: ignore[arg-type]
    assert found is not None
    assert (found.code, found.reason, found.server) == (405, "Method Not Allowed", "Box")
    close()
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await ask("127.0.0.1", port, kind, "sip:x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (None, "fail", "does not answer OPTIONS"),
        (Answered(200, "OK", 12.3, "Asterisk"), "ok", "200 OK after 12 ms (Asterisk)"),
        (Answered(403, "Forbidden", 5), "ok", "403"),
        (Answered(503, "Busy", 5), "warn", "503"),
    ],
)
def test_what_options_brings(found: Answered | None, status: str, words: str) -> None:
    (first,) = doctor_trunk.answered("trunk acme", TARGET, TRUNK, found, sip())
    assert (first.status, words in first.text, bool(first.then)) == (status, True, status != "ok")


def test_codecs_and_our_address_as_it_sees_it() -> None:
    told = Answered(200, "OK", 1, "", ("G729/8000", "PCMA/8000"), "203.0.113.8")
    findings = doctor_trunk.answered("t", TARGET, TRUNK, told, sip(public_address="203.0.113.7"))
    assert [one.status for one in findings] == ["ok", "ok", "warn"]
    assert "PCMA/8000" in findings[1].text
    assert "203.0.113.8" in findings[2].then
    (none,) = doctor_trunk.codec_findings("t", TRUNK, ["G729/8000"], sip())
    assert none.status == "fail"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (ConnectionRefusedError(111, "refused"), "is the port right"),
        (ssl.SSLError(1, "wrong version number"), "5061"),
        (OSError(113, "No route to host"), "firewall"),
    ],
)
def test_a_server_that_cannot_be_reached_says_where_to_look(wrong: OSError, words: str) -> None:
    assert words in doctor_trunk.unreachable("t", TARGET, TRUNK, wrong).then


@pytest.mark.parametrize(
    ("states", "status", "words"),
    [
        (None, "warn", "running service alone"),
        ({"acme": "up"}, "ok", "registered"),
        ({"acme": "rejected"}, "fail", "rejects us"),
        ({"acme": "down"}, "fail", "down"),
        ({"acme": "registering"}, "warn", "registering"),
        ({}, "warn", "does not know it"),
    ],
)
def test_the_registration_as_the_running_service_has_it(
    states: Mapping[str, str] | None, status: str, words: str
) -> None:
    found = doctor_trunk.registration("t", TRUNK, states)
    assert (found.status, words in found.text) == (status, True)
    assert bool(found.then) == (status in ("fail", "warn") and states != {"acme": "registering"})


def test_a_name_without_servers() -> None:
    assert doctor_trunk.located("t", TRUNK, []).status == "fail"
    assert "192.0.2.9:5060" in doctor_trunk.located("t", TRUNK, [TARGET]).text


def test_what_is_to_be_entered_at_the_other_side() -> None:
    lines = paste_sip(of_sip(listen=["udp:0.0.0.0:5060", "tls:0.0.0.0:5061"], public_address="203.0.113.7").settings)
    assert "sip:agent@203.0.113.7:5061;transport=tls" in "\n".join(lines)
    assert paste_sip(of_sip(enabled=False).settings) == []
