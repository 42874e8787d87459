"""The far end of a Twilio socket in virtual time."""

import base64
from typing import Any

from tests.fakes.smartflo import FakeSmartflo

START: dict[str, Any] = {
    "streamSid": "S1",
    "accountSid": "AC1",
    "callSid": "CA1",
    "tracks": ["inbound"],
    "customParameters": {"from": "+15005550006", "to": "+918069000000", "call_token": "abc"},
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}


class FakeTwilio(FakeSmartflo):
    """The same platform but for its words, and for what it refuses: an event it does not know (31924)."""

    def connect(self, **start: Any) -> None:
        self.socket.say('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        self.tell("start", start={**START, **start})

    def say(self, payload: bytes) -> None:
        self.tell("media", media={"track": "inbound", "payload": base64.b64encode(payload).decode()})

    def press(self, keys: str) -> None:
        self.tell("dtmf", dtmf={"track": "inbound_track", "digit": keys})

    def hang_up(self) -> None:
        self.tell("stop", stop={"accountSid": "AC1", "callSid": "CA1"})

    def _taken(self, message: Any) -> None:
        super()._taken(message)
        assert self.hung_up_at is None, "Twilio knows no `end`"
