"""Places one call: a scripted caller on a simulated line of a carrier or an Asterisk, watched from both ends."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol, TypeAlias, cast

from trunkline_sim import audiosocket, sip_phone, twilio, twilio_http
from trunkline_sim.account import Account, account
from trunkline_sim.caller import Act, Caller
from trunkline_sim.errors import ScriptError, SimError
from trunkline_sim.faults import Faults
from trunkline_sim.mulaw import level_dbov
from trunkline_sim.script import HoldStep, Script, TransferStep, WaitForKeys
from trunkline_sim.smartflo import Line, place_call
from trunkline_sim.spectator import Spectator, Told, http_base
from trunkline_sim.stream import Stream
from trunkline_sim.voices import Voices
from trunkline_sim.wire import SMARTFLO, CallFacts, Wire

PERCENT = ("loss", "duplicate", "reorder", "late", "odd")
MOST_MS = 60_000.0
MOST_S = 86_400.0
MessageMs: TypeAlias = Literal[20, 40, 60, 100]
Network: TypeAlias = Literal["smartflo", "twilio", "audiosocket", "sip"]
DEFAULT_URL = "ws://127.0.0.1:8006/smartflo/audio"
DEFAULT_URLS: Mapping[Network, str] = {
    "smartflo": DEFAULT_URL,
    "twilio": "http://127.0.0.1:8006/answer/twilio",
    "audiosocket": audiosocket.DEFAULT_URL,
    "sip": sip_phone.DEFAULT_URL,
}
DEFAULT_API = "http://127.0.0.1:8006"


class Audience(Protocol):
    """Whoever watches a call live."""

    def acted(self, act: Act, at_s: float) -> None:
        """The caller does something."""
        ...

    def told(self, event: Told) -> None:
        """The service tells something of the call."""
        ...

    def levels(self, caller_dbov: float, agent_dbov: float, at_s: float) -> None:
        """Both voices, every 20 ms."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A call to be placed."""

    script: Script
    url: str = DEFAULT_URL
    voice: str = ""  # replaces the script's
    carrier: Mapping[str, str] | None = None  # replaces settings of the script
    parameters: Mapping[str, str] | None = None  # customParameters of `start`
    api: str = ""  # the service's HTTP address; "": that of `url`
    key: str = ""
    seed: int = 0
    network: Network = "smartflo"
    auth_token: str = ""  # Twilio signs with it
    webhook: str = ""  # Twilio tells it when the call is over
    credentials: tuple[str, str] | None = None  # SIP: name and password, for a service that asks


@dataclass(frozen=True, slots=True)
class _Line:
    """A call as the platform is about to connect it."""

    url: str
    facts: CallFacts
    wire: Wire = SMARTFLO
    headers: Mapping[str, str] | None = None
    status_callback: str = ""
    dial: Callable[[], Awaitable[Line]] | None = None


class _Watched:
    """A caller whose doings an audience sees."""

    def __init__(self, caller: Caller, stream: Stream, audience: Audience | None) -> None:
        self._caller = caller
        self._stream = stream
        self._audience = audience
        self._agent_dbov = -96.0

    def hear(self, payload: bytes) -> None:
        self._caller.hear(payload)
        if self._audience is not None:
            self._agent_dbov = level_dbov(payload)

    def tick(self, now: float) -> Sequence[Act]:
        acts = self._caller.tick(now)
        if self._audience is not None:
            for act in acts:
                self._audience.acted(act, now)
            self._audience.levels(level_dbov(bytes(self._stream.mic.track[-160:])), self._agent_dbov, now)
        return acts

    def closed(self) -> None:
        self._caller.closed()


def carrier_settings(settings: Mapping[str, str]) -> tuple[Faults, MessageMs]:
    """A script's carrier settings, by name → values. Raises ScriptError naming the setting and what is allowed."""
    known = {field.name: field.default for field in fields(Faults)}
    values: dict[str, object] = {}
    message_ms = 100
    for name, text in settings.items():
        try:
            if name == "message_ms":
                message_ms = int(_one_of(text, ("20", "40", "60", "100")))
            elif name in known:
                values[name] = _value(name, text, known[name])
            else:
                raise ValueError(f"no such setting; there are: message_ms, {', '.join(known)}")
        except ValueError as wrong:
            raise ScriptError(f"{name} = {text!r}: {wrong}") from wrong
    return replace(Faults(), **values), cast(MessageMs, message_ms)  # type: ignore[arg-type]


def _value(name: str, text: str, default: object) -> object:
    if name == "clear":
        return _one_of(text, ("honoured", "late", "ignored"))
    if isinstance(default, bool):
        return _one_of(text.lower(), ("yes", "no", "true", "false")) in ("yes", "true")
    most = 100.0 if name in PERCENT else MOST_MS if name.endswith("_ms") else MOST_S
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:  # nan is not, either
        raise ValueError(f"must be a number from 0 to {most:g}")
    return number


def _one_of(text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return text


async def place(plan: Plan, voices: Voices, audience: Audience | None = None) -> Account:
    """Place the call, in real time. Raises SimError when it cannot be placed."""
    plan = _settled(plan)
    script = plan.script
    usual = {} if plan.network == "smartflo" else {"message_ms": "20"}
    faults, message_ms = carrier_settings({**usual, **script.carrier, **(plan.carrier or {})})
    caller = Caller(script, await voices.prepare(script, plan.voice))
    line = await _line(plan)
    stream = Stream(line.facts, faults, message_ms=message_ms, seed=plan.seed, wire=line.wire)
    spectator = Spectator(
        plan.api or http_base(plan.url),
        line.facts.from_,
        key=plan.key,
        on_event=audience.told if audience is not None else None,
    )
    async with spectator.watching():
        async with twilio_http.told(line.status_callback, line.facts, plan.auth_token):
            watched = _Watched(caller, stream, audience)
            ending = await place_call(line.url, stream, watched, headers=line.headers, dial=line.dial)
        if plan.webhook:
            done = twilio_http.progress(line.facts, "completed", 0, round(ending.at_s))
            await twilio_http.tell(plan.webhook, done, plan.auth_token)
        await spectator.last()
    service = await spectator.timeline()
    events = spectator.events_since(ending.zero)
    return account(script, caller, stream, ending, events, service, spectator.call_id)


def _settled(plan: Plan) -> Plan:
    """What the address says of the network. Raises SimError where the two do not fit, or the script does not."""
    schemes: Mapping[str, Network] = {audiosocket.SCHEME: "audiosocket", sip_phone.SCHEME: "sip"}
    found = next((network for scheme, network in schemes.items() if plan.url.lower().startswith(scheme)), None)
    if plan.url.lower().startswith("sips:"):
        raise SimError(f"{plan.url}: this telephone speaks no TLS; must be sip:USER@HOST[:PORT]")
    if found is not None and plan.network not in ("smartflo", found):
        raise SimError(f"--carrier {plan.network}: but {plan.url} is an address of {found}")
    if found is not None:
        plan = replace(plan, network=found, api=plan.api or DEFAULT_API)
    elif plan.network in schemes.values():
        raise SimError(f"{plan.url}: such a call goes to {DEFAULT_URLS[plan.network]}, or wherever the service listens")
    for step in plan.script.steps:
        if isinstance(step, HoldStep | TransferStep) and plan.network != "sip":
            raise ScriptError(f"{plan.script.name}:{step.line}: only a SIP call can be held or transferred")
        if isinstance(step, WaitForKeys):
            raise ScriptError(
                f"{plan.script.name}:{step.line}: the agent's keys are heard by `trunkline sim pstn` alone"
            )
    return plan


async def _line(plan: Plan) -> _Line:
    """Where the call's socket is: as given, or as the service answers when asked for TwiML."""
    from_, to, parameters = plan.script.from_ or some_number(), plan.script.to, plan.parameters or {}
    if plan.network == "audiosocket":
        return _Line(plan.url, audiosocket.call_facts(to, parameters.get("uuid", "")), audiosocket.WIRE)
    if plan.network == "sip":
        session = sip_phone.Session(plan.url, from_, parameters, plan.credentials, plan.seed)
        return _Line(plan.url, session.facts, session.wire, dial=session.dial)
    if plan.network == "smartflo":
        return _Line(plan.url, CallFacts(from_=from_, to=to, parameters=parameters))
    facts = twilio.call_facts(from_, to, parameters={"from": "+" + from_.lstrip("+"), "to": "+" + to, **parameters})
    found = twilio_http.Stream(plan.url, facts.parameters)
    if plan.url.startswith("http"):
        found = await twilio_http.ask_answer(plan.url, facts, plan.auth_token)
        facts = replace(facts, parameters={**parameters, **found.parameters})
    headers = twilio_http.signed(plan.auth_token, found.url)
    return _Line(found.url, facts, twilio.WIRE, headers, found.status_callback)


def some_number() -> str:
    """An Indian mobile number nobody else is likely to call from just now."""
    return f"91{random.randint(7000000000, 9999999999)}"
