"""`trunkline call --to sip:…`: a scripted caller, our own telephone, the real gateway, the offline agent."""

import asyncio
import tempfile
import wave
from pathlib import Path

import pytest

from tests.peers.sip.rig import gateway, needs
from tests.wire.service import running, until
from trunkline.sip_calls import SipCalls
from trunkline_sim import report
from trunkline_sim.account import Account
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import parse
from trunkline_sim.voices import Voices

pytestmark = pytest.mark.peers
SCRIPT = """
title: Asks at once, and has heard enough soon
interrupt after 800 ms with "what are your opening hours"
expect barge-in
expect /open/
interrupt after 500 ms with "stop"
expect barge-in
silence 1 s
hang up
"""


async def _call(folder: Path) -> tuple[Account, dict[str, object]]:
    async with (
        gateway(folder) as up,
        running(folder, {"ai": {"profile": "offline"}}, provider=None) as run,
        SipCalls(run.service.desk, up.options.socket, "w1") as calls,
    ):
        await until(lambda: calls.line.welcome is not None)
        plan = Plan(parse(SCRIPT, "sip"), f"sip:agent@127.0.0.1:{up.port()}", api=run.url)
        account = await place(plan, Voices())
        (record,) = await run.calls(1, live=False)
        return account, record


@pytest.fixture(scope="module")
def told() -> tuple[Account, dict[str, object]]:
    needs()
    with tempfile.TemporaryDirectory(prefix="tl-call-") as folder:
        return asyncio.run(_call(Path(folder)))


def test_the_agent_answers_what_was_asked_and_is_interrupted(told: tuple[Account, dict[str, object]]) -> None:
    account, _ = told
    assert account.good, account.judged
    assert not account.stream.listener.complaints


def test_both_accounts_agree(told: tuple[Account, dict[str, object]]) -> None:
    account, record = told
    assert (record["cause"], record["fault"], record["carrier"]) == ("completed", "caller", "sip")
    assert record["carrier_ref"] == account.stream.facts.call_sid
    assert account.call_id == record["id"]


def test_both_voices_are_kept(told: tuple[Account, dict[str, object]], tmp_path: Path) -> None:
    wav, *_ = report.keep(told[0], tmp_path)
    with wave.open(str(wav)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 8000)
    assert len(told[0].agent_runs) >= 3
