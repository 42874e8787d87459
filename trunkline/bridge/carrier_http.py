"""What a new carrier must say of its HTTP side: pure functions between its requests and documents and ours.

A carrier asks what to do with a call (the answer document) and tells what became of it (web hooks). No sockets here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trunkline.bridge.webhook import WebhookFact


@dataclass(frozen=True, slots=True)
class CarrierRequest:
    """A carrier's HTTP request or socket handshake, as it arrived."""

    method: str
    url: str  # as the carrier addressed it, our public address in front; "" where nobody needs to know
    headers: Mapping[str, str] = field(default_factory=dict)  # names in any case
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's value, "" when absent."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    @property
    def content_type(self) -> str:
        """The body's media type, parameters included."""
        return self.header("Content-Type")


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """A carrier asks what to do with a call."""

    call_ref: str
    from_: str  # normalised
    to: str
    status: str = ""
    direction: str = ""  # the carrier's own word
    parameters: Mapping[str, str] = field(default_factory=dict)  # what the operator added to the address or body
    left_out: tuple[str, ...] = ()  # names of parameters that the carrier could not carry


@dataclass(frozen=True, slots=True)
class Ways:
    """Where the carrier finds us for this call."""

    socket: str  # wss://…/media/NAME/TOKEN
    webhook: str  # https://…/webhooks/NAME


@dataclass(frozen=True, slots=True)
class Document:
    """An answer, status 200."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class CarrierHttp:
    """The HTTP side of one carrier: a row of functions."""

    name: str
    question: Callable[[CarrierRequest], CallQuestion]  # total: an odd body is left out
    connect: Callable[[CallQuestion, Ways], Document]
    busy: Callable[[CallQuestion, str], Document]  # str: why
    webhook: Callable[[CarrierRequest], WebhookFact]  # raises ProtocolError
    unsigned: Callable[[CarrierRequest], str] | None = None  # what is wrong with its signature, "" when nothing;
    # None: it does not sign, or we have no key: the shared secret decides
    signature: str = ""  # the header it signs with
    invites: bool = False  # the socket's `start` names the call as the question did: each call gets a token of its own
