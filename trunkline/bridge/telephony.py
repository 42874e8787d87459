"""What some legs can do beyond `CallLeg`: hand the caller on, send keys as keys, tell how good the line is."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from trunkline.bridge.leg import CallLeg

How: TypeAlias = Literal["", "refer", "replaces", "bridged"]


@dataclass(frozen=True, slots=True)
class Transferred:
    """How a transfer ended."""

    done: bool  # the caller talks to the target, or rings there without us
    code: int = 0  # the far end's own, 0 when it said none
    reason: str = ""
    how: How = ""  # done by the far end (REFER, with Replaces for two calls of ours), or by us, who carry both lines on
    refused: bool = False  # the far end does no such thing: there may be another way

    @property
    def joined(self) -> bool:
        """Both lines are still ours, and end together."""
        return self.done and self.how == "bridged"


@dataclass(frozen=True, slots=True)
class LineQuality:
    """The audio's way to and from the far end, over the whole call so far."""

    codec: str  # "PCMU/8000"
    received: int  # packets
    lost: int  # packets that did not arrive here
    jitter_ms: float
    far_lost: int  # packets of ours that did not arrive there, by its reports
    rtt_ms: float  # there and back; 0.0: no report came
    mos: float  # estimate, 1 to 4.5
    srtp: str = ""  # its suite, "AES_CM_128_HMAC_SHA1_80"; "": in the clear

    @property
    def loss(self) -> float:
        """Share of the far end's packets that did not arrive, 0 to 1."""
        sent = self.received + self.lost
        return self.lost / sent if sent else 0.0


@runtime_checkable
class TelephonyLeg(Protocol):
    """A leg on a telephone line proper."""

    async def transfer(self, target: str) -> Transferred:
        """Ask the far end to call `target` (number or SIP URI) in our place. Who may be called is not decided here."""
        ...

    async def place(self, target: str) -> CallLeg:
        """A second call, to `target`, by the same line: it rings. To be ended by whoever asked, or joined.

        Raises AdmissionError and CarrierError when it cannot be placed.
        """
        ...

    async def join(self, other: CallLeg) -> Transferred:
        """Let this far end and that of `other`, which `place` gave and which is up, talk to each other."""
        ...

    def send_digits(self, keys: str) -> bool:
        """Keys of 0-9 * # A-D for the far end. Returns at once; False: it takes none but tones in the audio."""
        ...

    def quality(self) -> LineQuality | None:
        """As last reported; None before the first report."""
        ...
