"""Twilio's media socket as the platform speaks it: its messages, and its judgement of ours. Pure.

Written from the carrier's own pages, not from the product's dialect, so that each side checks the other.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Literal

from trunkline_sim.wire import CallFacts, Listener, Speaker, Wire

MEDIA_FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


def call_facts(
    from_: str,
    to: str,
    direction: Literal["inbound", "outbound"] = "inbound",
    parameters: Mapping[str, str] | None = None,
) -> CallFacts:
    """A call with ids as Twilio makes them; numbers in E.164."""
    return CallFacts(
        from_="+" + from_.lstrip("+"),
        to="+" + to.lstrip("+"),
        direction=direction,
        stream_sid="MZ" + secrets.token_hex(16),
        call_sid="CA" + secrets.token_hex(16),
        account_sid="AC" + "0" * 31 + "1",
        parameters=parameters or {},
    )


class TwilioSpeaker(Speaker):
    """Builds the platform's messages: every number but those of `mediaFormat` is a text."""

    @staticmethod
    def connected() -> str:
        """The first message, which names the protocol."""
        return '{"event":"connected","protocol":"Call","version":"1.0.0"}'

    def start(self) -> str:
        """Describes the stream; who calls whom is not told."""
        parameters = dict(self.facts.parameters)
        more = {"tracks": ["inbound"], "customParameters": parameters, "mediaFormat": MEDIA_FORMAT}
        return self._message("start", start={**self._ids(), **more})

    def media(self, payload: bytes, at_ms: int) -> str:
        """20 ms of the caller's voice; `at_ms` is stream time at the end of the payload."""
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(at_ms),
            "payload": base64.b64encode(payload).decode("ascii"),
        }
        return self._message("media", media=media)

    def dtmf(self, digit: str) -> str:
        """One key press."""
        return self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def stop(self, reason: str) -> str:
        """Goodbye; no reason is told."""
        return self._message("stop", stop={"accountSid": self.facts.account_sid, "callSid": self.facts.call_sid})


class TwilioListener(Listener):
    """Reads what the service sends: media of any size, mark, clear.

    Anything else is error 31924 there (`unknown_event`), a binary frame 31950 (`binary_message`).
    """

    orders = frozenset({"media", "mark", "clear"})
    frame_bytes = 1


WIRE = Wire(TwilioSpeaker, TwilioListener, name="Twilio")
