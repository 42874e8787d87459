"""The simulated Gemini's handle for other processes: JSON over its own TLS listener, under `/_sim/`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from trunkline.codecs.wav import wav_bytes
from trunkline_sim.errors import SimError
from trunkline_sim.gemini_ear import RATE
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import Fault, Scenario, scenario_from
from trunkline_sim.voices import Voices


class Controlled(Protocol):
    """What the routes need of a server."""

    sessions: list[SessionLog]
    scenarios: dict[str, Scenario]

    def understand(self, recordings: Mapping[str, bytes]) -> None:
        """Know these callers too."""
        ...

    async def do(self, number: int, fault: Fault) -> None:
        """Disturb a live connection."""
        ...


def control_routes(sim: Controlled) -> list[web.RouteDef]:
    """GET sessions, one session, its audio, scenarios; PUT a scenario; POST recordings, a fault of the moment."""
    control = _Control(sim)
    return [
        web.get("/_sim/sessions", control.sessions),
        web.get("/_sim/journal", control.journal),
        web.get(r"/_sim/sessions/{number:\d+}", control.session),
        web.get(r"/_sim/sessions/{number:\d+}/audio.wav", control.audio),
        web.post(r"/_sim/sessions/{number:\d+}/do", control.do),
        web.get("/_sim/scenarios", control.scenarios),
        web.put("/_sim/scenarios/{name}", control.put_scenario),
        web.post("/_sim/recordings", control.recordings),
    ]


class _Sentences(msgspec.Struct, forbid_unknown_fields=True):
    """Callers to be known: what they say, in which voice of `trunkline sim voices`."""

    sentences: list[str]
    voice: str = "kal16"


class _Control:
    def __init__(self, sim: Controlled) -> None:
        self._sim = sim

    async def sessions(self, request: web.Request) -> web.Response:
        return web.json_response([log.facts(events=False) for log in self._sim.sessions])

    async def session(self, request: web.Request) -> web.Response:
        return web.json_response(self._log(int(request.match_info["number"])).facts())

    async def journal(self, request: web.Request) -> web.Response:
        number = request.query.get("conn", "")
        logs = [self._log(int(number))] if number.isdecimal() else self._sim.sessions
        return web.json_response([log.facts() for log in logs])

    async def audio(self, request: web.Request) -> web.Response:
        log = self._log(int(request.match_info["number"]))
        return web.Response(body=wav_bytes(bytes(log.audio), RATE), content_type="audio/wav")

    async def do(self, request: web.Request) -> web.Response:
        try:
            body = await _json(request)
            moment = {"at_s": 0.0} if isinstance(body, dict) else {}
            fault = msgspec.convert(moment | body if moment else body, Fault)
            await self._sim.do(int(request.match_info["number"]), fault)
        except (SimError, ValueError) as wrong:
            raise _bad(wrong) from wrong
        return web.json_response({"done": fault.kind})

    async def scenarios(self, request: web.Request) -> web.Response:
        return web.json_response(msgspec.to_builtins(self._sim.scenarios))

    async def put_scenario(self, request: web.Request) -> web.Response:
        try:
            self._sim.scenarios[request.match_info["name"]] = scenario_from(await _json(request))
        except (SimError, ValueError) as wrong:
            raise _bad(wrong) from wrong
        return web.json_response({"scenario": request.match_info["name"]})

    async def recordings(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.convert(await _json(request), _Sentences)
            clips = await asyncio.to_thread(_make_blocking, wanted)
        except (SimError, ValueError) as wrong:
            raise _bad(wrong) from wrong
        self._sim.understand(clips)
        return web.json_response({"known": list(clips)})

    def _log(self, number: int) -> SessionLog:
        found = next((log for log in self._sim.sessions if log.number == number), None)
        if found is None:
            raise web.HTTPNotFound(text=f"there is no session {number}")
        return found


async def _json(request: web.Request) -> Any:
    """The body. Raises ValueError."""
    return msgspec.json.decode(await request.read())


def _bad(wrong: Exception) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=str(wrong))


def _make_blocking(wanted: _Sentences) -> dict[str, bytes]:
    return {text: Voices().say(text, wanted.voice) for text in wanted.sentences}
