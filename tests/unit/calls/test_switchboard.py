"""Admission, routing, drain, and that one call's failure is no other call's."""

import asyncio

import pytest

from tests.unit.calls.fakes import FakeLeg, FakeProvider, FakeStore, Line, Seen, now, until, wire_byte
from tests.virtual_time import clock, virtual
from trunkline.calls.events import CallEvent
from trunkline.calls.switchboard import LEAST_KNOCKING, Switchboard
from trunkline.config import Agent, Limits, Route
from trunkline.errors import AdmissionError, ConfigError
from trunkline.outcome import EndCause


def board(provider: FakeProvider, *others: FakeProvider, **more: object) -> Switchboard:
    providers = {each.name: each for each in (provider, *others)}
    settings: dict[str, object] = {"limits": Limits(max_calls=3), "agents": {"receptionist": Agent()}}
    return Switchboard(**(settings | {"providers": providers, "store": FakeStore(), "clock": clock()} | more))  # type: ignore[arg-type]


@virtual
async def test_seats_are_counted_and_given_back_once() -> None:
    desk = board(FakeProvider())
    with desk.admit("smartflo"), desk.admit("smartflo"):
        seat = desk.admit("smartflo")
        with pytest.raises(AdmissionError, match="3 lines") as refused:
            desk.admit("smartflo")
        assert refused.value.retry_after_s > 0
        seat.leave()
        seat.leave()
        with desk.admit("smartflo"), pytest.raises(AdmissionError):
            desk.admit("smartflo")
    with desk.admit("smartflo"), desk.admit("smartflo"), desk.admit("smartflo"):
        pass


@virtual
async def test_a_providers_capacity_is_a_limit_of_its_own() -> None:
    small, large = FakeProvider(name="offline", capacity=1), FakeProvider(name="gemini")
    agents = {"receptionist": Agent(profile="offline"), "sales": Agent(profile="gemini")}
    desk = board(small, large, agents=agents, routes=[Route("+91*", "sales")])
    with desk.admit("smartflo", "+15550100"):
        with pytest.raises(AdmissionError, match="offline carries 1"):
            desk.admit("smartflo", "+15550100")
        with desk.admit("smartflo", "+918069000000"), desk.admit("smartflo"):
            pass
    with desk.admit("smartflo", "+15550100"):
        pass


@virtual
async def test_sockets_that_say_nothing_keep_nobody_out() -> None:
    desk = board(FakeProvider(name="offline", capacity=1), limits=Limits(max_calls=2))
    silent = [desk.knock("smartflo") for _ in range(LEAST_KNOCKING - 1)]
    leg = FakeLeg()
    asyncio.get_running_loop().call_later(3, leg.hang_up)
    with desk.knock("smartflo") as seat:
        call = asyncio.ensure_future(desk.attend(leg, seat))
        await until(1.0)
        with pytest.raises(AdmissionError, match="offline carries 1"):
            desk.knock("smartflo")
        busy = await desk.attend(FakeLeg(), silent[0])
        assert (busy.cause, busy.fault) == ("admission", "us")
        assert (await call).cause == "abandoned"
    silent += [desk.knock("smartflo"), desk.knock("smartflo")]
    with pytest.raises(AdmissionError, match=f"{LEAST_KNOCKING} sockets"):
        desk.knock("smartflo")
    for seat in silent:
        seat.leave()
        seat.leave()
    with desk.admit("smartflo"):
        pass


@virtual
async def test_a_full_provider_is_met_by_busy_and_is_recorded() -> None:
    provider = FakeProvider(name="offline", capacity=1)
    async with Line(provider=provider) as line:
        other = FakeLeg()
        record = await line.board.attend(other)
        assert (record.cause, record.fault) == ("admission", "us")
        assert sum(len(p) for _, p in other.sent) == 16000
        assert other.ends[-1][1] is EndCause.ADMISSION
        assert provider.opened == 1
        line.leg.hang_up()
        await line.over()
        third = FakeLeg()
        asyncio.get_running_loop().call_later(1, third.hang_up)
        assert (await line.board.attend(third)).cause == "abandoned"


@virtual
async def test_a_seat_taken_without_a_number_meets_its_provider_when_the_number_is_known() -> None:
    small, large = FakeProvider(name="offline", capacity=1), FakeProvider(name="gemini", capacity=1)
    agents = {"receptionist": Agent(profile="offline"), "sales": Agent(profile="gemini")}
    desk = board(small, large, agents=agents, routes=[Route("+91*", "sales")])
    with desk.admit("smartflo") as first, desk.admit("smartflo") as second:
        assert first.provider == second.provider == ""
        legs = [FakeLeg(to="+918069000000"), FakeLeg(to="+918069000000")]
        for leg in legs:
            asyncio.get_running_loop().call_later(3, leg.hang_up)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(desk.attend(leg, seat)) for leg, seat in zip(legs, (first, second), strict=True)]
        assert sorted(call.result().cause for call in calls) == ["abandoned", "admission"]
        assert {call.result().agent for call in calls} == {"sales"}
    with desk.admit("smartflo", "+918069000000"):
        pass


@virtual
async def test_drain_lets_calls_finish_and_cuts_the_rest() -> None:
    provider = FakeProvider()
    desk = board(provider)
    legs = [FakeLeg(), FakeLeg()]
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(desk.attend(leg)) for leg in legs]
        await until(1.0)
        draining = group.create_task(desk.drain(5.0))
        await until(2.0)
        with pytest.raises(AdmissionError, match="going down"):
            desk.admit("smartflo")
        legs[0].hang_up()
        assert await draining == 1
        assert now() == pytest.approx(6.1, abs=0.2)
    assert [call.result().cause for call in calls] == ["abandoned", "drained"]
    assert await desk.drain(5.0) == 0


@virtual
async def test_calls_are_bulkheads() -> None:
    provider = FakeProvider()
    desk = board(provider)
    legs = [FakeLeg(), FakeLeg()]
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(desk.attend(legs[0]))]
        await until(0.5)
        calls.append(group.create_task(desk.attend(legs[1])))
        await until(1.0)
        provider.sessions[0].hear = None  # type: ignore[assignment]
        provider.sessions[1].say(1, "Hello", 0.5)
        await until(3.0)
        legs[1].hang_up()
    assert [call.result().cause for call in calls] == ["internal", "completed"]
    assert wire_byte(1) in b"".join(payload for _, payload in legs[1].sent)


@virtual
async def test_a_spectator_that_fails_costs_nothing() -> None:
    class Broken:
        def notify(self, call_id: str, event: CallEvent) -> None:
            raise RuntimeError("spectator")

    seen = Seen()
    desk = board(FakeProvider(), observers=[Broken(), seen])
    leg = FakeLeg()
    asyncio.get_running_loop().call_later(1, leg.hang_up)
    record = await desk.attend(leg)
    assert record.counters["observer_errors"] == len(seen.events) - 1


@virtual
async def test_live_calls_are_seen_while_they_live() -> None:
    async with Line() as line:
        line.session.say(1, "Hello", 1.0)
        await until(2.5)
        (live,) = line.board.live()
        assert live.ended_at is None
        assert live.turns[0].heard_text == "Hello"
        assert line.board.record(live.id) == live
        assert line.board.events(live.id)
        line.leg.hang_up()
        done = await line.over()
        assert done.id == live.id
        assert line.board.record(live.id) is None
        assert line.board.active == 0


def test_a_wrong_agent_or_profile_is_named_at_the_start() -> None:
    with pytest.raises(ConfigError, match="agent 'nobody'"):
        board(FakeProvider(), default_agent="nobody")
    with pytest.raises(ConfigError, match=r"agents\.receptionist\.profile: 'gemini'"):
        board(FakeProvider(), agents={"receptionist": Agent(profile="gemini")})
