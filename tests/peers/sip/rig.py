"""What the SIP tests are made of: a gateway's process, a worker that echoes, SIPp with scenarios written as steps."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.options import Options
from trunkline.bridge.sip.ring import RingMemory, Slot

PATIENCE_S = 20.0
LONGEST_S = 150.0  # of a SIPp, whose own limits are shorter
M = TypeVar("M")


def needs() -> None:
    """Skips where the wheel or SIPp is not there."""
    pytest.importorskip("pjsua2", reason="the pjsua2 wheel is not built (docker/pjsua2/build.sh)")
    if shutil.which("sipp") is None:
        pytest.skip("sipp is not installed (Debian package: sip-tester)")


def free_port() -> int:
    """Of UDP, and of TCP most likely too; sockets are bound to it soon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass(slots=True)
class Process:
    """A gateway that runs."""

    process: asyncio.subprocess.Process
    options: Options
    listening: list[str]

    def port(self, kind: str = "udp") -> int:
        return next(int(place.rpartition(":")[2]) for place in self.listening if place.startswith(f"{kind} "))

    async def stopped(self) -> dict[str, int]:
        """Its figures."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        assert self.process.returncode == 0
        return json.loads(out.splitlines()[-1])

    async def killed(self) -> None:
        self.process.kill()
        await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@asynccontextmanager
async def gateway(folder: Path, **options: Any) -> AsyncIterator[Process]:
    """On free ports; its log is in `folder`/log."""
    first = free_port()
    chosen = Options(
        **{
            "listen": (f"udp:127.0.0.1:{first}", f"tcp:127.0.0.1:{first}"),
            "socket": str(folder / "sip.sock"),
            "journal": str(folder / "journal"),
            "quality_s": 1.0,
            **options,
        }
    )
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("run_gateway.py")),
            msgspec.json.encode(chosen).decode(),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[3],
            env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        )
        try:
            assert process.stdout is not None
            ready = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            assert ready, (folder / "log").read_text()
            yield Process(process, chosen, json.loads(ready)["listening"])
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.wait_for(process.wait(), PATIENCE_S)


@dataclass
class Worker:
    """Takes what it is offered (unless `verdict` says otherwise), echoes, and keeps what it was told."""

    sock: socket.socket
    memory: RingMemory
    told: list[wire.ToWorker] = field(default_factory=list)
    slots: dict[int, Slot] = field(default_factory=dict)
    heard: dict[int, bytes] = field(default_factory=dict)
    free: list[int] = field(default_factory=lambda: list(range(16)))
    news: asyncio.Event = field(default_factory=asyncio.Event)
    echo: bool = True
    verdict: Any = None  # Offer → message or None
    gone: bool = False

    async def say(self, message: wire.ToGateway) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_sendall(self.sock, wire.encode(message))

    async def read(self) -> None:
        unpacker, loop = wire.Unpacker("worker"), asyncio.get_running_loop()
        while data := await loop.sock_recv(self.sock, 65536):
            for message in unpacker.feed(data):
                await self._hear(message)
        self.gone = True
        self.news.set()

    async def _hear(self, message: Any) -> None:
        if isinstance(message, wire.Offer):
            answer = self.verdict(message) if self.verdict else wire.Take(message.call, self.slot(message.call))
            if answer is not None:
                await self.say(answer)
        if isinstance(message, wire.Gone):
            self.pump()
            self.slots.pop(message.call, None)
        self.told.append(message)
        self.news.set()

    def slot(self, call: int) -> int:
        number = self.free.pop(0)
        self.slots[call] = self.memory.slot(number)
        self.slots[call].clear()
        return number

    def pump(self) -> None:
        for call, slot in self.slots.items():
            while (frame := slot.take()) is not None:
                self.heard[call] = self.heard.get(call, b"") + frame
                if self.echo:
                    slot.put(frame)

    async def beat(self) -> None:
        while True:
            self.pump()
            await asyncio.sleep(0.01)

    async def until(self, kind: type[M], call: int | None = None, *, nth: int = 1, **fields: Any) -> M:
        """The nth message of that kind with those fields."""

        def found() -> list[M]:
            return [
                message
                for message in self.told
                if isinstance(message, kind)
                and (call is None or getattr(message, "call", None) == call)
                and all(getattr(message, name) == value for name, value in fields.items())
            ]

        async with asyncio.timeout(PATIENCE_S):
            while len(found()) < nth:
                assert not self.gone, f"the gateway went; told: {self.told}"
                self.news.clear()
                await self.news.wait()
        return found()[nth - 1]

    async def dial(self, to: str, **fields: Any) -> int:
        """The call's number, once it is placed."""
        slot = self.free.pop(0)
        self.memory.slot(slot).clear()
        await self.say(wire.Dial(slot, slot, to, **fields))
        placed = await self.until(wire.Placed, ask=slot)
        self.slots[placed.call] = self.memory.slot(slot)
        return placed.call


@asynccontextmanager
async def worker(path: str, name: str = "w1", rate: int = 8000, **fields: Any) -> AsyncIterator[Worker]:
    """One that has been welcomed."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)  # a gateway that stands still with a full backlog lets nobody in
    sock.connect(path)
    memory = RingMemory.make(16, rate)
    socket.send_fds(sock, [wire.encode(wire.Hello(wire.VERSION, name))], [memory.fd])
    sock.setblocking(False)
    made = Worker(sock, memory, **fields)
    tasks = [asyncio.create_task(made.read()), asyncio.create_task(made.beat())]
    try:
        await made.until(wire.Welcome)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sock.close()


@pytest.fixture
def folder() -> Any:
    """A short path: a unix socket's has 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="tl-sip-"))
    yield made
    os.environ.get("KEEP") or shutil.rmtree(made, ignore_errors=True)


# -- SIPp

SDP = """v=0
o=u 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
"""


def _message(first: str, headers: Sequence[str], body: str, kind: str) -> str:
    if body:
        headers = [*headers, f"Content-Type: {kind}"]
    return "\n".join([first, *headers, "Content-Length: [len]", "", body.strip("\n")]) + "\n"


def request(
    method: str, *more: str, body: str = "", kind: str = "application/sdp", cseq: int = 1, tag: str = ""
) -> str:
    """Of a scenario that calls us; in a dialog once `tag` is [peer_tag_param]."""
    headers = [
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        "Max-Forwards: 70",
        "From: caller <sip:+919800000001@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
        f"To: <sip:agent@[remote_ip]:[remote_port]>{tag}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>",
        *more,
    ]
    return send(_message(f"{method} sip:agent@[remote_ip]:[remote_port] SIP/2.0", headers, body, kind))


def inside(method: str, *more: str, cseq: int = 2, body: str = "", kind: str = "application/sdp") -> str:
    """A request in the dialog."""
    return request(method, *more, body=body, kind=kind, cseq=cseq, tag="[peer_tag_param]")


def reply(code: int, reason: str, *more: str, body: str = "") -> str:
    """To the request that was received last, by one who is called."""
    headers = [
        "[last_Via:]",
        "[last_From:]",
        "[last_To:];tag=[pid]s[call_number]" if code > 100 else "[last_To:]",
        "[last_Call-ID:]",
        "[last_CSeq:]",
        "Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>",
        *more,
    ]
    return send(
        _message(f"SIP/2.0 {code} {reason}", headers, body, "application/sdp"),
        again=code >= 300 or (bool(body) and code >= 200),
    )


def ok(*more: str, body: str = "") -> str:
    """200 in a dialog: To has its tag."""
    headers = ["[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]", *more]
    return send(_message("SIP/2.0 200 OK", headers, body, "application/sdp"), again=bool(body))


def from_callee(method: str, *more: str, body: str = "", kind: str = "message/sipfrag", cseq: int = 1) -> str:
    """A request by one who was called; From and To change places."""
    headers = [
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        "Max-Forwards: 70",
        "From: <sip:callee@[local_ip]:[local_port]>;tag=[pid]s[call_number]",
        "To: [$caller]",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>",
        *more,
    ]
    return send(_message(f"{method} sip:trunkline@[remote_ip]:[remote_port] SIP/2.0", headers, body, kind))


def send(message: str, *, again: bool = True) -> str:
    """again: until something comes back. A response that nothing comes back to must not wait for it."""
    return f"<send{' retrans=' + chr(34) + '500' + chr(34) if again else ''}><![CDATA[\n{message}]]></send>"


def recv(what: int | str, *, optional: bool = False, auth: bool = False, has: str = "", keep: bool = False) -> str:
    """A code or a method. has: a pattern that the message must match; keep: the caller's address, for `from_callee`."""
    kind = f'response="{what}"' if isinstance(what, int) else f'request="{what}"'
    extra = ' optional="true"' if optional else ""
    extra += ' auth="true"' if auth else ""
    actions = f'<ereg regexp="{has}" search_in="msg" check_it="true" assign_to="has"/>' if has else ""
    if keep:
        actions += '<ereg regexp=".*" search_in="hdr" header="From:" check_it="true" assign_to="caller"/>'
    return f'<recv {kind}{extra} rrs="true"><action>{actions}</action></recv>' if actions else f"<recv {kind}{extra}/>"


def pause(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


def ack(cseq: int = 1) -> str:
    """Of the INVITE with that CSeq."""
    return inside("ACK", cseq=cseq).replace(' retrans="500"', "")


def play(file: str) -> str:
    """A recording of RTP."""
    return f'<nop><action><exec play_pcap_audio="{file}"/></action></nop>'


INVITE = request("INVITE", body=SDP)
TALK = [INVITE, recv(100, optional=True), recv(180, optional=True), recv(200), ack()]


async def sipp(steps: Sequence[str], folder: Path, port: int, *, listen: int = 0, more: Sequence[str] = ()) -> None:
    """Run it; asserts that it went as written. port: of the gateway; listen: of SIPp, when it is called."""
    number = len(list(folder.glob("scenario*")))  # noqa: ASYNC240
    file = folder / f"scenario{number}.xml"
    used = "".join(
        f'<Reference variables="{name}"/>' for name in ("has", "caller") if any(f'"{name}"' in step for step in steps)
    )
    file.write_text(f'<?xml version="1.0" encoding="UTF-8"?><scenario name="s">{"".join(steps)}{used}</scenario>')
    command = [
        "sipp",
        "-sf",
        str(file),
        "-i",
        "127.0.0.1",
        "-m",
        "1",
        "-timeout",
        f"{PATIENCE_S:.0f}s",
        "-timeout_error",
    ]
    command += ["-nostdin", "-trace_err", "-error_file", str(folder / f"errors{number}"), "-trace_msg"]
    command += ["-message_file", str(folder / f"messages{number}"), "-p", str(listen or free_port()), *more]
    command += ["-mp", str(free_port() & ~1)]
    process = await asyncio.create_subprocess_exec(
        *command, f"127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    out = b"it did not end, its own limit notwithstanding"
    try:
        with suppress(TimeoutError):
            out, _ = await asyncio.wait_for(process.communicate(), LONGEST_S)
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.wait_for(process.wait(), PATIENCE_S)
    if process.returncode != 0:
        told = [
            path.read_text() for path in (folder / f"errors{number}", folder / f"messages{number}") if path.exists()
        ]
        pytest.fail("\n".join([f"sipp: {process.returncode}", out.decode()[-800:], *(text[-6000:] for text in told)]))
