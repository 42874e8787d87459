"""How anything that rang may end. Busy is not an exception; the carrier's code is kept, the meaning is ours."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["nobody", "caller", "callee", "carrier", "provider", "us"]


class EndCause(StrEnum):
    """Why a call is over."""

    COMPLETED = "completed"  # the agent or the caller ended it after talking
    ABANDONED = "abandoned"  # the caller left before anything was said to the end
    BUSY = "busy"  # the far end is busy
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"  # the far end refused
    CANCELED = "canceled"  # we or the operator stopped it before it was answered
    MACHINE = "machine"
    ADMISSION = "admission"  # we refused it: no room, or draining
    TOO_LONG = "too_long"  # the longest call was reached
    SILENCE = "silence"  # nobody spoke, after the prompts
    OPERATOR = "operator"  # hung up through the API
    DRAINED = "drained"  # cut at the end of the drain limit
    MEDIA_LOST = "media_lost"  # the socket or stream vanished without a goodbye
    CARRIER_FAILED = "carrier_failed"
    PROVIDER_FAILED = "provider_failed"  # no AI session could be had or kept
    INTERNAL = "internal"  # our fault; logged once


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a call: `code` is the other side's own word for it, verbatim ("486", "Call ended")."""

    cause: EndCause
    fault: Fault
    code: str = ""
