"""Twilio Media Streams, two-way (`<Connect><Stream>`): the dialect of its media socket. Pure.

Wire: one JSON object per text frame, mu-law 8 kHz in base64, 20 ms a message.
Carrier → us: connected, start, media, dtmf, mark, stop. Us → carrier: media, mark, clear, and nothing else: an event
that Twilio does not know is an error there (31924), so there is no greeting and no hang-up but closing the socket.
Source: twilio.com/docs/voice/media-streams/websocket-messages; quirks: docs/carriers/twilio.md.
"""

from collections.abc import Mapping, Sequence

from trunkline.bridge import json_dialect as js
from trunkline.bridge.dialect import MediaProfile
from trunkline.bridge.leg import Direction
from trunkline.bridge.numbers import international
from trunkline.bridge.stream_dialect import Parties, StreamDialect
from trunkline.config import Twilio as TwilioSettings

NAME = "twilio"
FRAME_MS = 20
LEAD_S = 0.2


class TwilioDialect(StreamDialect):
    """One socket's translator: `MediaDialect`."""

    def audio(self, payload: bytes) -> str:
        """payload: mu-law of any length → `media`."""
        return f'{self.media_head}{js.base64_text(payload)}"}}}}'

    def hang_up(self) -> None:
        """Nothing: closing the socket lets the call go on behind `<Connect>`; where nothing follows, that ends it."""

    def hello(self) -> None:
        """Nothing: Twilio speaks first."""

    def parties(self, both: Sequence[js.JsonObject], parameters: Mapping[str, str]) -> Parties:
        """`start` names nobody: the answer document hands the numbers on as parameters `from`, `to`, `direction`."""
        direction: Direction = "outbound" if parameters.get("direction", "").startswith("outbound") else "inbound"
        return Parties(direction, international(parameters.get("from", "")), international(parameters.get("to", "")))


def profile(settings: TwilioSettings) -> MediaProfile:
    """The carrier's facts."""
    return MediaProfile(name=NAME, dialect=TwilioDialect, frame_ms=FRAME_MS, lead_s=LEAD_S, once=True)
