"""`trunkline sim gemini`: the simulated Gemini Live as a process of its own."""

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from trunkline_sim.errors import SimError
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Scenario, scenario_from, with_changes
from trunkline_sim.voices import Voices


def scenarios_of(path: Path | None) -> dict[str, Scenario]:
    """A file of scenarios, {"name": {…}}. Raises SimError, which names the scenario and the field."""
    if path is None:
        return {}
    try:
        body = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, object]])
    except (OSError, ValueError) as wrong:
        raise SimError(f"{path}: {wrong}") from wrong
    return {name: _one(name, fields) for name, fields in body.items()}


def _one(name: str, fields: object) -> Scenario:
    try:
        return scenario_from(fields)
    except SimError as wrong:
        raise SimError(f"{name}: {wrong}") from wrong


def sentences_of(path: Path | None) -> Sequence[str]:
    """One sentence per line; empty lines and those that begin with # do not count. Raises SimError."""
    if path is None:
        return ()
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as wrong:
        raise SimError(f"{path}: {wrong}") from wrong
    return [line for line in lines if line and not line.startswith("#")]


def run(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one: a third less processor under load."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def serve(
    address: tuple[str, int],
    changes: str,
    scenarios: dict[str, Scenario],
    callers: tuple[Sequence[str], str],
    folder: Path,
    console: Console,
) -> None:
    """Until SIGINT or SIGTERM. `callers`: what is understood, and in which voice. Raises SimError."""
    sentences, voice = callers
    clips = await asyncio.to_thread(lambda: {text: Voices().say(text, voice) for text in sentences})
    base = scenarios.get("default", Scenario(hear="recordings" if clips else "any"))
    default = with_changes(base, changes)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host, port = address
    async with GeminiSim(clips, default, scenarios, host=host, port=port, folder=folder) as gemini:
        console.print(f"Gemini Live in a box: base_url {gemini.url}", markup=False, highlight=False)
        console.print(f"trust it by SSL_CERT_FILE={gemini.ca_file}", markup=False, highlight=False)
        await stop.wait()
