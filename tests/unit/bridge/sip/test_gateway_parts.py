"""The gateway's parts that need no pjsua2: the gate's table, who is heard, options, the workers' socket."""

import asyncio
import ipaddress
import os
import re
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from trunkline.bridge.sip import gateway_names
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.admission import Admission, Pass, Turned, names_of, understood
from trunkline.bridge.sip.gate import Table, allow, counters, networks, packed, within
from trunkline.bridge.sip.hub import Hub, WorkerLink
from trunkline.bridge.sip.options import LOOPBACK, Options, Trunk, User, options_of
from trunkline.bridge.sip.ring import RingMemory
from trunkline.bridge.sip.sip_text import SipText
from trunkline.config import Sip, SipTrunk, SipUser
from trunkline.errors import ConfigError

INVITE = SipText.of("INVITE sip:us SIP/2.0\r\n\r\n")
ROOT = Path(__file__).parents[4]


def test_pjsua2_is_imported_by_the_gateways_process_alone():
    """Its licence and its crashes stay there."""
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "trunkline").rglob("*.py")
        if re.search(r"^\s*(import|from) _?pjsua2\b", path.read_text(), re.MULTILINE)
    }
    own = [
        "accounts",
        "callbacks",
        "gateway",
        "gateway_calls",
        "gateway_leg",
        "gateway_refer",
        "library",
        "ports",
        "stream",
    ]
    assert found == {f"trunkline/bridge/sip/{name}.py" for name in own}
    named = "|".join(own)
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "trunkline").rglob("*.py")
        if path.parent.name != "sip"
        and re.search(rf"^(import|from) trunkline\.bridge\.sip\.({named})\b", path.read_text(), re.MULTILINE)
    }
    assert users <= {"trunkline/cli_gateway.py"}


def test_networks_are_packed_as_the_gate_reads_them():
    data, count = packed(networks(["192.0.2.0/24", "192.0.2.7/24", "2001:db8::/32"]))
    assert count == 2
    assert data[:17] == bytes(10) + b"\xff\xff\xc0\x00\x02\x00" + bytes([120])
    assert data[17:] == ipaddress.ip_address("2001:db8::").packed + bytes([32])
    with pytest.raises(ConfigError, match="at most 4096"):
        packed(networks(f"10.{at >> 8}.{at & 255}.0/24" for at in range(5000)))
    with pytest.raises(ConfigError, match="nonsense"):
        networks(["nonsense"])


def test_within():
    nets = networks(["192.0.2.0/24"])
    assert within(nets, "192.0.2.9")
    assert within(nets, "::ffff:192.0.2.9")
    assert not within(nets, "192.0.3.9")
    assert not within(nets, "no address")


class Library:
    """The gate's functions."""

    def __init__(self) -> None:
        self.heard: tuple[bytes, int] | None = None
        self.trusted: tuple[bytes, int] | None = None

    def trunkline_gate_allow(self, data: bytes, count: int) -> int:
        self.heard = (data, count)
        return 0

    def trunkline_gate_trust(self, data: bytes, count: int) -> int:
        self.trusted = (data, count)
        return 0

    def trunkline_gate_counters(self, room: object, size: int) -> int:
        for at in range(size):
            room[at] = at  # type: ignore[index]
        return size


def test_the_gate_is_called():
    library = Library()
    allow(library, Table(tuple(networks(["127.0.0.0/8"])), tuple(networks(["::1"]))))
    assert library.heard == (bytes(10) + b"\xff\xff\x7f\x00\x00\x00" + bytes([104]), 1)
    assert library.trusted == (bytes(15) + b"\x01" + bytes([128]), 1)
    assert counters(library)["dropped_invite"] == 2


def test_an_earlier_wheel_has_one_table():
    told = []
    allow(SimpleNamespace(trunkline_gate_allow=lambda *table: told.append(table)), Table((), ()))
    assert told == [(b"", 0)]


TRUNK = Trunk(name="carrier", host="sip.example:5070", proxy="sip:edge.example;lr", allow=("198.51.100.0/24",))


def test_who_is_heard():
    rules = Admission(Options(allow=("10.0.0.0/8",), trunks=(TRUNK,)))
    rules.resolve({"carrier": ["203.0.113.5"]})
    assert rules.decide(INVITE, "203.0.113.5:5060", 0) == Pass("carrier")
    assert rules.decide(INVITE, "198.51.100.9:5060", 0) == Pass("carrier")
    assert rules.decide(INVITE, "10.1.2.3:5060", 0) == Pass("")
    assert rules.decide(INVITE, "192.0.2.1:5060", 0) == Turned(403)
    table = rules.table()
    assert {str(net) for net in table.heard} == {"10.0.0.0/8", "198.51.100.0/24", "203.0.113.5/32"}
    assert table.trusted == table.heard
    rules.resolve({"carrier": ["203.0.113.6"]})
    assert rules.decide(INVITE, "203.0.113.5:5060", 0) == Turned(403)
    assert names_of([TRUNK]) == {"carrier": ["sip.example", "edge.example"]}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ("Require: 100rel, timer", 0),
        ("Require: timer, nothingSupportsThis", 420),
        ("Accept: application/sdp;level=1, text/plain", 0),
        ("Accept: */*", 0),
        ("Accept: text/plain", 406),
        ("Accept:", 0),
    ],
)
def test_what_is_not_understood_is_said(headers, code):
    found = understood(SipText.of(f"INVITE sip:us SIP/2.0\r\n{headers}\r\n\r\n"))
    assert (found.code if found else 0) == code
    if code == 420:
        assert found.headers == (("Unsupported", "nothingsupportsthis"),)


def test_users_may_call_from_anywhere_and_are_asked():
    rules = Admission(Options(allow=("10.0.0.0/8",), users=(User(name="desk", password="secret"),)))
    assert rules.decide(INVITE, "10.1.2.3:5060", 0) == Pass("")
    asked = rules.decide(INVITE, "192.0.2.1:5060", 0)
    assert isinstance(asked, Turned)
    assert asked.code == 401
    assert [name for name, _ in asked.headers] == ["WWW-Authenticate", "WWW-Authenticate"]
    table = rules.table()
    assert all(within(table.heard, address) for address in ("192.0.2.1", "2001:db8::1"))
    assert [str(net) for net in table.trusted] == ["10.0.0.0/8"]


def test_options_of_the_configuration():
    trunk = SipTrunk(name="t", host="h", headers=("X-A: b: c",), keep_headers=("Diversion",), allow=("192.0.2.1",))
    own = options_of(Sip(user=(SipUser(name="u", password="p"),), trunk=(trunk,)), "/s", "/j")
    assert (own.socket, own.journal, own.rtp_ports) == ("/s", "/j", (10_000, 19_999))
    assert own.allow == LOOPBACK
    assert own.trunks[0].headers == (("X-A", "b: c"),)
    assert own.trunks[0].keep_headers == ("Diversion",)
    assert own.users == (User(name="u", password="p"),)
    assert options_of(Sip(listen=("udp:0.0.0.0:5060",)), "", "").allow == ()


def test_nameservers_only_where_names_are_needed(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nsearch a\nnameserver 192.0.2.53\nnameserver\nnameserver ::1\n")
    assert gateway_names.nameservers(Options(), str(file)) == ()
    assert gateway_names.nameservers(Options(allow=("10.0.0.0/8",)), str(file)) == ("192.0.2.53", "::1")
    assert gateway_names.nameservers(Options(trunks=(TRUNK,)), str(file)) == ("192.0.2.53", "::1")
    assert gateway_names.nameservers(Options(nameservers=("9.9.9.9",)), str(file)) == ("9.9.9.9",)
    assert gateway_names.nameservers(Options(trunks=(TRUNK,)), str(tmp_path / "none")) == ()


async def test_addresses_of_names():
    assert await gateway_names.addresses({"t": ["192.0.2.1"], "u": []}) == {"t": ["192.0.2.1"], "u": []}


class Owner:
    """Keeps what the hub tells."""

    def __init__(self) -> None:
        self.news: list[tuple[str, object]] = []
        self.event = asyncio.Event()

    def _note(self, what: str, about: object) -> None:
        self.news.append((what, about))
        self.event.set()

    def joined(self, link: WorkerLink) -> None:
        self._note("joined", link)

    def told(self, link: WorkerLink, message: wire.ToGateway) -> None:
        self._note("told", message)

    def lost(self, link: WorkerLink) -> None:
        self._note("lost", link.name)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.news) < count:
                self.event.clear()
                await self.event.wait()


@pytest.fixture
async def hub():
    with tempfile.TemporaryDirectory(prefix="tl") as folder:
        owner = Owner()
        made = Hub(f"{folder}/run/s", owner)
        made.open()
        yield made, owner, f"{folder}/run/s"
        made.close()
        assert not Path(f"{folder}/run/s").exists()  # noqa: ASYNC240


def connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.settimeout(5)
    return sock


def hello(sock: socket.socket, version: int = wire.VERSION) -> RingMemory:
    memory = RingMemory.make(4, 8000)
    socket.send_fds(sock, [wire.encode(wire.Hello(version, "w1"))], [memory.fd])
    return memory


async def test_a_worker_joins_speaks_and_leaves(hub):
    made, owner, path = hub
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    with connected(path) as sock:
        own = hello(sock)
        await owner.until(1)
        (link,) = made.workers
        own.slot(2).put(bytes(320))
        assert link.memory.slot(2).tx_next() is not None
        sock.sendall(wire.encode(wire.Offers(False)) + wire.encode(wire.Hangup(7)))
        await owner.until(2)
        assert owner.news[1] == ("told", wire.Hangup(7))
        assert not link.offers
        made.tell_all(wire.TrunkState("t", "up"))
        (message,) = wire.Unpacker("worker").feed(await asyncio.to_thread(sock.recv, 1000))
        assert message == wire.TrunkState("t", "up")
    await owner.until(3)
    assert owner.news[2] == ("lost", "w1")
    assert made.workers == []


@pytest.mark.parametrize("case", ["no hello", "no memory", "other version", "garbage", "not a memory"])
async def test_who_is_no_worker_is_shown_out(hub, case):
    made, owner, path = hub
    with connected(path) as sock:
        if case == "no hello":
            sock.sendall(wire.encode(wire.Hangup(1)))
        elif case == "no memory":
            sock.sendall(wire.encode(wire.Hello(wire.VERSION, "w")))
        elif case == "other version":
            hello(sock, 99)
        elif case == "garbage":
            sock.sendall(b"\xff" * 100)
        else:
            with tempfile.TemporaryFile() as file:
                socket.send_fds(sock, [wire.encode(wire.Hello(wire.VERSION, "w"))], [file.fileno()])
        assert await asyncio.to_thread(sock.recv, 10) == b""
    assert made.workers == []
    assert owner.news == []


async def test_a_worker_that_does_not_read_is_let_go(hub, monkeypatch):
    made, owner, path = hub
    monkeypatch.setattr("trunkline.bridge.sip.hub.MOST_BACKLOG", 100_000)
    with connected(path) as sock:
        hello(sock)
        await owner.until(1)
        for _ in range(200):
            made.tell_all(wire.TrunkState("t", "up", reason="x" * 5000))
        await owner.until(2)
    assert owner.news[-1] == ("lost", "w1")
    made.tell_all(wire.TrunkState("t", "up"))


async def test_a_successor_takes_the_path_over(hub):
    first, owner, path = hub
    second = Owner()
    other = Hub(path, second)
    other.open()
    with connected(path) as sock:
        hello(sock)
        await second.until(1)
    assert owner.news == []
    first.close()
    assert Path(path).is_socket()  # noqa: ASYNC240
    other.close()
