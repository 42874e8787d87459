"""What a tool may do to its call: requests to the mind, never the call itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from trunkline.errors import ToolError
from trunkline.outcome import EndCause, Fault

KEYS = frozenset("0123456789*#ABCD")
MOST_KEYS = 32


@dataclass(frozen=True, slots=True)
class Close:
    """End the call once what is being said was heard."""


@dataclass(frozen=True, slots=True)
class Say:
    """Say this, unasked."""

    text: str


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Play keys to the far end."""

    keys: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call now."""

    cause: EndCause
    fault: Fault = "nobody"


Request: TypeAlias = Close | Say | SendDigits | HangUp


class Control:
    """The `CallControl` of one call."""

    def __init__(self, call_id: str, caller: str, tenant: str, ask: Callable[[Request], None]) -> None:
        self._call_id = call_id
        self._caller = caller
        self._tenant = tenant
        self._ask = ask

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self._call_id

    @property
    def caller(self) -> str:
        """The person's number."""
        return self._caller

    @property
    def tenant(self) -> str:
        """The tenant whose call it is."""
        return self._tenant

    async def end(self) -> None:
        """Hang up once what is being said has been heard, and a last sentence, if one begins at once."""
        self._ask(Close())

    async def transfer(self, target: str) -> None:
        """Always refused: no leg of this release can hand a caller over."""
        raise ToolError("Calls cannot be transferred on this line. Offer to take a message or a call back instead.")

    async def send_digits(self, keys: str) -> None:
        """Play keys to the far end as tones. ToolError when one is not a key of a telephone, or there are too many."""
        wrong = sorted(set(keys) - KEYS)
        if wrong or not 0 < len(keys) <= MOST_KEYS:
            raise ToolError(f"keys: {keys!r} must be 1 to {MOST_KEYS} of 0-9 * # A-D")
        self._ask(SendDigits(keys))
