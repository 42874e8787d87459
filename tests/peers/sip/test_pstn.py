"""Calls of the real service, through the real gateway, to the simulated telephone network: who answers, what is said of
it in the record, and what the network says of the same call.

All calls of a table run at once in one service; each row is judged by itself.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.sip.rig import gateway, needs
from tests.wire.service import running, until
from trunkline.ai.echo import EchoProvider
from trunkline.calls.record import CallRecord
from trunkline.sip_calls import SipCalls
from trunkline_sim.pstn import Pstn
from trunkline_sim.pstn_account import Entry
from trunkline_sim.pstn_people import people_of

pytestmark = pytest.mark.peers

PEOPLE: Mapping[str, dict[str, Any]] = {
    "busy": {},
    "rejects": {},
    "unwanted": {},
    "off": {"ring_s": 1.0},
    "not_in_service": {"ring_s": 1.0},
    "changed": {"ring_s": 1.0},
    "incomplete": {},
    "failure": {},
    "overloaded": {},
    "no_circuit": {"ring_s": 1.0},
    "timeout": {"ring_s": 1.0},
    "no_answer": {},
    "nothing": {},
    "answers": {"ring_s": 0.5, "script": 'say "hello"\nwait for agent up to 5 s\nsilence 1 s\nhang up'},
    "announced": {"ring_s": 1.5, "script": "silence 1 s\nhang up"},
    "hangs_up": {"ring_s": 0.2, "script": "silence 2.5 s\nhang up"},
    "voicemail": {"ring_s": 0.2, "script": "play tone:beep\nsilence 1 s\nhang up"},
    "presses": {"ring_s": 0.2, "script": "silence 0.5 s\npress 12#\nsilence 1 s\nhang up"},
    "holds": {"ring_s": 0.2, "script": "silence 0.5 s\nhold 1 s\nsilence 1 s\nhang up"},
    "transfers": {
        "ring_s": 0.2,
        "script": "silence 0.5 s\ntransfer to sip:desk@pbx.invalid\nsilence 1 s\nhang up",
    },
    "vanishes": {"ring_s": 0.2, "vanish_s": 1.0},
    "dtx": {"kind": "answers", "vad": True, "ring_s": 0.2, "script": "silence 3.5 s\nhang up"},
}
CLEARED = "BYE"  # and why, where they say it
TALKED = ("completed", "abandoned")  # by whether an echo was heard to its end, which is a matter of milliseconds
OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "busy": ("busy", "callee", "486 Busy Here"),
    "rejects": ("rejected", "callee", "603 Decline"),
    "unwanted": ("rejected", "callee", "607 Unwanted"),
    "off": ("no_answer", "callee", "480 Temporarily Unavailable"),
    "not_in_service": ("rejected", "callee", "404 Not Found"),
    "changed": ("rejected", "callee", "410 Gone"),
    "incomplete": ("rejected", "callee", "484 Address Incomplete"),
    "failure": ("carrier_failed", "carrier", "500 Server Internal Error"),
    "overloaded": ("carrier_failed", "carrier", "503 Service Unavailable"),
    "no_circuit": ("carrier_failed", "carrier", "503 Service Unavailable"),
    "timeout": ("no_answer", "callee", "408 Request Timeout"),
    "no_answer": ("no_answer", "callee", "no answer"),
    "nothing": ("no_answer", "callee", "no answer"),
    "answers": ("talked", "callee", CLEARED),
    "announced": ("talked", "callee", CLEARED),
    "hangs_up": ("talked", "callee", CLEARED),
    "voicemail": ("talked", "callee", CLEARED),
    "presses": ("talked", "callee", CLEARED),
    "holds": ("talked", "callee", CLEARED),
    "transfers": ("talked", "callee", CLEARED),
    "vanishes": ("media_lost", "carrier", "media timeout"),
    "dtx": ("talked", "callee", CLEARED),
}
NUMBERS = {name: f"+91980000{1000 + number}" for number, name in enumerate(PEOPLE)}


@dataclass(frozen=True)
class Told:
    """Both accounts of one call."""

    record: CallRecord
    entry: Entry


async def _all() -> dict[str, Told]:
    entries = [
        {"number": NUMBERS[name], "kind": name, "name": name, **fields} for name, fields in PEOPLE.items()
    ]  # a kind of their own for those without one
    with tempfile.TemporaryDirectory(prefix="tl-pstn-") as folder:
        async with Pstn(people_of({"person": entries}), users={"4980": "secret"}) as network:
            records = await _placed(network, Path(folder))
            await until(lambda: len(network.account.ends) == len(PEOPLE) - 1)  # nobody ends what nothing answers
        ends = {entry.person: entry for entry in network.account.ends}
    return {name: Told(records[name], ends[name]) for name in PEOPLE}


async def _placed(network: Pstn, folder: Path) -> dict[str, CallRecord]:
    trunk = {"name": "pstn", "host": f"127.0.0.1:{network.port}", "user": "4980", "password": "secret"}
    async with (
        gateway(folder, trunks=(trunk,), media_timeout_s=2.0, max_calls=40) as up,
        running(folder, {"sip": {"trunk": (trunk,)}}, provider=EchoProvider()) as run,
        SipCalls(run.service.desk, up.options.socket, "w1") as calls,
    ):
        await until(lambda: calls.line.welcome is not None)
        async with asyncio.TaskGroup() as group:
            placed = {
                name: group.create_task(calls.place(number, trunk="pstn", caller="+918069000000", ring_s=3.0))
                for name, number in NUMBERS.items()
            }
        return {name: task.result() for name, task in placed.items()}


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    needs()
    return asyncio.run(_all())


@pytest.mark.parametrize("name", PEOPLE)
def test_the_record_says_what_came_of_it(told: dict[str, Told], name: str) -> None:
    record = told[name].record
    cause = "talked" if record.cause in TALKED else record.cause
    assert (cause, record.fault, record.code) == OUTCOMES[name], told[name].entry


@pytest.mark.parametrize("name", [name for name, (_, _, code) in OUTCOMES.items() if code[:3].isdecimal()])
def test_a_refusal_is_the_same_on_both_sides(told: dict[str, Told], name: str) -> None:
    entry = told[name].entry
    assert (str(entry.code), entry.answered_s) == (told[name].record.code[:3], None)
    assert told[name].record.answered_at is None


@pytest.mark.parametrize("name", [name for name in PEOPLE if OUTCOMES[name][2] == CLEARED])
def test_who_answered_heard_us_and_hung_up(told: dict[str, Told], name: str) -> None:
    entry, record = told[name].entry, told[name].record
    assert (entry.code, entry.by, entry.attempt, entry.from_) == (200, "callee", 1, "+918069000000")
    assert record.answered_at is not None
    assert (record.direction, record.to, record.labels["line_codec"][:4]) == ("outbound", NUMBERS[name], "PCMU")
    assert entry.packets > 25
    assert entry.packets_lost == 0


def test_what_they_did_is_in_the_record(told: dict[str, Told]) -> None:
    assert told["overloaded"].record.counters["retry_after_s"] == 5
    assert "retry_after_s" not in told["no_circuit"].record.counters
    assert told["presses"].record.counters["digits_rfc4733"] == 3
    assert told["holds"].record.counters["holds"] == 1
    assert told["holds"].entry.replies == {"INVITE 200": 2}
    assert told["transfers"].entry.transfer == 603  # we call nobody because somebody asks us to
    assert told["answers"].entry.heard_s > 0.2  # its own "hello", echoed
    assert told["answers"].entry.script_missed == []


def test_early_media_is_no_answer(told: dict[str, Told]) -> None:
    early = told["announced"]
    assert early.entry.rang_s == 0.0
    assert early.record.answered_at is not None
    assert (early.record.answered_at - early.record.started_at).total_seconds() > 1.2
    assert told["no_circuit"].record.counters["ringing"] == 1


def test_who_gives_up_says_so_where_somebody_listens(told: dict[str, Told]) -> None:
    assert (told["no_answer"].entry.by, told["no_answer"].entry.code) == ("caller", 487)
    assert (told["vanishes"].entry.by, told["vanishes"].entry.answered_s is None) == ("network", False)
    assert told["nothing"].entry.code == 0
