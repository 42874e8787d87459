"""The fuzz harness of all JSON dialects: valid calls are mutated, one dialect reads each from beginning to end.

Messages dropped, doubled, swapped, truncated, other types, garbage bytes. A carrier's module says what a valid
call is (`Fuzzed`) and inherits `FuzzSuite`. Messages per run: `TRUNKLINE_FUZZ` (default 20,000; CI 100,000).
"""

import asyncio
import base64
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.socket import FakeSocket
from tests.virtual_time import clock, virtual
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.dialect import Message, StreamStarted, StreamStopped, WireAudio, WireDigits, WireMark
from trunkline.bridge.leg import Ended, Oddity
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.bridge.stream_dialect import ODDITIES
from trunkline.codecs.g711 import PCMU
from trunkline.errors import ProtocolError
from trunkline.outcome import EndCause

MESSAGES = int(os.environ.get("TRUNKLINE_FUZZ", "20000"))
PER_CALL = 25  # about
EVENTS = ("connected", "start", "media", "dtmf", "mark", "stop")
KINDS = (StreamStarted, WireAudio, WireDigits, WireMark, StreamStopped, Oddity)
STATES = ("waiting", "streaming", "stopped")
COLUMNS = (*EVENTS, "")  # "": none of them

# What a field may become. Weird on purpose: each has broken a parser somewhere.
WEIRD: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 3.0, 1.5, 1e308, 2**53, 2**63, 10**30, "", "0", "x", "null", "S1", "S2", "inbound",
    "outbound",
    "٣", "\x00", "é" * 50, "x" * 300, [], [1], {}, {"a": {"b": [None]}}, '"\\"{}\\""', "{", "a=b&c", "12#", "*A"
)  # fmt: skip
ENCODINGS = (
    "audio/x-mulaw",
    "PCMA",
    "slin",
    "slin16",
    "audio/l16;rate=24000",
    "opus",
    "raw/x",
    ";rate=",
    "L16/16000/1",
)

Mutation = Callable[[random.Random, list[Message]], None]


def drop(rng: random.Random, messages: list[Message]) -> None:
    del messages[rng.randrange(len(messages))]


def double(rng: random.Random, messages: list[Message]) -> None:
    messages.insert(rng.randrange(len(messages)), rng.choice(messages))


def swap(rng: random.Random, messages: list[Message]) -> None:
    a, b = rng.randrange(len(messages)), rng.randrange(len(messages))
    messages[a], messages[b] = messages[b], messages[a]


def truncate(rng: random.Random, messages: list[Message]) -> None:
    at = rng.randrange(len(messages))
    messages[at] = messages[at][: rng.randrange(len(messages[at]) + 1)]


def garble(rng: random.Random, messages: list[Message]) -> None:
    at = rng.randrange(len(messages))
    text = messages[at]
    where = rng.randrange(len(text) + 1)
    if isinstance(text, str):
        messages[at] = text[:where] + chr(rng.choice((0, 34, 44, 92, 123, 0xD800, 0x1F600))) + text[where + 1 :]
    else:
        messages[at] = text[:where] + rng.randbytes(2) + text[where + 1 :]


def to_binary(rng: random.Random, messages: list[Message]) -> None:
    at = rng.randrange(len(messages))
    if isinstance(message := messages[at], str):
        messages[at] = message.encode("utf-8", "surrogatepass") if rng.random() < 0.7 else rng.randbytes(9)


def retype(rng: random.Random, messages: list[Message]) -> None:
    """A field anywhere in a message gets another value, another name, or is gone."""
    at = rng.randrange(len(messages))
    try:
        body = json.loads(messages[at])
    except ValueError:
        return
    if isinstance(body, dict) and body:
        _retype_in(rng, body)
        messages[at] = json.dumps(body)


def _retype_in(rng: random.Random, body: dict[str, Any]) -> None:
    key = rng.choice(list(body))
    if isinstance(body[key], dict) and body[key] and rng.random() < 0.8:
        _retype_in(rng, body[key])
    elif key in ("encoding", "event") and rng.random() < 0.5:
        body[key] = rng.choice(ENCODINGS if key == "encoding" else EVENTS)
    elif (roll := rng.random()) < 0.2:
        del body[key]
    elif roll < 0.4:
        body["".join("_" + c.lower() if c.isupper() else c for c in key)] = body.pop(key)
    elif roll < 0.5:
        body["track"] = "outbound"
    else:
        body[key] = rng.choice(WEIRD)


def renumber(rng: random.Random, messages: list[Message]) -> None:
    at = rng.randrange(len(messages))
    if isinstance(message := messages[at], str):
        messages[at] = message.replace('"sequenceNumber": "', f'"sequenceNumber": "{rng.choice(("", "1", "9", "-"))}')


def estrange(rng: random.Random, messages: list[Message]) -> None:
    """Another track's audio, or a name too long."""
    at = rng.randrange(len(messages))
    if isinstance(message := messages[at], str):
        message = message.replace('"payload"', '"track": "outbound", "payload"') if rng.random() < 0.5 else message
        messages[at] = message.replace("g1-1", "x" * 300).replace('"h11.08', '"' + "9" * 300)


def invent(rng: random.Random, messages: list[Message]) -> None:
    """A message made of nothing but JSON."""
    body = rng.choice(WEIRD) if rng.random() < 0.5 else {"event": rng.choice(EVENTS), "media": rng.choice(WEIRD)}
    messages.insert(rng.randrange(len(messages) + 1), json.dumps(body))


MUTATIONS: tuple[Mutation, ...] = (
    drop,
    double,
    swap,
    truncate,
    garble,
    to_binary,
    retype,
    retype,
    retype,
    renumber,
    estrange,
    invent,
)


def named(message: Message) -> str:
    """The event a message names, for the coverage table."""
    try:
        event = json.loads(message)["event"]
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
    return event if event in EVENTS else ""


def inside(rng: random.Random, number: int) -> dict[str, Any]:
    """A message of a call's middle."""
    kind = rng.choices(("media", "dtmf", "mark"), (8, 1, 1))[0]
    if kind == "media":
        payload = base64.b64encode(rng.randbytes(rng.choice((0, 1, 160, 161, 800)))).decode()
        return {"event": kind, "media": {"chunk": str(number), "timestamp": str(number * 20), "payload": payload}}
    return {"event": kind, "dtmf": {"digit": "5"}} if kind == "dtmf" else {"event": kind, "mark": {"name": "g1-1"}}


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A carrier under the harness."""

    name: str  # in CARRIERS
    dialect: Callable[[], Any]
    call: Callable[[random.Random], list[Message]]  # a valid call
    steady: Callable[[], AbstractAsyncContextManager[Any]]  # (leg, far) of a good call

    def mutated(self, rng: random.Random) -> list[Message]:
        messages = self.call(rng)
        for _ in range(rng.choice((0, 1, 2, 4, 8))):
            if messages:
                rng.choice(MUTATIONS)(rng, messages)
        return messages

    def read(self, messages: list[Message], seen: Counter[Any]) -> None:
        """One dialect reads one call; what it says must be well-formed, and what it writes must be JSON."""
        dialect = self.dialect()
        for message in messages:
            state = dialect.state
            events = dialect.receive(message)
            seen[state, named(message)] += 1
            for event in events:
                seen[type(event)] += 1
                check(event, seen)
        for written in (dialect.audio(b"\xff" * 160), dialect.mark('"\ud800'), dialect.clear(), dialect.hang_up()):
            assert written is None or isinstance(json.loads(written), dict)


def check(event: Any, seen: Counter[Any]) -> None:
    match event:
        case Oddity(kind, detail):
            assert kind in ODDITIES
            assert len(detail) <= 200
            seen[kind] += 1
        case WireAudio(payload=payload, at_ms=at_ms, lost=lost):
            assert type(payload) is bytes
            assert payload
            assert at_ms is None or type(at_ms) is int
            assert 0 <= lost <= 1000
        case WireDigits(keys):
            assert keys
            assert set(keys) <= set("0123456789*#ABCD")
        case StreamStarted():
            assert event.direction in ("inbound", "outbound")
            assert all(type(k) is str and type(v) is str for k, v in event.parameters.items())
        case WireMark(label):
            assert 0 < len(label) <= 256
        case _:
            assert isinstance(event, StreamStopped)


KEYS = st.sampled_from((*EVENTS, "event", "payload")) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
SEQUENCES = st.lists(
    st.builds(json.dumps, JSON)
    | st.builds(lambda event, body: json.dumps({"event": event, event: body}), st.sampled_from(EVENTS), JSON)
    | st.text()
    | st.binary(),
    max_size=12,
)


def coverage(name: str, messages: int, seen: Counter[Any]) -> str:
    """Event type by state of the dialect, and oddities, with how often each was met."""
    lines = [
        f"\n{name}: {messages} messages",
        f"{'state':12}" + "".join(f"{event or '(none)':>11}" for event in COLUMNS),
    ]
    lines += [f"{state:12}" + "".join(f"{seen[state, event]:11}" for event in COLUMNS) for state in STATES]
    return "\n".join([*lines, ", ".join(f"{kind} {seen[kind]}" for kind in sorted(ODDITIES))])


class FuzzSuite:
    """What every dialect survives. `carrier` is given by the module of each."""

    @pytest.fixture
    def carrier(self) -> Fuzzed:
        raise NotImplementedError

    def test_mutated_calls_reach_everything_and_break_nothing(self, carrier: Fuzzed) -> None:
        seen: Counter[Any] = Counter()
        rng = random.Random(20260301)
        read_so_far = 0
        while read_so_far < MESSAGES:
            messages = carrier.mutated(rng)
            carrier.read(messages, seen)
            read_so_far += len(messages)
        print(coverage(carrier.name, read_so_far, seen))
        assert [kind for kind in KINDS if not seen[kind]] == []
        assert [(s, e) for s in STATES for e in (*EVENTS, "") if not seen[s, e]] == [], "state and event never met"
        assert sorted(kind for kind in ODDITIES if not seen[kind]) == [], "an oddity that no mutation reached"

    def test_whatever_comes_between(self, carrier: Fuzzed) -> None:
        """Hypothesis' own inventions, strewn into a mutated call; a failure shrinks to the message that did it."""

        @settings(max_examples=max(60, MESSAGES // 200), deadline=None, suppress_health_check=list(HealthCheck))
        @given(seed=st.integers(0, 2**32), extra=SEQUENCES)
        def strewn(seed: int, extra: list[Message]) -> None:
            rng = random.Random(seed)
            messages = carrier.mutated(rng)
            for message in extra:
                messages.insert(rng.randrange(len(messages) + 1), message)
            carrier.read(messages, Counter())

        strewn()

    def test_mutated_calls_touch_no_other_call(self, carrier: Fuzzed) -> None:
        """Legs read mutated calls while a good one goes on in the same loop: they end in order, it hears all of it."""

        @virtual
        async def beside() -> None:
            rng = random.Random(8)
            turns = max(100, MESSAGES // 200)
            async with carrier.steady() as (steady, far), asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(hear(steady))
                for turn in range(turns):
                    far.say(bytes([turn % 100 + 1]) * 160)
                    await one_hostile_call(carrier, carrier.mutated(rng), rng)
                    await asyncio.sleep(0.02)
                far.hang_up()
                heard = await listening
            assert heard == b"".join(PCMU.decoder().decode(bytes([t % 100 + 1]) * 160) for t in range(turns))
            assert steady.counters == {}

        beside()


async def hear(leg: MediaSocketLeg) -> bytes:
    return b"".join([frame.pcm async for frame in leg.audio()])


async def one_hostile_call(carrier: Fuzzed, messages: list[Message], rng: random.Random) -> None:
    socket = FakeSocket()
    socket.say(*messages)
    socket.shut(rng.choice((1000, 1006)))
    try:
        async with open_media_leg(socket, CARRIERS[carrier.name], {}, clock=clock()) as leg:
            leg.send(b"\xff" * 160)
            leg.mark("m")
            events = [event async for event in leg.events()]
            assert [type(e) for e in events].count(Ended) == 1
            assert isinstance(events[-1], Ended)
            assert events[-1].outcome.cause in (EndCause.COMPLETED, EndCause.MEDIA_LOST)
    except ProtocolError:
        return  # never described: no leg, and the reason was told
