"""What a SIP dialog tells its owner, how it is reached, and what it says again until it is answered. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from trunkline_sim.sip_message import Header, Message

T1_S, T2_S, GIVE_UP_S = 0.5, 4.0, 32.0  # RFC 3261, table 4


@dataclass(frozen=True, slots=True)
class Me:
    """How others reach us: for Via and Contact."""

    host: str
    port: int
    transport: Literal["UDP", "TCP"] = "UDP"
    name: str = "trunkline-sim"

    @property
    def contact(self) -> Header:
        """As a header."""
        tcp = ";transport=tcp" if self.transport == "TCP" else ""
        return "Contact", f"<sip:{self.name}@{self.host}:{self.port}{tcp}>"

    def via(self, branch: str) -> Header:
        """As a header; rport: answers come to where the request was sent from (RFC 3581)."""
        return "Via", f"SIP/2.0/{self.transport} {self.host}:{self.port};branch={branch};rport"


@dataclass(frozen=True, slots=True)
class Rang:
    """A provisional answer to our INVITE."""

    message: Message


@dataclass(frozen=True, slots=True)
class Answered:
    """200 to our INVITE; it has been acknowledged."""

    message: Message


@dataclass(frozen=True, slots=True)
class Refused:
    """The final answer to our INVITE was a refusal; code 0: there was none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """ACK to our 200."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before the answer."""


@dataclass(frozen=True, slots=True)
class Left:
    """The far end said BYE, or nothing at all to a request that needs an answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A new offer within the call: to be answered by `accept`."""

    message: Message


@dataclass(frozen=True, slots=True)
class Referred:
    """The far end wants us to call somebody else: `referred` answers."""

    target: str


@dataclass(frozen=True, slots=True)
class Told:
    """INFO or NOTIFY, answered 200 already."""

    message: Message


@dataclass(frozen=True, slots=True)
class Replied:
    """The final answer to a request of ours within the call; code 0: there was none."""

    method: str
    code: int
    message: Message | None = None


Event: TypeAlias = (
    Rang | Answered | Refused | Confirmed | Cancelled | Left | Offered | Referred | Told | Replied
)  # fmt: skip


@dataclass(slots=True)
class Again:
    data: bytes
    at: float
    step_s: float
    until: float
    slow: bool  # RFC 3261's T2: the step grows no further


class Repeats:
    """What is said again until it is answered: after T1, then twice that, for 32 s."""

    def __init__(self, *, reliable: bool) -> None:
        self._reliable = reliable
        self._kept: dict[str, Again] = {}

    def put(self, key: str, data: bytes, now: float, *, slow: bool = True, always: bool = False) -> None:
        """always: over a transport that loses nothing as well (a 200 to an INVITE)."""
        step_s = GIVE_UP_S if self._reliable and not always else T1_S
        self._kept[key] = Again(data, now + step_s, step_s, now + GIVE_UP_S, slow)

    def stop(self, key: str) -> bool:
        """It was answered; False when nothing waited for that."""
        return self._kept.pop(key, None) is not None

    def clear(self) -> None:
        """Nothing matters any more."""
        self._kept.clear()

    def deadline(self) -> float | None:
        """When something is due."""
        return min((one.at for one in self._kept.values()), default=None)

    def due(self, now: float) -> tuple[list[bytes], list[str]]:
        """What is to be sent again, and the keys of what nobody answered."""
        over = [key for key, one in self._kept.items() if one.until <= now]
        for key in over:
            del self._kept[key]
        again = [one for one in self._kept.values() if one.at <= now]
        for one in again:
            one.step_s = min(one.step_s * 2, T2_S) if one.slow else one.step_s * 2
            one.at = min(now + one.step_s, one.until)
        return [one.data for one in again], over
