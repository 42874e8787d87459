"""Codecs, packet by packet: both voices, what is not allowed, comfort noise."""

import asyncio
import struct
import wave
from pathlib import Path

import pytest

from tests.interop.baresip_rig import baresip
from tests.peers.sip.caller import Caller, calling, echo_of, encoded, sdp, strength, tone
from tests.peers.sip.rig import Worker, folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire
from trunkline.codecs.codec import Codec
from trunkline.codecs.g711 import PCMA, PCMU

pytestmark = pytest.mark.interop
_ = folder
HZ = 440


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def over(here: Worker, caller: Caller) -> None:
    await caller.bye()
    await here.until(wire.Gone)


@pytest.mark.parametrize(("codec", "kind", "name"), [(PCMU, 0, "PCMU/8000"), (PCMA, 8, "PCMA/8000")])
async def test_both_voices(folder: Path, codec: Codec, kind: int, name: str) -> None:
    async with gateway(folder) as up, worker(up.options.socket) as here, calling(up.port()) as caller:
        await caller.invite(sdp(caller.rtp.port, str(kind)))
        told = await here.until(wire.Up)
        assert told.codec == name
        await caller.talk(encoded(codec, 60), kind)
        await over(here, caller)
    assert strength(here.heard[told.call], HZ) > 0.9
    assert strength(echo_of(caller, codec, kind), HZ) > 0.9


@pytest.mark.parametrize("rate", [8000, 16000])
async def test_linear_audio(folder: Path, rate: int) -> None:
    async with gateway(folder) as up, worker(up.options.socket) as here, calling(up.port()) as caller:
        await caller.invite(sdp(caller.rtp.port, f"96 L16/{rate}"))
        told = await here.until(wire.Up)
        assert told.codec == f"L16/{rate}"
        big_endian = [
            struct.pack(f">{rate // 50}h", *struct.unpack(f"<{rate // 50}h", one)) for one in tone(HZ, 60, rate)
        ]
        await caller.talk(big_endian, 96, rate // 50)
        await over(here, caller)
    assert strength(here.heard[told.call], HZ) > 0.9
    back = b"".join(payload for kind, _sequence, payload in caller.heard if kind == 96)
    assert strength(struct.pack(f"<{len(back) // 2}h", *struct.unpack(f">{len(back) // 2}h", back)), HZ, rate) > 0.9


async def test_a_codec_that_was_not_allowed_is_refused(folder: Path) -> None:
    async with gateway(folder, codecs=("PCMA",)) as up, worker(up.options.socket), calling(up.port()) as caller:
        assert (await caller.invite(sdp(caller.rtp.port, "0"))).startswith("SIP/2.0 488")


async def test_comfort_noise_and_silence_without_packets(folder: Path) -> None:
    """RFC 3389, payload type 13, and discontinuous sending: neither is lost audio, neither is heard as a crack."""
    async with gateway(folder) as up, worker(up.options.socket, echo=False) as here, calling(up.port()) as caller:
        await caller.invite(sdp(caller.rtp.port, "0", "13 CN/8000"))
        call = (await here.until(wire.Up)).call
        await caller.talk(encoded(PCMU, 40), 0)
        before = len(here.heard[call])
        for _pause in range(4):
            await caller.talk([bytes([70]), *[b""] * 9], 13)  # the level, and nothing for 180 ms
        await asyncio.sleep(0.1)
        quiet = here.heard[call][before + 3200 :]
        await caller.talk(encoded(PCMU, 40, 1000), 0)
        await over(here, caller)
    assert max(map(abs, struct.unpack(f"={len(quiet) // 2}h", quiet))) < 2000
    assert strength(here.heard[call][:before], HZ) > 0.9
    assert strength(here.heard[call][-8000:], 1000) > 0.8
    assert max(told.rx_lost for told in here.told if isinstance(told, wire.Quality)) == 0


async def test_g722_with_a_telephone_of_others(folder: Path) -> None:
    """No codec of ours knows it: baresip encodes a tone, hears its echo, and both must be the tone."""
    wav = folder / "tone.wav"
    with wave.open(str(wav), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(tone(HZ, 500)))
    account = "<sip:caller@127.0.0.1>;regint=0;audio_codecs=G722/16000/1"
    async with (
        gateway(folder) as up,
        worker(up.options.socket) as here,
        baresip(folder / "phone", account) as phone,
    ):
        await phone.says(wav)
        await phone.does("dial", f"sip:agent@127.0.0.1:{up.port()}")
        told = await here.until(wire.Up)
        assert told.codec == "G722/16000"
        await asyncio.sleep(2.5)
        await phone.does("hangup")
        await here.until(wire.Gone)
        await phone.until("CALL_CLOSED")
        heard = phone.heard
    assert strength(here.heard[told.call][8000:], HZ) > 0.9
    with wave.open(str(heard)) as file:
        back, rate = file.readframes(file.getnframes()), file.getframerate()
    assert strength(back[rate:], HZ, rate) > 0.8
