"""The offline agent's limit is kept: the call beyond it hears busy before the upgrade, the others notice nothing."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import running
from trunkline_sim.account import Account
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import parse
from trunkline_sim.voices import VOICES, Voices

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(not VOICES["kal16"].installed, reason="callers need flite"),
]
SCRIPT = """
title: Busy
voice: kal16

wait for agent
say "what are your opening hours"
wait for agent
expect /open|hour/
hang up
"""


async def test_the_call_beyond_capacity_hears_busy_and_the_others_go_on(tmp_path: Path) -> None:
    settings = {"ai": {"profile": "offline", "offline": {"recognisers": 1, "capacity": 2}}}
    voices = Voices()
    await voices.prepare(parse(SCRIPT))
    async with running(tmp_path, settings, provider=None) as run, asyncio.TaskGroup() as group:
        url = run.socket_url + "/smartflo/audio"
        talks = [group.create_task(place(Plan(parse(SCRIPT), url, seed=n), voices)) for n in range(2)]
        await run.calls(2, live=True)
        for _ in range(5):
            with pytest.raises(aiohttp.WSServerHandshakeError) as busy:
                await run.client.ws_connect(url)
            assert busy.value.status == 503
            assert int(busy.value.headers["Retry-After"]) >= 1  # type: ignore[index]
            await asyncio.sleep(0.5)
        accounts: list[Account] = [await talk for talk in talks]
        for account in accounts:
            assert account.good, [judged for judged in account.judged if judged.verdict != "met"]
            assert account.ending.by == "caller"
        ended = await run.calls(2, live=False)
        assert {call["cause"] for call in ended} == {"completed"}
        assert not [name for call in ended for name in call["counters"] if "dropped" in name]
        async with run.client.ws_connect(url):
            pass  # a line is free again
