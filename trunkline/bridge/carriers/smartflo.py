"""Tata Tele Smartflo (Acefone, Servetel: the same platform): the dialect of its voice streaming socket. Pure.

Wire: one JSON object per text frame, audio in base64, mu-law 8 kHz unless `mediaFormat` says otherwise.
Carrier → us: connected, start, media, dtmf, mark, stop. Us → carrier: media (multiples of 160 bytes), mark, clear, end.
Source: docs.smartflo.tatatelebusiness.com, "bi-directional audio streaming integration document";
quirks with their dates: docs/carriers/smartflo.md.
"""

from collections.abc import Mapping, Sequence

from trunkline.bridge import json_dialect as js
from trunkline.bridge.dialect import MediaProfile
from trunkline.bridge.leg import Direction
from trunkline.bridge.numbers import indian, ours
from trunkline.bridge.stream_dialect import EARLY_S, MAX_KEYS, ODDITIES, Parties, StreamDialect
from trunkline.config import Smartflo as SmartfloSettings

__all__ = ["EARLY_S", "MAX_KEYS", "NAME", "ODDITIES", "SmartfloDialect", "call_ids", "profile"]

NAME = "smartflo"
FRAME_MS = 20  # 160 bytes of mu-law: what is no multiple of it is heard as a gap
LEAD_S = 0.2
_INBOUND = frozenset({"inbound", "incoming", "in", "1"})
_OUTBOUND = frozenset({"outbound", "outgoing", "out", "2", "clicktocall", "click_to_call", "c2c"})


class SmartfloDialect(StreamDialect):
    """One socket's translator: `MediaDialect`."""

    def __init__(self, query: Mapping[str, str], *, dids: Sequence[str] = ()) -> None:
        """query: the handshake's parameters, merged below the in-band ones. dids: our own numbers."""
        super().__init__(query)
        self._dids = tuple(dids)
        self._chunk = 0

    def audio(self, payload: bytes) -> str:
        """payload: multiples of 160 bytes → `media`."""
        self._chunk += 1
        return f'{self.media_head}{js.base64_text(payload)}","chunk":{self._chunk}}}}}'

    def hang_up(self) -> str:
        """`end`, known from one implementation only; closing the socket follows anyway."""
        return f'{{"event":"end","streamSid":{self.quoted},"call_sid":{js.quote(self.call)}}}'

    def hello(self) -> str:
        """Some accounts wait for the server's `connected`, and else close with 1005."""
        return '{"event":"connected"}'

    def parties(self, both: Sequence[js.JsonObject], parameters: Mapping[str, str]) -> Parties:
        """The customer is whoever is not ours: the carrier swaps the two at times."""
        from_ = indian(self.name(both, ("from", "from_number", "fromNumber")))
        to = indian(self.name(both, ("to", "to_number", "toNumber")))
        direction = self._direction(js.text(js.first(both, "direction")).strip().lower(), from_)
        customer_first = direction == "inbound"
        caller_ours, callee_ours = ours(from_, self._dids), ours(to, self._dids)
        if caller_ours != callee_ours and caller_ours == customer_first:
            from_, to = to, from_
        return Parties(direction, from_, to)

    def _direction(self, named: str, from_: str) -> Direction:
        if named in _INBOUND:
            return "inbound"
        return "outbound" if named in _OUTBOUND or ours(from_, self._dids) else "inbound"


def call_ids(call_sid: str) -> tuple[str, ...]:
    """What the REST interface may know a `callSid` as, most likely first: `h11.08-177.21` → itself, `177.21`."""
    tail = call_sid.rsplit("-", 1)[-1]
    return (call_sid, tail) if tail and tail != call_sid else (call_sid,)


def profile(settings: SmartfloSettings) -> MediaProfile:
    """The carrier's facts, with our own numbers from `[carriers.smartflo]`."""
    return MediaProfile(
        name=NAME,
        dialect=lambda query: SmartfloDialect(query, dids=settings.dids),
        frame_ms=FRAME_MS,
        lead_s=LEAD_S,
        hello_after_s=settings.say_connected_after_s,
    )
