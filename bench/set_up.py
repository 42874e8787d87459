"""What a call's opening and its ending cost the service in processor ms, in one process, and which functions take it.

    python -m bench.set_up [--calls 50] [--framing twilio|smartflo] [--profile up|down] [--lines 45]

The service runs here, against the simulated Gemini and a caller in another process; calls come one after the other. As
in `bench.media_path`, the opening lasts until the model hears (its set-up was acknowledged) and the ending until 150 ms
after the hang-up. Logs as JSON into a file, as a service does that nobody watches. `--profile` is Python's own, in
processor time, and makes everything dearer, most of all small functions: for the order, not for the figures.
"""

import argparse
import asyncio
import cProfile
import multiprocessing as mp
import os
import pstats
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec

from bench.media_callers import Caller
from trunkline import RUNS
from trunkline.cli_service import settle_garbage
from trunkline.config import Settings
from trunkline.log import set_up
from trunkline.loops import loop_factory
from trunkline.service import Service
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Scenario

SETTLE_S = 0.15
WARM = 5  # calls that are not counted


def rig(pipe: Connection) -> None:
    """Gemini and the caller, told "up" and "down" through the pipe; answers when it is done."""

    async def main() -> None:
        async with GeminiSim(scenarios={"bench": Scenario(mode="bench", setup_delay_s=0.0)}) as gemini:
            pipe.send((gemini.url, str(gemini.ca_file)))
            url, framing = await asyncio.to_thread(pipe.recv)
            async with aiohttp.ClientSession() as session:
                number = 0
                while (word := await asyncio.to_thread(pipe.recv)) != "stop":
                    if word == "up":
                        number += 1
                        caller = Caller(framing, number)
                        await caller.set_up(session, url, gemini)
                    else:
                        await caller.hang_up()
                        await asyncio.sleep(SETTLE_S)
                    pipe.send(word)

    asyncio.run(main())


async def one(pipe: Connection, word: str, profile: cProfile.Profile | None) -> float:
    """Processor ms of one step. The thread that waits for the answer costs its microseconds in both states."""
    if profile is not None:
        profile.enable()
    began = time.process_time()
    pipe.send(word)
    there = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), there.set)
    await there.wait()
    loop.remove_reader(pipe.fileno())
    used = time.process_time() - began
    if profile is not None:
        profile.disable()
    pipe.recv()
    return 1000 * used


async def main(given: argparse.Namespace, pipe: Connection, folder: Path) -> None:
    """Prints the two figures, and the profile where one is wanted."""
    url, ca_file = pipe.recv()
    os.environ["GEMINI_API_KEY"] = "any"
    tree = {
        "server": {"port": 0, "data_dir": str(folder / "data"), "drain_s": 1.0},
        "ai": {"profile": "gemini", "gemini": {"base_url": f"{url}/bench", "ca_file": ca_file}},
    }
    set_up("info", "json", str(folder / "log"))
    profiles = {word: cProfile.Profile(time.thread_time) if given.profile == word else None for word in ("up", "down")}
    costs: dict[str, list[float]] = {"up": [], "down": []}
    async with Service(msgspec.convert(tree, Settings)) as service:
        pipe.send((service.url.replace("http", "ws", 1), given.framing))
        settle_garbage()
        for number in range(given.calls + WARM):
            for word in ("up", "down"):
                cost = await one(pipe, word, profiles[word] if number >= WARM else None)
                if number >= WARM:
                    costs[word].append(cost)
        pipe.send("stop")
    lines = len((folder / "log").read_text().splitlines())
    print(f"{RUNS}; {lines} lines of log")
    for word, name in (("up", "set-up "), ("down", "hang-up")):
        least, middle = min(costs[word]), statistics.median(costs[word])
        print(f"{name} {least:6.2f} {middle:6.2f} ms (least, median) of {given.calls} calls")
        if (found := profiles[word]) is not None:
            pstats.Stats(found).sort_stats("tottime").print_stats(given.lines)
            pstats.Stats(found).sort_stats("cumulative").print_stats(2 * given.lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--framing", choices=("twilio", "smartflo"), default="twilio")
    parser.add_argument("--profile", choices=("up", "down"))
    parser.add_argument("--lines", type=int, default=45)
    arguments = parser.parse_args()
    here, there = mp.Pipe()
    process = mp.get_context("spawn").Process(target=rig, args=(there,), daemon=True)
    process.start()
    with tempfile.TemporaryDirectory() as place, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(arguments, here, Path(place)))
    process.join(5)
