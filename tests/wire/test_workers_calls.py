"""Two workers behind one address, with what a single one is tested with: the offline agent, TLS, Twilio's sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import PATIENCE_S, Caller
from tests.wire.workers import Node, node
from trunkline_sim.certs import make_certificates
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import parse
from trunkline_sim.twilio import TwilioSpeaker, call_facts
from trunkline_sim.twilio_http import signed
from trunkline_sim.voices import Voices
from trunkline_sim.wire import CallFacts

pytestmark = pytest.mark.wire

MEDIA_TOKEN, AUTH_TOKEN = "a-secret-token-1234567", "twilio-s-own-secret-0123456789"
TWILIO = f"""
[auth]
media_token = "{MEDIA_TOKEN}"
[carriers.twilio]
auth_token = "{AUTH_TOKEN}"
"""
ASKS = """
interrupt after 800 ms with "what are your opening hours"
wait for agent
expect /open|hour/
hang up
"""


def owners(calls: list[dict[str, str]]) -> set[str]:
    """The workers that have them."""
    return {call["owner"] for call in calls}


async def test_the_offline_agent_of_either_worker_understands_its_callers(tmp_path: Path) -> None:
    """With recognisers of their own, whichever worker takes the call. On a busy machine one of four may be misheard."""
    async with node(tmp_path, "--profile", "offline", "--set", "ai.offline.recognisers=2") as run:
        await run.told("worker.ready", 2)
        plan = Plan(parse(ASKS), run.url.replace("http", "ws", 1) + "/smartflo/audio", seed=3)
        told = await asyncio.gather(*(place(plan, Voices()) for _ in range(4)))
        over = {call["id"]: call for call in await run.calls(4, live=False)}
    assert {(call["provider"], call["cause"]) for call in over.values()} == {("offline", "completed")}
    assert len(owners(list(over.values()))) == 2, over
    understood = {over[account.call_id]["owner"] for account in told if account.good}
    assert len(understood) == 2, [account.judged for account in told]


async def test_both_workers_speak_tls_themselves(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    options = (f"server.tls_cert={made.chain_file}", f"server.tls_key={made.key_file}")
    words = [word for one in options for word in ("--set", one)]
    async with node(tmp_path, *words, trust=made.client_context()) as run:
        await run.told("worker.ready", 2)
        assert run.url.startswith("https://")
        async with run.calling(6) as callers:
            live = await run.calls(6, live=True)
            assert len(owners(live)) == 2, live
            await asyncio.gather(*(caller.speak(0.5) for caller in callers))
            for call in live:
                assert (await run.ask("POST", f"/calls/{call['id']}/hangup"))[0] == 202
            assert await asyncio.gather(*(caller.until_closed() for caller in callers)) == [1000] * 6
            assert all(heard(caller) for caller in callers)  # the echo
        plain = run.url.replace("https", "http", 1)
        with pytest.raises(aiohttp.ClientError):
            await run.client.get(plain + "/")


def heard(caller: Caller) -> bool:
    return any(message["event"] == "media" for message in caller.heard)


async def test_a_twilio_call_has_one_stream_at_whichever_worker_and_no_process_shows_the_token(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(TWILIO)
    async with node(tmp_path, "--config", str(tmp_path / "config.toml")) as run, AsyncExitStack() as stack:
        await run.told("worker.ready", 2)
        streams = [call_facts("15005550006", "918069000000") for _ in range(6)]
        for count, facts in enumerate(streams, 1):
            await stack.enter_async_context(described(run, facts))
            await run.calls(count, live=True)
        live = await run.calls(6, live=True)
        assert len(owners(live)) == 2, live
        others = [replace(facts, stream_sid=f"MZ{number:032x}") for facts in streams for number in range(3)]
        again = [
            refused(run, facts) for facts in others
        ]  # second streams of calls that go on, mostly at the other worker
        assert await asyncio.gather(*again) == [1000] * 18
        assert {call["id"] for call in await run.calls(6, live=True)} == {call["id"] for call in live}
        await shows_no_secret(run)


async def shows_no_secret(run: Node) -> None:
    """The settings go down a socket: neither a command line nor an environment has them, nor the log."""
    for pid in (run.process.pid, *run.pids.values()):
        for file in ("cmdline", "environ", "comm"):
            shown = await asyncio.to_thread(Path(f"/proc/{pid}/{file}").read_bytes)
            assert b"trunkline" in shown or file != "cmdline", shown
            assert AUTH_TOKEN.encode() not in shown, (pid, file)
            assert MEDIA_TOKEN.encode() not in shown, (pid, file)
    assert AUTH_TOKEN not in run.log.read_text()


@asynccontextmanager
async def described(run: Node, facts: CallFacts) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A media socket of Twilio's, signed, with its stream described."""
    url = run.url.replace("http", "ws", 1) + f"/media/twilio/{MEDIA_TOKEN}"
    async with run.client.ws_connect(url, headers=signed(AUTH_TOKEN, url)) as socket:
        speaker = TwilioSpeaker(facts)
        await socket.send_str(speaker.connected())
        await socket.send_str(speaker.start())
        yield socket


async def refused(run: Node, facts: CallFacts) -> int | None:
    """The close code of a stream that nobody takes."""
    async with described(run, facts) as socket, asyncio.timeout(PATIENCE_S):
        async for _ in socket:
            pass
    return socket.close_code
