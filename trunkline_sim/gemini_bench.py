"""The simulated Gemini for load: no ears, no records, canned messages; 100 calls from a part of one core.

Each 20 ms of the caller is answered at once by 20 ms of the agent: quiet by quiet, loud by loud. A tone that a load
generator sends through the service therefore comes back, and the time there and back is the service's own (both ways)
plus the carrier's. When a tone began to arrive stands in `SessionLog.marks` (monotonic seconds, one clock for the whole
machine), so that on one machine each way can be told.
"""

import binascii
import time

import aiohttp
import numpy as np
from aiohttp import web

from trunkline.codecs import fast
from trunkline_sim.gemini_ear import RATE
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import Scenario
from trunkline_sim.gemini_setup import understand
from trunkline_sim.gemini_wire import Refused, SetupMessage, audio_part, content, model_turn, read, write

LOUD = 2000  # peak above which a frame counts as a tone
TONE_HZ = 1000
_OUT_HZ = 24_000
_FRAME = RATE // 50  # samples of 20 ms
_DATA = '"data":'
_MOST_MARKS = 100_000


def _message(amplitude: float) -> bytes:
    wave = amplitude * np.sin(2 * np.pi * TONE_HZ * np.arange(_OUT_HZ // 50) / _OUT_HZ)
    pcm = np.rint(wave).astype("<i2").tobytes()
    return content(modelTurn=model_turn([audio_part(pcm, _OUT_HZ)]))


_TONE, _QUIET = _message(8000.0), _message(0.0)


async def serve_bench(ws: web.WebSocketResponse, scenario: Scenario, log: SessionLog, version: str) -> None:
    """One connection, from `setup` to its end."""
    try:
        resumption = await _setup(ws, log, version)
    except Refused as refused:
        log.violations["refused"] += 1
        await ws.close(code=refused.code, message=refused.reason.encode()[:120])
        return
    await ws.send_bytes(write(setupComplete={}))
    if resumption:
        await ws.send_bytes(write(sessionResumptionUpdate={"newHandle": f"bench-{log.number}", "resumable": True}))
    await _answer(ws, scenario, log)


async def _setup(ws: web.WebSocketResponse, log: SessionLog, version: str) -> bool:
    message = await ws.receive()
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        return False
    told = read(message.data)
    if not isinstance(told, SetupMessage):
        raise Refused(1007, "setup must be the first message, and come once.")
    log.setup = told.body
    return understand(told.body, version).resumption


async def _answer(ws: web.WebSocketResponse, scenario: Scenario, log: SessionLog) -> None:
    was_loud, owed, samples = False, 0, 0
    frame = _FRAME * scenario.bench_frames
    async for message in ws:
        pcm = audio_of(message.data) if message.type == aiohttp.WSMsgType.TEXT else None
        if pcm is None:
            continue
        loud = fast.peak(pcm) > LOUD
        if loud and not was_loud and len(log.marks) < _MOST_MARKS:
            log.marks.append(time.monotonic())
        was_loud = loud
        samples += len(pcm) // 2
        owed += len(pcm) // 2
        while owed >= frame:
            owed -= frame
            await ws.send_bytes(_TONE if loud else _QUIET)
    log.bench_s += samples / RATE


def audio_of(text: str) -> bytes | None:
    """The samples of an audio message, found without parsing it; None where it is no audio."""
    at = text.find(_DATA)
    if at < 0:
        return None
    start = text.find('"', at + len(_DATA)) + 1
    data = text[start : text.find('"', start)]
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    try:
        pcm = binascii.a2b_base64(data)
    except (binascii.Error, ValueError):
        return None
    return pcm if pcm and not len(pcm) % 2 else None
