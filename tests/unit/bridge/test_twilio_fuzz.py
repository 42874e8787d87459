"""Twilio's dialect under mutated calls: it never raises, and the mutations reach all of it."""

import json
import random
from typing import Any

import pytest

from tests.fakes.leg import twilio_leg
from tests.fakes.twilio import START
from tests.unit.bridge.fuzzing import ENCODINGS, PER_CALL, Fuzzed, FuzzSuite, inside
from trunkline.bridge.carriers.twilio import TwilioDialect
from trunkline.bridge.dialect import Message


def call(rng: random.Random) -> list[Message]:
    """A valid call of Twilio's, of about PER_CALL messages."""
    described = {**START, "mediaFormat": {"encoding": rng.choice(ENCODINGS[:5]), "sampleRate": 8000, "channels": 1}}
    described["callSid"] = "h11.08-" + "0" * 27  # as long as a real one; the mutations know how it begins
    bodies: list[dict[str, Any]] = [{"event": "start", "start": described}]
    for number in range(rng.randrange(PER_CALL)):
        body = inside(rng, number)
        for name in ("media", "dtmf"):
            if name in body:
                body[name] = {"track": "inbound" if name == "media" else "inbound_track", **body[name]}
        bodies.append(body)
    bodies.append({"event": "stop", "stop": {"accountSid": "AC1", "callSid": "CA1"}})
    for number, body in enumerate(bodies, 1):
        body.update(sequenceNumber=str(number), streamSid="S1")
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    return [json.dumps(body) for body in (connected, *bodies)]


class TestTwilio(FuzzSuite):
    @pytest.fixture
    def carrier(self) -> Fuzzed:
        return Fuzzed("twilio", lambda: TwilioDialect({"sid": "q"}), call, twilio_leg)
