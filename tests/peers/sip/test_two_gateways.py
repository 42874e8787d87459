"""Two gateways call each other: what SIPp cannot say (TLS, SRTP, sound both ways, keys in the audio path)."""

import asyncio
import math
import statistics
import struct
import subprocess

import pytest

from tests.peers.sip.rig import folder, free_port, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def tone(hz: float, frames: int) -> list[bytes]:
    """20 ms each, 8 kHz."""
    samples = [round(8000 * math.sin(2 * math.pi * hz * at / 8000)) for at in range(160 * frames)]
    return [struct.pack("=160h", *samples[at : at + 160]) for at in range(0, len(samples), 160)]


def strength(pcm: bytes, hz: float) -> float:
    """Share of the energy at that frequency, the median over pieces of 50 ms: a frame that came late is one of many."""
    return statistics.median(_strength(pcm[at : at + 800], hz) for at in range(0, len(pcm) - 800, 800))


def _strength(pcm: bytes, hz: float) -> float:
    samples = struct.unpack(f"={len(pcm) // 2}h", pcm)
    energy = sum(sample * sample for sample in samples) or 1
    real = sum(sample * math.cos(2 * math.pi * hz * at / 8000) for at, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(2 * math.pi * hz * at / 8000) for at, sample in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (energy * len(samples))


def certificate(folder):
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return str(cert), str(key)


async def talk(here, call: int, hz: float, seconds: float) -> None:
    for frame in tone(hz, round(seconds * 50)):
        here.slots[call].put(frame)
        await asyncio.sleep(0.019)


@pytest.mark.parametrize(
    ("kind", "srtp", "codec"),
    [("udp", "off", "PCMU/8000"), ("tls", "required", "PCMU/8000")],
)
async def test_both_voices(folder, kind, srtp, codec):
    cert, key = certificate(folder)
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    ports = free_port(), free_port()
    tls = {"tls_cert": cert, "tls_key": key, "tls_ca": cert}
    places = [(f"udp:127.0.0.1:{port}", f"{kind}:127.0.0.1:{port if kind != 'udp' else 0}") for port in ports]
    trunk = {"name": "b", "host": f"127.0.0.1:{ports[1]}", "transport": kind, "srtp": srtp}
    async with (
        gateway(folder / "a", listen=places[0], trunks=(trunk,), rtp_ports=(21000, 21999), **tls) as a,
        gateway(folder / "b", listen=places[1], rtp_ports=(22000, 22999), **tls) as b,
        worker(a.options.socket, echo=False) as one,
        worker(b.options.socket, echo=False) as two,
    ):
        call = await one.dial("agent", trunk="b")
        up = await one.until(wire.Up)
        other = await two.until(wire.Up)
        assert (up.codec, bool(up.srtp), up.digits) == (codec, srtp != "off", True)
        assert other.srtp == up.srtp
        assert (await two.until(wire.Offer)).source.startswith(f"{kind} 127.0.0.1")
        await asyncio.gather(talk(one, call, 440, 2.0), talk(two, other.call, 1000, 2.0))
        await asyncio.sleep(0.3)
        await one.say(wire.Hangup(call))
        await one.until(wire.Gone)
        await two.until(wire.Gone)
    middle = slice(8000, 24_000)
    assert strength(one.heard[call][middle], 1000) > 0.95
    assert strength(two.heard[other.call][middle], 440) > 0.95


async def test_keys_by_rfc_4733_once_each_in_order(folder):
    (folder / "b").mkdir()
    async with (
        gateway(folder) as a,
        gateway(folder / "b", rtp_ports=(22000, 22999)) as b,
        worker(a.options.socket) as one,
        worker(b.options.socket) as two,
    ):
        call = await one.dial(f"sip:agent@127.0.0.1:{b.port()}")
        await one.until(wire.Up)
        await one.say(wire.SendDigits(call, "155,#"))
        await two.until(wire.Digit, key="#")
        await one.say(wire.Hangup(call))
        await two.until(wire.Gone)
    assert [(told.key, told.method) for told in two.told if isinstance(told, wire.Digit)] == [
        ("1", "rfc4733"),
        ("5", "rfc4733"),
        ("5", "rfc4733"),
        ("#", "rfc4733"),
    ]


async def test_two_calls_are_joined_and_parted(folder):
    """The worker's two calls hear each other, not the worker; then the worker again."""
    (folder / "b").mkdir()
    async with (
        gateway(folder) as a,
        gateway(folder / "b", rtp_ports=(22000, 22999)) as b,
        worker(a.options.socket, echo=False) as one,
        worker(b.options.socket, echo=False) as two,
    ):
        calls = [await one.dial(f"sip:agent{at}@127.0.0.1:{b.port()}") for at in range(2)]
        for at in range(2):
            await one.until(wire.Up, calls[at])
            await two.until(wire.Up, nth=at + 1)
        far = {told.to: told.call for told in two.told if isinstance(told, wire.Offer)}
        await one.say(wire.Join(calls[0], calls[1]))
        await asyncio.sleep(0.3)
        one.heard.clear()
        two.heard.clear()
        await asyncio.gather(talk(two, far["agent0"], 440, 1.5), talk(one, calls[1], 1000, 1.5))
        joined = two.heard[far["agent1"]]
        assert not one.heard.get(calls[0])
        await one.say(wire.Join(calls[0], calls[1], on=False))
        await asyncio.sleep(0.3)
        one.slots[calls[1]].flush()
        one.heard.clear()
        await talk(two, far["agent0"], 440, 1.0)
        assert strength(one.heard[calls[0]][4000:12_000], 440) > 0.9
        for call in calls:
            await one.say(wire.Hangup(call))
        await one.until(wire.Gone, nth=2)
        await two.until(wire.Gone, nth=2)
        assert (await a.stopped())["callback_failures"] == 0
    assert strength(joined[6000:20_000], 440) > 0.9
