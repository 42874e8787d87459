"""The service that other people's programs talk to: `trunkline serve` with the built-in agent, SIP, a recording."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.interop.baresip_rig import Baresip
from tests.peers.sip.rig import free_port
from tests.wire.service import Running
from tests.wire.workers import Node, node
from trunkline.codecs.wav import read_wav
from trunkline_sim import mulaw
from trunkline_sim.account import Answer
from trunkline_sim.caller import Did
from trunkline_sim.canvas import Canvas
from trunkline_sim.ears import speech_runs
from trunkline_sim.picture import draw
from trunkline_sim.spectator import Told

PATIENCE_S = 40.0
GREETING = "Hello. How can I help you?"
RECORDED = f'[agents.receptionist]\nrecord = true\ngreeting = "{GREETING}"\n'


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


def as_toml(section: str, row: Mapping[str, object]) -> str:
    """Lines of config.toml: a section, or a row of one that has several."""
    head = f"[[{section}]]" if "." in section else f"[{section}]"
    return "\n".join([head, *(f"{name} = {json.dumps(value)}" for name, value in row.items()), ""])


async def answered(run: Node | Running, phone: Baresip, question: Path) -> None:
    """The telephone's user hears the greeting out, asks, hears three seconds of the answer, hangs up."""
    await phone.until("CALL_ESTABLISHED")
    await until_said(run, 0, "agent_to_s")
    await phone.says(question)
    await until_said(run, 1, "agent_from_s")
    await asyncio.sleep(3)
    await phone.does("hangup")
    await phone.until("CALL_CLOSED")


async def until_said(run: Node | Running, number: int, moment: str) -> None:
    """Until that moment of the only call's reply has come."""
    async with asyncio.timeout(PATIENCE_S):
        while (await turn(run, number)).get(moment) is None:  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(0.5)


async def turn(run: Node | Running, number: int) -> dict[str, Any]:
    """That turn of the only call, as far as it is."""
    (call,) = await run.calls(1, live=True)
    path = f"/calls/{call['id']}/timeline"
    _, timeline = await (run.ask("GET", path) if isinstance(run, Node) else run.get(path))
    return next((one for one in timeline["turns"] if one["turn"] == number), {})


async def recording(run: Node | Running, call: dict[str, Any]) -> bytes:
    """The service's own: a WAV, the caller left, the agent right."""
    async with run.client.get(f"{run.url}/calls/{call['id']}/recording") as response:
        return await response.read()


async def picture(run: Node, call: dict[str, Any], folder: Path) -> Canvas:
    """The call's picture, from what the service kept of it: its two-channel recording and its timeline."""
    wav = read_wav(await recording(run, call))
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
