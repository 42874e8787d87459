"""A softphone of others, baresip, calls the agent: heard, answered, drawn; in the open, and with TLS and SRTP."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.interop.baresip_rig import baresip
from tests.interop.service import answered, as_toml, picture, recording, service
from tests.interop.sound import alike, speech
from tests.peers.sip.rig import folder, free_port, needs
from trunkline_sim.canvas import Shape
from trunkline_sim.picture import AGENT, CALLER

pytestmark = pytest.mark.interop
HOURS = "what are your opening hours"
MANDATORY = ";mediaenc=srtp-mand"
_ = folder


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


def peaks(shapes: list[Shape]) -> int:
    """How much of a voice is drawn: corners of its outlines."""
    return sum(len(shape.points) for shape in shapes)


async def test_baresip_asks_and_is_answered(folder: Path) -> None:
    async with service(folder) as (run, port), baresip(folder / "phone") as phone:
        await phone.does("dial", f"sip:agent@127.0.0.1:{port}")
        await answered(run, phone, speech(folder / "question.wav", HOURS))
        (call,) = await run.calls(1, live=False)
        answer = call["turns"][1]
        assert answer["caller_text"] == HOURS
        assert "open from" in answer["heard_text"]
        assert answer["response_s"] < 3  # 0.7 s on a machine of its own
        assert (call["cause"], call["labels"]["line_codec"]) == ("completed", "PCMU")
        assert alike(phone.heard, await recording(run, call)) > 0.8  # what we have said
        drawn = await picture(run, call, folder)
        drawn.save_png(folder / "timeline.png")
        for colour in (CALLER, AGENT):
            outline = [item for item in drawn.items if isinstance(item, Shape) and item.fill == colour]
            assert peaks(outline) > 50, f"no voice in {colour}"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and its certificate for loopback."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return key, cert


async def test_with_a_password_tls_and_srtp_both_voices_are_heard_and_the_record_says_how(folder: Path) -> None:
    key, cert = certificate(folder)
    own = {
        "tls_cert": str(cert),
        "tls_key": str(key),
        "srtp": "required",
        "public_address": "127.0.0.1",
        "algorithms": ["MD5"],
    }
    secure = as_toml("sip", own) + as_toml("sip.user", {"name": "desk", "password": "secret"})
    place = f"tls:0.0.0.0:{free_port()}"  # then this machine is a stranger like any other
    account = f"<sip:desk@127.0.0.1;transport=tls>;regint=0;auth_user=desk;auth_pass=secret{MANDATORY}"
    async with service(folder, secure, listen=place) as (run, port), baresip(folder / "phone", account) as phone:
        await phone.does("dial", f"sip:agent@127.0.0.1:{port};transport=tls")
        await answered(run, phone, speech(folder / "question.wav", HOURS))
        (call,) = await run.calls(1, live=False)
        assert call["turns"][1]["caller_text"] == HOURS
        assert alike(phone.heard, await recording(run, call)) > 0.8
        assert call["from"] == "desk"
        assert call["labels"]["line_srtp"].startswith("AES_CM_128_HMAC_SHA1")


async def test_a_telephone_on_tls_hears_that_we_hang_up(folder: Path) -> None:
    key, cert = certificate(folder)
    own = as_toml("sip", {"tls_cert": str(cert), "tls_key": str(key)})
    place, account = f"tls:127.0.0.1:{free_port()}", "<sip:desk@127.0.0.1;transport=tls>;regint=0"
    async with service(folder, own, listen=place) as (run, port), baresip(folder / "phone", account) as phone:
        await phone.does("dial", f"sip:agent@127.0.0.1:{port};transport=tls")
        await phone.until("CALL_ESTABLISHED")
        (call,) = await run.calls(1, live=True)
        assert (await run.ask("POST", f"/calls/{call['id']}/hangup"))[0] == 202
        await run.calls(1, live=False)
        async with asyncio.timeout(5):
            await phone.until("CALL_CLOSED")


async def test_who_demands_srtp_turns_away_who_has_none(folder: Path) -> None:
    async with service(folder, '[sip]\nsrtp = "required"\n') as (run, port), baresip(folder / "phone") as phone:
        await phone.does("dial", f"sip:agent@127.0.0.1:{port}")
        closed = await phone.until("CALL_CLOSED")
        assert closed["param"].startswith("488")
        assert not await run.calls(0, live=False)
