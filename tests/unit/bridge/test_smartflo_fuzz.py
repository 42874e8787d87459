"""Smartflo's dialect under mutated calls: it never raises, and the mutations reach all of it."""

import json
import random
from typing import Any

import pytest

from tests.fakes.leg import smartflo_leg
from tests.unit.bridge.fuzzing import ENCODINGS, PER_CALL, Fuzzed, FuzzSuite, inside
from trunkline.bridge.carriers.smartflo import SmartfloDialect
from trunkline.bridge.dialect import Message


def call(rng: random.Random) -> list[Message]:
    """A valid call of Smartflo's, of about PER_CALL messages."""
    start: dict[str, Any] = {
        "callSid": "h11.08-1776875353.216650",
        "from": "919800000001",
        "to": "918069000000",
        "direction": rng.choice(("inbound", "outbound")),
        "mediaFormat": {"encoding": rng.choice(ENCODINGS[:5]), "sampleRate": rng.choice((8000, "8000"))},
        "customParameters": rng.choice(({"custom_identifier": '{"call_token":"abc"}'}, '{"a":"b"}', "a=b", {})),
    }
    bodies: list[dict[str, Any]] = [{"event": "start", "start": start}]
    bodies.extend(inside(rng, number) for number in range(rng.randrange(PER_CALL)))
    bodies.append({"event": "stop", "stop": {"reason": "Call ended"}})
    for number, body in enumerate(bodies, 1):
        body.update(sequenceNumber=str(number), streamSid="S1")
    return [json.dumps(body) for body in ({"event": "connected"}, *bodies)]


class TestSmartflo(FuzzSuite):
    @pytest.fixture
    def carrier(self) -> Fuzzed:
        return Fuzzed("smartflo", lambda: SmartfloDialect({"sid": "q"}, dids=("918069000000",)), call, smartflo_leg)
