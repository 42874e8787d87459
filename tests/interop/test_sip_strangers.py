"""Who is not listed: nothing on the wire to them, no slot, no port, however many they are, while calls go on.

`TRUNKLINE_STRANGERS="CALLS RATE SECONDS"` for the full figure (50 500 60); the test runs a smaller one.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.interop.sip_capture import Capture
from tests.interop.sip_stranger import request
from tests.interop.sip_torture_rig import Caller, Census, Heard, Probe, datagrams, in_namespace, over_tcp
from tests.peers.sip.rig import Process, folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
_ = folder
CALLS, RATE, SECONDS = (int(part) for part in os.environ.get("TRUNKLINE_STRANGERS", "20 500 6").split())
HOME, STRANGER = ("127.0.0.1/32",), "127.0.0.9"
USERS = ({"name": "desk", "password": "secret"},)


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=Path(__file__).parents[2]
    )
    out, _ = await process.communicate()
    return out.decode(errors="replace")


async def stranger(up: Process, rate: int, seconds: int) -> dict[str, int]:
    command = (sys.executable, "-m", "tests.interop.sip_stranger", STRANGER, str(up.port()), str(rate), str(seconds))
    return json.loads((await run(*command)).splitlines()[-1])


def wholly(callers: list[Caller], since: float) -> Heard:
    """All voices as one: sums, the longest gap, the mean share of late packets."""
    heard = [caller.heard(since) for caller in callers]
    late = sum(one.late for one in heard) / len(heard)
    return Heard(
        sum(one.packets for one in heard), sum(one.missing for one in heard), max(one.gap_s for one in heard), late
    )


def udp_sockets(pid: int) -> int:
    """That the process holds, in the namespace that this thread is in."""
    inodes = {line.split()[9] for line in Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]}
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink())
    return sum(link[8:-1] in inodes for link in links if link.startswith("socket:["))


def test_a_flood_of_strangers_beside_live_calls(folder: Path) -> None:
    async def body() -> None:
        async with AsyncExitStack() as stack:
            up = await stack.enter_async_context(gateway(folder, allow=HOME))
            workers = [
                await stack.enter_async_context(worker(up.options.socket, f"w{at}")) for at in range(-(-CALLS // 16))
            ]
            callers = [await Caller.open(up.port(), f"caller{at}") for at in range(CALLS)]
            await asyncio.sleep(1.0)
            begun = time.monotonic()
            await asyncio.sleep(SECONDS / 2)
            before, census, sockets = wholly(callers, begun), Census.of(up.process.pid), udp_sockets(up.process.pid)
            begun = time.monotonic()
            with Capture(STRANGER) as seen:
                said = await stranger(up, RATE, SECONDS)
                quiet = list(seen.packets)
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"there", (STRANGER, 9))
                await asyncio.sleep(0.5)
                assert len(seen.packets) == len(quiet) + 1  # it does see what there is
            after = wholly(callers, begun)
            offers = sum(isinstance(told, wire.Offer) for one in workers for told in one.told)
            assert (offers, udp_sockets(up.process.pid)) == (CALLS, sockets)
            assert Census.of(up.process.pid).descriptors == census.descriptors
            assert [await caller.bye() for caller in callers] == [200] * CALLS
            for caller in callers:
                await caller.close()
            figures = await up.stopped()
        print(
            f"\n{CALLS} calls, {said['sent']} packets of strangers in {SECONDS} s; before {before}; meanwhile {after}"
        )
        assert (said["heard"], quiet) == (0, [])
        assert figures["gate_dropped"] == said["sent"] > RATE * SECONDS * 0.8
        assert figures["gate_dropped_invite"] == said["invites"]
        assert figures["offered"] == CALLS
        assert (before.missing, after.missing) == (0, 0)
        assert after.packets > 0.9 * CALLS * SECONDS * 50

    in_namespace(body)


def test_a_strangers_connection_is_reset_unread(folder: Path) -> None:
    async def body() -> None:
        async with gateway(folder, allow=HOME) as up:
            census = Census.of(up.process.pid)
            for _ in range(20):
                assert await over_tcp(up.port("tcp"), [b"OPTIONS sip:a SIP/2.0\r\n\r\n"], 1.0, source=STRANGER) == []
            assert Census.of(up.process.pid).descriptors == census.descriptors
            figures = await up.stopped()
            assert (figures["gate_dropped_connection"], figures["gate_malformed"]) == (20, 0)

    in_namespace(body)


def test_what_a_stranger_sends_is_not_even_parsed(folder: Path) -> None:
    async def body() -> None:
        async with gateway(folder, allow=HOME) as up:
            probe = await Probe.open(up.port())
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            far.bind((STRANGER, 0))
            with Capture(STRANGER) as seen:
                for data in (
                    b"INVITE " + b"nonsense" * 9,
                    b"\0" * 100,
                    b"\r\n" * 40,
                    b"REGISTER sip:x SIP/2.0\r\n" * 9,
                    b"x" * 15_000,
                ):
                    far.sendto(data, ("127.0.0.1", up.port()))
                await probe.ask("nonsense")
            figures = await up.stopped()
            assert (seen.packets, figures["gate_dropped"], figures["gate_malformed"]) == ([], 5, 0)
            assert (figures["gate_dropped_invite"], figures["gate_dropped_register"]) == (1, 1)
            assert "bytes packet" not in (folder / "log").read_text()

    in_namespace(body)


def scanner(name: str) -> str:
    found = shutil.which(name) or shutil.which(f"sipvicious_{name}")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package: sipvicious)")
    return found


def test_svmap_sees_nobody(folder: Path) -> None:
    """It does see a gateway that lets its address in: the check can fail."""
    svmap = scanner("svmap")

    async def seen_by(method: str, allow: tuple[str, ...], **more: object) -> str:
        place = Path(tempfile.mkdtemp(dir=folder))
        async with gateway(place, allow=allow, **more) as up:
            return await run(svmap, "-b", STRANGER, "-x", STRANGER, "-p", str(up.port()), "-m", method, "127.0.0.1")

    async def body() -> None:
        shown, *hidden = await asyncio.gather(
            seen_by("OPTIONS", ("127.0.0.0/8",)),
            seen_by("OPTIONS", HOME),
            seen_by("INVITE", HOME),
            seen_by("OPTIONS", HOME, users=USERS),
        )
        assert "Trunkline" in shown
        assert not [told for told in hidden if "Trunkline" in told or "nothing" not in told]

    in_namespace(body)


def test_svwar_learns_no_extension(folder: Path) -> None:
    """With users anybody may ask to call: a REGISTER hears nothing, an INVITE the same challenge for every name."""
    svwar = scanner("svwar")  # which takes no notice of -b: it is the stranger of 127.0.0.1 here

    async def body() -> None:
        async with gateway(folder, allow=("127.0.0.5/32",), users=USERS) as up:
            command = (svwar, "-p", str(up.port()), "-e", "100-400", "--force", "-m")
            registered = await run(*command, "REGISTER", "127.0.0.1")
            with Capture("127.0.0.1") as seen:
                invited = await run(*command, "INVITE", "127.0.0.1")
            probe = await Probe.open(up.port(), "127.0.0.5")
            await probe.ask("svwar")
            figures = await up.stopped()
        answers = sum(b"SIP/2.0 401" in packet for packet in seen.packets)
        print(f"\nsvwar: {invited[-200:]} {answers} times 401, {figures}")
        assert ("nothing" in registered, "nothing" in invited) == (True, True)
        assert 0 < figures["turned_401"] <= 60
        assert figures["gate_dropped_guest"] > 0

    in_namespace(body)


def test_a_guest_reaches_invite_and_nothing_else(folder: Path) -> None:
    """Whoever might prove who he is hears a challenge to INVITE; nothing to the rest, nor to what is malformed."""

    async def body() -> None:
        async with gateway(folder, allow=HOME, users=USERS) as up:
            far = await datagrams(STRANGER)
            assert far.transport is not None
            own = far.transport.get_extra_info("sockname")[1]
            codes = {}
            for number, method in enumerate(
                ("OPTIONS", "REGISTER", "SUBSCRIBE", "BYE", "CANCEL", "NONSENSE", "INVITE")
            ):
                message = request(method, STRANGER, own, number)
                for data in (
                    message,
                    message.replace(b"CSeq: 1", b"CSeq: x"),
                    message.replace(b"1.1.1.1>\r", b"1.1.1.1>;tag=1\r"),
                ):
                    far.transport.sendto(data, ("127.0.0.1", up.port()))
                await asyncio.sleep(0.3)
                codes[method] = await far.final(0)
            figures = await up.stopped()
            far.close()
        assert codes == {**dict.fromkeys(codes, 0), "INVITE": 401}
        assert (figures["gate_malformed"], figures["turned_401"], figures["live"]) == (7, 1, 0)

    in_namespace(body)


def test_a_connection_that_says_nothing_is_closed(folder: Path) -> None:
    """After 16 s (config_site.h), or it would keep a descriptor for ever."""

    async def body() -> None:
        async with gateway(folder) as up:
            silent, writer = await asyncio.open_connection("127.0.0.1", up.port("tcp"))
            halting, other = await asyncio.open_connection("127.0.0.1", up.port("tcp"))
            other.write(b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: ")
            assert [await asyncio.wait_for(one.read(), 30) for one in (silent, halting)] == [b"", b""]
            writer.close()
            other.close()

    in_namespace(body)


def test_so_many_invites_of_one_guest_and_no_more(folder: Path) -> None:
    """Beyond 30 at once and 10 a second they take nothing: no slot, no port."""

    async def body() -> None:
        async with gateway(folder, allow=HOME, users=USERS) as up:
            said = await stranger(up, 2000, 1)
            figures = await up.stopped()
        assert said["invites"] > 100
        assert 30 <= figures["turned_401"] <= 50
        assert figures["gate_dropped_guest"] + figures["gate_dropped_invite"] > 50

    in_namespace(body)
