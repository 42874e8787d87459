"""Scripted calls of a simulated Asterisk: the real service, the offline agent, recorded speech, real time."""

import asyncio
from pathlib import Path

import pytest

from tests.wire.service import running
from trunkline_sim.account import Account
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import load
from trunkline_sim.voices import Voices

pytestmark = pytest.mark.wire

EXAMPLES = Path(__file__).parents[2] / "examples"


async def _calls(folder: Path) -> dict[str, Account]:
    """One after the other: an Asterisk does not say who calls, so that a spectator could not tell them apart."""
    changes = {"ai": {"profile": "offline"}, "audiosocket": {"listen": "127.0.0.1:0"}}
    async with running(folder, changes, provider=None) as run:
        plans = {
            name: Plan(load(EXAMPLES / f"{name}.call"), run.service.audiosocket, api=run.url)
            for name in ("hours", "barge_in", "keys")
        }
        told = {name: await place(plan, Voices()) for name, plan in plans.items()}
        await run.calls(0, live=True)
        return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Account]:
    return asyncio.run(_calls(tmp_path_factory.mktemp("asterisk")))


@pytest.mark.parametrize("name", ["hours", "barge_in", "keys"])
def test_every_script_gets_what_it_expects(told: dict[str, Account], name: str) -> None:
    assert told[name].good, told[name].judged
    assert not told[name].stream.listener.complaints
