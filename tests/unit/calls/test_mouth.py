"""The mouth: at once where there is room, paced where there is none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.unit.calls.fakes import FRAME, FakeLeg, now, until
from tests.virtual_time import clock, virtual
from trunkline.calls.mouth import Mouth
from trunkline.calls.pieces import Given
from trunkline.calls.playout import Playout


@asynccontextmanager
async def speaking(leg: FakeLeg, given: list[Given]) -> AsyncIterator[tuple[Playout, Mouth]]:
    playout = Playout(leg.info.codec, leg.info.frame_ms)
    mouth = Mouth(leg, playout, clock(), given.append)  # type: ignore[arg-type]
    playout.start("r")
    pump = asyncio.get_running_loop().create_task(mouth.run())
    await asyncio.sleep(0)
    try:
        yield playout, mouth
    finally:
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump


@virtual
async def test_what_is_brought_is_on_the_wire_in_the_same_breath() -> None:
    leg, given = FakeLeg(), list[Given]()
    async with speaking(leg, given) as (playout, mouth):
        for number in range(3):
            playout.push("r", bytes([number]) * FRAME)
            mouth.wake()
            assert [payload for _, payload in leg.sent] == [bytes([n]) * FRAME for n in range(number + 1)]
        assert playout.waiting_s == 0
        assert [(one.piece.first, one.piece.last, one.label) for one in given] == [
            (True, False, "m1"),
            (False, False, ""),
            (False, False, ""),
        ]


@virtual
async def test_what_has_no_room_waits_and_follows_without_a_gap() -> None:
    leg, given = FakeLeg(), list[Given]()
    async with speaking(leg, given) as (playout, mouth):
        playout.push("r", bytes(range(50)) * FRAME)  # a second
        mouth.wake()
        ahead_s = sum(len(payload) for _, payload in leg.sent) / 8000
        assert leg.info.lead_s <= ahead_s <= leg.info.lead_s * 1.2 + 1e-9
        playout.finish("r")
        mouth.wake()  # there is still no room
        assert sum(len(payload) for _, payload in leg.sent) / 8000 == ahead_s
        await until(now() + 1.5)
        assert sum(len(payload) for _, payload in leg.sent) == 8000
        assert given[-1].piece.last
        ends = 0.0
        for begins, payload in leg.heard_payload:
            assert abs(begins - ends) < 0.003, "a gap"
            ends = begins + len(payload) / 8000


@virtual
async def test_after_a_wait_for_room_speech_goes_at_once_again() -> None:
    leg, given = FakeLeg(), list[Given]()
    async with speaking(leg, given) as (playout, mouth):
        playout.push("r", bytes(50 * FRAME))
        mouth.wake()
        await until(now() + 1.0)
        before = len(leg.sent)
        playout.push("r", bytes(FRAME))
        mouth.wake()
        assert len(leg.sent) == before + 1


@virtual
async def test_part_of_a_frame_waits_for_its_rest_or_its_end() -> None:
    leg, given = FakeLeg(), list[Given]()
    async with speaking(leg, given) as (playout, mouth):
        playout.push("r", bytes(FRAME - 10))
        mouth.wake()
        assert not leg.sent
        playout.push("r", bytes(20))
        mouth.wake()
        assert [len(payload) for _, payload in leg.sent] == [FRAME]
        playout.finish("r")
        mouth.wake()
        assert leg.sent[-1][1] == bytes(10) + leg.info.codec.silence * (FRAME - 10)
        assert given[-1].piece.last
