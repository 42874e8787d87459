"""A worker's SIP calls: a real service, its line and its records; the gateway behind it is the test's."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.gateway import OFFER
from tests.fakes.gateway_socket import FakeGateway, fake_gateway
from tests.wire.service import Running, running, until
from trunkline.ai.echo import EchoProvider
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip.line import Trunk
from trunkline.errors import AdmissionError
from trunkline.outcome import EndCause
from trunkline.sip_calls import SipCalls, trunks

pytestmark = pytest.mark.wire
SALES = {
    "agents": {"receptionist": {}, "sales": {}},
    "route": ({"to": "+9180*", "agent": "sales", "carrier": "sip"}, {"to": "sales", "agent": "sales"}),
}


@dataclass(slots=True)
class Rig:
    run: Running
    gateway: FakeGateway
    calls: SipCalls

    async def up(self, number: int, **facts: Any) -> sip.Take:
        """A call that is offered, taken and answered."""
        before = len([one for one in self.gateway.heard if isinstance(one, sip.Take)])
        self.gateway.tell(msgspec.structs.replace(OFFER, call=number, call_id=f"ref-{number}", **facts))
        take = await self.gateway.until(sip.Take, before + 1)
        self.gateway.tell(sip.Up(number, "PCMU/8000"))
        return take

    def over(self, number: int, code: int = 200, reason: str = "") -> None:
        self.gateway.tell(sip.Gone(number, code, reason, "far", True))


@asynccontextmanager
async def rig(tmp_path: Path, changes: Mapping[str, Any] | None = None) -> AsyncIterator[Rig]:
    path = tmp_path / "sip.sock"
    async with (
        fake_gateway(path) as gateway,
        running(tmp_path, changes, provider=EchoProvider()) as run,
        SipCalls(run.service.desk, str(path), "w1") as calls,
    ):
        await until(lambda: calls.line.welcome is not None)
        media_clock = asyncio.create_task(_media_clock(gateway))
        try:
            yield Rig(run, gateway, calls)
        finally:
            media_clock.cancel()


async def _media_clock(gateway: FakeGateway) -> None:
    """Takes every slot's frames, as pjsua2 does."""
    while True:
        await asyncio.sleep(0.02)
        for slot in gateway.slots:
            if slot.tx_next() is not None:
                slot.tx_done()


async def test_the_gateway_and_its_trunks_can_be_seen(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        made.gateway.tell(sip.TrunkState("acme", "rejected", 403, "Forbidden"))
        await until(lambda: made.calls.line.trunk_states != {})
        seen = {"connected": True, "listening": ["udp 127.0.0.1:5060"], "calls": 0, "trunks": {"acme": "rejected"}}
        assert await made.run.get("/sip") == (200, seen)
    async with running(tmp_path, provider=EchoProvider()) as run:
        assert (await run.get("/sip"))[1]["connected"] is False


async def test_a_call_from_offer_to_record(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        take = await made.up(7)
        slot = made.gateway.slots[take.slot]
        (live,) = await made.run.calls(1, live=True)
        assert (live["carrier"], live["from"], live["to"]) == ("sip", "+919800000001", "agent")
        await made.run.post(f"/calls/{live['id']}/say", json={"text": "Hello."})
        await until(lambda: slot.sent > 0)  # its voice went through the ring
        made.gateway.tell(
            sip.Digit(7, "5", "rfc4733"),
            sip.Quality(7, "PCMU/8000", 100, 0, 2.0, 100, 0, 2.0, 10.0, 40.0, 4.4),
        )
        made.over(7)
        (over,) = await made.run.calls(1, live=False)
        assert (over["fault"], over["code"], over["carrier_ref"]) == ("caller", "BYE", "ref-7")
        assert over["labels"]["line_mos"] == "4.40"
        assert over["counters"]["digits_rfc4733"] == 1
        assert [turn["keys"] for turn in over["turns"] if turn["keys"]] == ["5"]


@pytest.mark.parametrize(
    ("uri", "to", "agent", "shown"),
    [
        ("sip:+918069000000@10.0.0.1", "x", "sales", "+918069000000"),
        ("sip:00918069000000@10.0.0.1", "x", "sales", "+918069000000"),
        ("sip:s7fa3@10.0.0.1:5060", "+918069000001", "sales", "+918069000001"),  # our contact; To has the number
        ("sip:sales@10.0.0.1", "sales", "sales", "sales"),
        ("sip:agent@10.0.0.1", "agent", "receptionist", "agent"),
    ],
)
async def test_the_number_called_chooses_the_agent(tmp_path: Path, uri: str, to: str, agent: str, shown: str) -> None:
    async with rig(tmp_path, SALES) as made:
        await made.up(1, request_uri=uri, to=to)
        (live,) = await made.run.calls(1, live=True)
        assert (live["agent"], live["to"]) == (agent, shown)
        made.over(1)
        await made.run.calls(1, live=False)


async def test_who_finds_no_room_hears_busy_and_who_comes_while_we_go_503(tmp_path: Path) -> None:
    async with rig(tmp_path, {"limits": {"max_calls": 1}}) as made:
        await made.up(1)
        await made.run.calls(1, live=True)
        made.gateway.tell(msgspec.structs.replace(OFFER, call=2))
        assert (await made.gateway.until(sip.Refuse)).code == 486
        made.over(1)
        await made.run.calls(1, live=False)
        await made.up(3)
        draining = asyncio.create_task(made.run.service.drain(5))
        await asyncio.sleep(0)
        made.gateway.tell(msgspec.structs.replace(OFFER, call=4))
        refused = await made.gateway.until(sip.Refuse, 2)
        assert (refused.code, refused.retry_after_s >= 1) == (503, True)
        made.over(3)
        await draining


async def test_a_door_that_is_closed_is_told_to_the_gateway(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        made.calls.close_door()
        assert await made.gateway.until(sip.Offers) == sip.Offers(False)


async def test_a_caller_who_leaves_before_the_answer_is_no_call_and_keeps_no_seat(tmp_path: Path) -> None:
    async with rig(tmp_path, {"limits": {"max_calls": 1}}) as made:
        for number in (1, 2):
            made.gateway.tell(msgspec.structs.replace(OFFER, call=number))
            await made.gateway.until(sip.Take, number)
            made.gateway.tell(sip.Gone(number, 487, "Request Terminated", "far", False))
            await until(lambda: not made.calls._tasks)
        assert await made.run.calls(0, live=False) == []
        assert made.calls.line.active == 0


async def test_a_gateway_that_dies_ends_its_calls_as_media_lost_and_no_others(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        await made.up(1)
        await made.up(2)
        await made.run.calls(2, live=True)
        await made.gateway.stop()
        over = await made.run.calls(2, live=False)
        assert {(call["cause"], call["fault"], call["code"]) for call in over} == {("media_lost", "us", "gateway lost")}
        await made.gateway.start()
        await until(lambda: made.calls.line.welcome is not None)
        await made.up(1)
        made.over(1)
        await made.run.calls(3, live=False)


async def test_an_operator_hangs_up_and_transfers(tmp_path: Path) -> None:
    async with rig(tmp_path, {"sip": {"allow_transfer_to": ("+9198*",)}}) as made:
        await made.up(1)
        (live,) = await made.run.calls(1, live=True)
        path = f"/calls/{live['id']}"
        status, problem = await made.run.post(path + "/transfer", json={"target": "+35991234567"})
        assert (status, problem["field"]) == (409, "target")
        assert await made.run.post(path + "/transfer", json={"target": "+91 98000 00001"}) == (
            202,
            {"call_id": live["id"], "status": "transferring"},
        )
        refer = await made.gateway.until(sip.Refer)
        assert refer == sip.Refer(1, "sip:+919800000001@127.0.0.1:5070")
        assert (await made.run.post(path + "/transfer", json={"target": "+919800000002"}))[0] == 409
        made.gateway.tell(sip.ReferProgress(1, 202), sip.ReferProgress(1, 200, "OK", final=True))
        await made.gateway.until(sip.Hangup)
        made.gateway.tell(sip.Gone(1, 200, "", "us", True))
        (over,) = await made.run.calls(1, live=False)
        assert (over["cause"], over["code"]) == ("completed", "transferred")
        await made.up(2)
        (live,) = await made.run.calls(1, live=True)
        assert (await made.run.post(f"/calls/{live['id']}/dtmf", json={"keys": "12#"}))[0] == 202
        assert await made.gateway.until(sip.SendDigits) == sip.SendDigits(2, "12#")
        assert (await made.run.post(f"/calls/{live['id']}/hangup"))[0] == 202
        assert await made.gateway.until(sip.Hangup, 2) == sip.Hangup(2, 0)
        made.gateway.tell(sip.Gone(2, 200, "", "us", True))
        await made.run.calls(2, live=False)


async def test_keys_are_tones_on_a_line_without_events_and_refused_on_hold(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        take = await made.up(1)
        made.gateway.tell(sip.Up(1, "PCMU/8000", digits=False))
        (live,) = await made.run.calls(1, live=True)
        path = f"/calls/{live['id']}/dtmf"
        assert (await made.run.post(path, json={"keys": "12#"}))[0] == 202
        await until(lambda: made.gateway.slots[take.slot].sent > 10)
        assert not [one for one in made.gateway.heard if isinstance(one, sip.SendDigits)]
        made.gateway.tell(sip.Held(1, on=True))
        await until(lambda: made.calls.line._legs[1]._held)
        await asyncio.sleep(0.1)
        status, problem = await made.run.post(path, json={"keys": "1"})
        assert (status, problem["field"]) == (409, "keys")
        made.over(1)
        await made.run.calls(1, live=False)


async def test_a_warm_transfer_is_asked_for_over_the_api(tmp_path: Path) -> None:
    async with rig(tmp_path, {"sip": {"allow_transfer_to": ("+9198*",)}}) as made:
        await made.up(1)
        (live,) = await made.run.calls(1, live=True)
        body = {"target": "+919800000001", "mode": "warm", "brief": "Anna."}
        assert (await made.run.post(f"/calls/{live['id']}/transfer", json={**body, "mode": "cold"}))[0] == 422
        assert (await made.run.post(f"/calls/{live['id']}/transfer", json=body))[0] == 202
        dial = await made.gateway.until(sip.Dial)
        assert dial.to == "sip:+919800000001@127.0.0.1:5070"
        made.gateway.tell(sip.Placed(dial.ask, 2, "ref-2"), sip.Up(2, "PCMU/8000"), sip.Digit(2, "1", "rfc4733"))
        assert await made.gateway.until(sip.Join) == sip.Join(1, 2)
        made.over(2)
        made.over(1)
        (over,) = await made.run.calls(1, live=False)
        assert (over["code"], over["labels"]["transferred_by"]) == ("transferred", "bridged")
        assert made.calls.line.active == 0


async def test_a_call_that_we_place(tmp_path: Path) -> None:
    async with rig(tmp_path) as made:
        placing = asyncio.create_task(made.calls.place("+919800000001", caller="+918069000000"))
        dial = await made.gateway.until(sip.Dial)
        made.gateway.tell(sip.Placed(dial.ask, 9, "ref"), sip.Progress(9, 180))
        made.gateway.tell(sip.Gone(9, 486, "Busy Here", "far", False))
        record = await placing
        assert (record.direction, record.cause, record.fault, record.code) == (
            "outbound",
            "busy",
            "callee",
            "486 Busy Here",
        )
        assert record.answered_at is None
        await made.gateway.stop()
        await until(lambda: made.calls.line.welcome is None)
        with pytest.raises(AdmissionError):
            await made.calls.place("+919800000001")


def test_what_trunks_say_of_their_calls() -> None:
    from trunkline.config import Settings, Sip, SipTrunk

    sip_ = Sip(trunk=(SipTrunk(name="acme", host="sip.example.com", outcomes=("603=no_answer", "500 = busy")),))
    expected = Trunk("sip.example.com", {603: EndCause.NO_ANSWER, 500: EndCause.BUSY})
    assert trunks(Settings(sip=sip_)) == {"acme": expected}
    own = Sip(trunk=(SipTrunk(name="acme", host="sip.example.com", refer=False, dtmf="info"),))
    assert trunks(Settings(sip=own)) == {"acme": Trunk("sip.example.com", {}, refer=False, dtmf="info")}
