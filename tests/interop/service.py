"""The service that other people's programs talk to: `trunkline serve` with the built-in agent, SIP, a recording."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.peers.sip.rig import free_port
from tests.wire.workers import Node, node
from trunkline.codecs.wav import read_wav
from trunkline_sim import mulaw
from trunkline_sim.account import Answer
from trunkline_sim.caller import Did
from trunkline_sim.canvas import Canvas
from trunkline_sim.ears import speech_runs
from trunkline_sim.picture import draw
from trunkline_sim.spectator import Told

RECORDED = "[agents.receptionist]\nrecord = true\n"


@asynccontextmanager
async def service(
    folder: Path, settings: str = "", *, listen: str = "", profile: str = "offline"
) -> AsyncIterator[tuple[Node, int]]:
    """A node and its first SIP port. settings: lines of config.toml beside those for a recording."""
    listen = listen or f"udp:127.0.0.1:{free_port()}"
    config = folder / "service.toml"
    config.write_text(RECORDED + settings)
    more = ("--config", str(config), "--profile", profile)
    for place in (f"sip.listen={listen}",):
        more = (*more, "--set", place)
    async with node(folder, *more, workers=1) as run:
        (listening,) = await run.told("gateway.listening")
        await run.told("sip.gateway", 1)
        yield run, int(listening["addresses"][0].rpartition(":")[2])


async def turn(run: Node, number: int, *, live: bool = True) -> dict[str, Any]:
    """That turn of the only call, as far as it is."""
    (call,) = await run.calls(1, live=live)
    _, timeline = await run.ask("GET", f"/calls/{call['id']}/timeline")
    return next((one for one in timeline["turns"] if one["turn"] == number), {})


async def picture(run: Node, call: dict[str, Any], folder: Path) -> Canvas:
    """The call's picture, from what the service kept of it: its two-channel recording and its timeline."""
    async with run.client.get(f"{run.url}/calls/{call['id']}/recording") as response:
        wav = read_wav(await response.read())
    _, timeline = await run.ask("GET", f"/calls/{call['id']}/timeline")
    (folder / "timeline.json").write_text(json.dumps(timeline))
    return draw(_account(call, timeline["turns"], np.frombuffer(wav.pcm, "<i2").reshape(-1, 2)))


def _account(call: dict[str, Any], turns: list[dict[str, Any]], sound: Any) -> Any:
    """What `draw` looks at of a call that no simulated carrier has seen."""
    caller, agent = (mulaw.encode(sound[:, side]) for side in (0, 1))
    acts = [
        Did(0, "said", one["caller_text"], one["caller_from_s"], one["caller_to_s"])
        for one in turns
        if one["caller_text"]
    ]
    answers = [
        Answer(one["turn"], None, one["caller_to_s"], one["agent_from_s"], one["agent_from_s"], one["stages"])
        for one in turns
        if one["caller_text"]
    ]
    said = [
        Told(event="reply_done", reply=f"{n}", began_s=one["agent_from_s"], heard_text=one["heard_text"])
        for n, one in enumerate(turns)
        if one["agent_from_s"] is not None
    ]
    return SimpleNamespace(
        stream=SimpleNamespace(
            mic=SimpleNamespace(track=caller),
            playout=SimpleNamespace(heard=agent),
            facts=SimpleNamespace(from_=call["from"], to=call["to"]),
            faults=SimpleNamespace(clear="honoured"),
            name="SIP",
        ),
        script=SimpleNamespace(title="SIP", name="sip"),
        ending=SimpleNamespace(by=call["fault"], reason=call["code"]),
        did=acts,
        answers=answers,
        events=said,
        barge_ins=[],
        judged=[],
        call_id=call["id"],
        agent_runs=speech_runs(bytes(agent)),
        duration_s=len(caller) / mulaw.RATE,
    )
