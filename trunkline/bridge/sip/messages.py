"""What a worker and the gateway tell each other about calls, on a unix socket: length-prefixed msgpack, tagged unions.

One connection per worker. Its first message is `Hello`, with the descriptor of the worker's ring memory beside it
(SCM_RIGHTS). The gateway offers each incoming call to one worker, in turn; a call belongs to the worker that took it
until `Gone`, which is the last word about it. `call` is the gateway's number of the call, never used again; `slot` is
the worker's, chosen by it, free again once it has read `Gone`. A connection that ends takes its calls with it: the
gateway says BYE to their far ends, the worker ends their legs as `media_lost`.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from trunkline.errors import ProtocolError

MOST_MESSAGE = 256 << 10  # bytes
MOST_HEADERS = 64
VERSION = 2
UNCONFIRMED = 202  # the code of a last word on a `Refer` that is the gateway's: taken, and nobody is heard any more
_HEAD = struct.Struct(">I")


class _Message(msgspec.Struct, frozen=True, tag=True, gc=False):
    pass


# worker → gateway


class Hello(_Message, frozen=True):
    """First of all, the descriptor of the ring memory beside it."""

    version: int
    worker: str


class Offers(_Message, frozen=True):
    """Whether incoming calls may be offered to this worker (`on`, as after `Hello`), or no more: it drains."""

    on: bool


class Take(_Message, frozen=True):
    """Yes to an `Offer`: rings in `slot`. `answer`: 200 at once; else 180 until `Answer`."""

    call: int
    slot: int
    answer: bool = True
    headers: Mapping[str, str] = {}  # of the 200


class Answer(_Message, frozen=True):
    """200 to a call that was taken without an answer. `early`: 183 with audio instead."""

    call: int
    early: bool = False


class Refuse(_Message, frozen=True):
    """No to an `Offer`: a final SIP code, 400–699. `retry_after_s` goes with 480, 486, 503."""

    call: int
    code: int
    reason: str = ""
    retry_after_s: int = 0


class Hangup(_Message, frozen=True):
    """End it: CANCEL, a final answer, or BYE, by its state."""

    call: int
    code: int = 0  # of an answer; 0: what fits
    headers: Mapping[str, str] = {}


class SendDigits(_Message, frozen=True):
    """Keys for the far end: "auto" is RFC 4733 where it was negotiated, else INFO. Tones are the worker's to play."""

    call: int
    digits: str  # of 0-9 * # A-D, and "," for a pause of half a second
    method: Literal["auto", "rfc4733", "info"] = "auto"


class Hold(_Message, frozen=True):
    """Put the far end on hold (`on`) or take it off, by re-INVITE."""

    call: int
    on: bool


class Refer(_Message, frozen=True):
    """Ask the far end to call `target`; `replaces`: another call of this gateway that the target is already in."""

    call: int
    target: str  # a SIP URI
    replaces: int = 0
    headers: Mapping[str, str] = {}


class Join(_Message, frozen=True):
    """Let the far ends of two calls hear each other, in the gateway; their rings fall silent (`on`) or come back.

    They end together: when one is over the other hears BYE.
    """

    call: int
    other: int
    on: bool = True


class Dial(_Message, frozen=True):
    """Place a call. The worker chooses `ask` (its own number); `Placed` answers with the call's."""

    ask: int
    slot: int
    to: str  # a SIP URI, or digits for the trunk's domain
    trunk: str = ""  # name of a [[sip.trunk]]; "" for a URI dialled as it stands
    from_: str = ""  # number or user shown, by the trunk's rules
    display: str = ""
    headers: Mapping[str, str] = {}
    ring_s: float = 45.0  # CANCEL after it


# gateway → worker


class Welcome(_Message, frozen=True):
    """Answer to `Hello`: what this gateway is."""

    version: int
    rate: int  # Hz of the rings, as the worker made them
    slots: int
    listening: tuple[str, ...]  # "udp 127.0.0.1:5060"
    trunks: Mapping[str, str] = {}  # name → state


class Offer(_Message, frozen=True):
    """An INVITE from an allowed source. Without an answer in seconds the gateway offers it to the next, then 503."""

    call: int
    request_uri: str
    to: str  # number or user
    from_: str  # number or user, "" when withheld
    display: str
    source: str  # "udp 192.0.2.1:5060"
    call_id: str  # the dialog's Call-ID
    trunk: str = ""  # whose credentials or address it came with
    codecs: tuple[str, ...] = ()  # of the offer
    headers: Mapping[str, str] = {}  # X-… and those named in the trunk, first value


class Placed(_Message, frozen=True):
    """`Dial`: an INVITE is in the journal and on the wire; `call` 0: it is not, and why."""

    ask: int
    call: int
    call_id: str = ""
    code: int = 0
    reason: str = ""


class Progress(_Message, frozen=True):
    """1xx of a call that we placed; `media`: with audio before the answer."""

    call: int
    code: int
    media: bool = False


class Up(_Message, frozen=True):
    """Answered, and audio flows: what was negotiated."""

    call: int
    codec: str  # "PCMU/8000"
    srtp: str = ""  # the suite of SRTP; "": none
    digits: bool = True  # RFC 4733 was negotiated
    remote: str = ""  # address of the far end's audio
    headers: Mapping[str, str] = {}  # of the 200, X-…
    refer: bool = True  # nothing that it said rules REFER out (Allow)
    replaces: bool = False  # an INVITE may take this call over (RFC 3891)


class Held(_Message, frozen=True):
    """The far end put us on hold (`on`), or took us off."""

    call: int
    on: bool


class Digit(_Message, frozen=True):
    """One key, once; `method` is how it came."""

    call: int
    key: str
    method: Literal["rfc4733", "info", "inband"]


class ReferProgress(_Message, frozen=True):
    """How a `Refer` goes: SIP codes of NOTIFY's body, 202 first. `final`: nothing follows; with
    `UNCONFIRMED` the far end has said nothing more, and is gone."""

    call: int
    code: int
    reason: str = ""
    final: bool = False


class Moved(_Message, frozen=True):
    """The far end had us call `target`, and that is the call from now on: the same rings, the number `to`.

    `Held` goes before it, since nobody listens while the target rings, and after it once the target is there. A target
    that does not answer is no move: the far end is told, and talks on.
    """

    call: int
    to: int
    target: str  # a SIP URI


class Quality(_Message, frozen=True):
    """Of the stream so far, by RTCP and by our own count; every few seconds, and once more before `Gone`."""

    call: int
    codec: str
    rx_packets: int
    rx_lost: int
    rx_jitter_ms: float
    tx_packets: int
    tx_lost: int  # by the far end's reports
    tx_jitter_ms: float
    rtt_ms: float  # 0: no report came
    buffer_ms: float  # jitter buffer
    mos: float  # estimate, 1 to 4.5 (E-model with the codec's impairment)


class Gone(_Message, frozen=True):
    """The last word about a call."""

    call: int
    code: int  # SIP: of the final answer, or 200 after a BYE; 0: no answer at all
    reason: str  # of the final answer; the Reason of the far end's BYE, or "BYE"
    by: Literal["far", "us", "gateway"]  # gateway: media timeout, longest call, its own end
    answered: bool
    note: str = ""  # "media timeout", "session timer", "longest call"
    retry_after_s: int = 0  # of a refusal; 0: it named none


class TrunkState(_Message, frozen=True):
    """A trunk's registration or keep-alive changed."""

    trunk: str
    state: Literal["up", "down", "registering", "rejected", "unchecked"]
    code: int = 0
    reason: str = ""


ToGateway: TypeAlias = (
    Hello | Offers | Take | Answer | Refuse | Hangup | SendDigits | Hold | Refer | Join | Dial
)  # fmt: skip
ToWorker: TypeAlias = (
    Welcome | Offer | Placed | Progress | Up | Held | Digit | ReferProgress | Moved | Quality | Gone | TrunkState
)

_encoder = msgspec.msgpack.Encoder()
_to_gateway: msgspec.msgpack.Decoder[ToGateway] = msgspec.msgpack.Decoder(ToGateway)
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def encode(message: ToGateway | ToWorker) -> bytes:
    """With its length in front."""
    body = _encoder.encode(message)
    return _HEAD.pack(len(body)) + body


class Unpacker:
    """Bytes of the stream in, whole messages out."""

    def __init__(self, side: Literal["gateway", "worker"]) -> None:
        """side: whose ear this is."""
        self._decoder = _to_gateway if side == "gateway" else _to_worker
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[ToGateway | ToWorker]:
        """What is complete. Raises ProtocolError for anything else: the stream is of no use afterwards."""
        data = self._rest + data
        at = 0
        try:
            while len(data) - at >= _HEAD.size:
                (size,) = _HEAD.unpack_from(data, at)
                if size > MOST_MESSAGE:
                    raise ProtocolError(f"a message of {size} bytes", peer="sip", data=data[at : at + 50])
                if len(data) - at - _HEAD.size < size:
                    break
                at += _HEAD.size + size
                yield self._decoder.decode(data[at - size : at])
        except msgspec.DecodeError as error:
            raise ProtocolError(
                f"no message between gateway and worker: {error}", peer="sip", data=data[:50]
            ) from error
        finally:
            self._rest = data[at:]
