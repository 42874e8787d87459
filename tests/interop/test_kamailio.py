"""Kamailio as registrar and proxy between us and a telephone: every request needs a digest, ours and the phone's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import samples
from tests.interop.baresip_rig import baresip, free_tcp_port
from tests.interop.desk import desk
from tests.interop.kamailio_rig import PASSWORD, Kamailio, kamailio
from tests.interop.service import answered, as_toml, recording, service
from tests.interop.sound import alike, speech
from tests.peers.sip.rig import folder, needs
from tests.wire.workers import Node

pytestmark = pytest.mark.interop
HOURS = "what are your opening hours"
_ = folder


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


@pytest.fixture
def proxy(folder: Path) -> Iterator[Kamailio]:
    with kamailio(folder / "kamailio", free_tcp_port()) as here:
        yield here


def trunk(proxy: Kamailio, password: str = PASSWORD, **more: object) -> dict[str, object]:
    """We are its subscriber 100."""
    return samples.trunk("kamailio", f"127.0.0.1:{proxy.port}", password=password, **more)


def account(proxy: Kamailio, more: str = "") -> str:
    """A telephone that is its subscriber 200."""
    outbound = f"sip:127.0.0.1:{proxy.port}"
    return f'<sip:200@127.0.0.1:{proxy.port}>;auth_user=200;auth_pass={PASSWORD};outbound="{outbound}"{more}'


async def test_who_calls_our_extension_there_talks_with_the_agent(folder: Path, proxy: Kamailio) -> None:
    async with (
        service(folder, as_toml("sip.trunk", trunk(proxy))) as (run, _),
        baresip(folder / "phone", account(proxy)) as phone,
    ):
        await run.told("trunk.changed")
        await phone.registered()
        await phone.does("dial", f"sip:100@127.0.0.1:{proxy.port}")
        await answered(run, phone, speech(folder / "question.wav", HOURS))
        (call,) = await run.calls(1, live=False)
        assert (call["from"], call["to"], call["cause"]) == ("200", "100", "completed")
        assert call["turns"][1]["caller_text"] == HOURS
        assert alike(phone.heard, await recording(run, call)) > 0.8
        (invite,) = proxy.seen("INVITE 200")
        assert invite.endswith("to 100 as 200")


async def test_we_call_out_with_a_digest_and_both_hear_each_other(folder: Path, proxy: Kamailio) -> None:
    async with (
        desk(folder, {"trunk": [trunk(proxy)]}) as own,
        baresip(folder / "phone", account(proxy, ";answermode=auto")) as phone,
    ):
        await own.up("pbx")
        await phone.registered()
        placing = own.place("200", "pbx")
        await answered(own.run, phone, speech(folder / "question.wav", HOURS))
        record = await placing
        assert (record.direction, record.cause) == ("outbound", "completed")
        assert record.turns[1].caller_text == HOURS
        (call,) = await own.run.calls(1, live=False)
        assert alike(phone.heard, await recording(own.run, call)) > 0.8
        (invite,) = proxy.seen("INVITE 100")
        assert invite.endswith("to 200 as 100")


async def calls_us(run: Node, proxy: Kamailio, folder: Path) -> None:
    """The telephone gets through to our extension."""
    async with baresip(folder / "phone", account(proxy)) as phone:
        await phone.registered()
        await phone.does("dial", f"sip:100@127.0.0.1:{proxy.port}")
        await phone.until("CALL_ESTABLISHED")
        await phone.does("hangup")
        await run.calls(1, live=False)


async def test_a_registrar_that_forgot_all_is_told_again_in_time(folder: Path, proxy: Kamailio) -> None:
    """It was away so shortly that we have noticed nothing."""
    async with service(folder, as_toml("sip.trunk", trunk(proxy, register_s=12))) as (run, _):
        await run.told("trunk.changed")
        known = len(proxy.seen("REGISTER 100"))
        proxy.kill()
        proxy.start()
        async with asyncio.timeout(60):
            while len(proxy.seen("REGISTER 100")) == known:  # noqa: ASYNC110 - another process
                await asyncio.sleep(1)
        await calls_us(run, proxy, folder)
        assert len(run.lines("trunk.changed")) == 1


async def test_a_registrar_that_was_away_for_longer_is_found_again(folder: Path, proxy: Kamailio) -> None:
    row = trunk(proxy, register_s=12, transport="tcp")
    async with service(folder, as_toml("sip.trunk", row), listen=f"tcp:127.0.0.1:{free_tcp_port()}") as (run, _):
        await run.told("trunk.changed")
        proxy.kill()
        assert (await run.told("trunk.changed", 2))[1]["state"] == "down"
        proxy.start()
        assert (await run.told("trunk.changed", 3))[2]["state"] == "up"
        await calls_us(run, proxy, folder)


async def test_a_wrong_password_is_told_and_not_tried_again_and_again(folder: Path, proxy: Kamailio) -> None:
    async with service(folder, as_toml("sip.trunk", trunk(proxy, "wrong"))) as (run, _):
        (told,) = await run.told("trunk.changed")
        assert (told["state"], told["code"]) == ("rejected", 401)
        await asyncio.sleep(5)
        assert len(proxy.seen("REGISTER 100")) <= 4  # one without, one or two with a digest, and no more for now
        assert len(run.lines("trunk.changed")) == 1
