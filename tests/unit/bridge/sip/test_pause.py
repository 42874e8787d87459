"""The pause between two polls: how long it is, what ends it. In real time, with margins of a factor."""

import asyncio
import os

from trunkline.bridge.sip.pause import Pause


async def test_without_anything_to_watch_it_is_short():
    pause = Pause()
    async with asyncio.timeout(5):
        await pause.nap(60.0)


async def test_what_ends_a_long_one():
    near, far = os.pipe()
    pause = Pause()
    pause.watch(near)
    try:
        asyncio.get_running_loop().call_later(0.02, os.write, far, b"x")
        async with asyncio.timeout(5):
            await pause.nap(60.0)
            await pause.nap(60.0)  # more may follow: short ones for a while
        os.read(near, 10)
        pause._lively_until = 0.0
        asyncio.get_running_loop().call_later(0.02, pause.wake)
        async with asyncio.timeout(5):
            await pause.nap(60.0)
    finally:
        pause.close()
        pause.close()
        os.close(near)
        os.close(far)


async def test_nothing_ends_it_early_and_nothing_is_left():
    near, far = os.pipe()
    pause, loop = Pause(), asyncio.get_running_loop()
    pause.watch(near)
    begun = loop.time()
    await pause.nap(0.1)
    assert loop.time() - begun >= 0.09
    assert not loop.remove_reader(near)
    os.close(near)
    os.close(far)
