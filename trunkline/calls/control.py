"""What a tool may do to its call: requests to the mind, never the call itself."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from trunkline.bridge.telephony import Transferred
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


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Hand the caller to `target`; `result` is there when that is done, or was not possible."""

    target: str
    brief: str | None = None  # the person there hears it first, and may decline; None: the caller is there at once
    sorry: bool = False  # nobody waits who would tell the caller that it did not work
    result: "asyncio.Future[Transferred]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, result: Transferred) -> None:
        """Tell whoever still waits."""
        if not self.result.done():
            self.result.set_result(result)


Request: TypeAlias = Close | Say | SendDigits | HangUp | Transfer


class Phone(Protocol):
    """What the call's line can do for a tool."""

    def transfer(self, target: str, brief: str | None = None) -> Transfer:
        """Begin one. Raises ToolError where that cannot be."""
        ...

    def no_keys(self) -> str:
        """Why keys cannot be sent now, "" when they can."""
        ...


class Control:
    """The `CallControl` of one call."""

    def __init__(
        self,
        call_id: str,
        caller: str,
        tenant: str,
        ask: Callable[[Request], None],
        phone: Phone,
    ) -> None:
        self._call_id = call_id
        self._caller = caller
        self._tenant = tenant
        self._ask = ask
        self._phone = phone

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

    async def transfer(self, target: str, brief: str | None = None) -> None:
        """Hand the caller to `target`, who hears `brief` first if there is one; returns once they are there.

        ToolError when the line cannot, when the target is not allowed, or when it does not take the call: then the
        caller is still with us.
        """
        result = await self._phone.transfer(target, brief).result
        if not result.done:
            why = f"{result.code or ''} {result.reason}".strip() or "no answer"
            raise ToolError(f"The transfer did not work ({why}); the caller is still on the line.")

    async def send_digits(self, keys: str) -> None:
        """Send keys to the far end. ToolError on hold, for what is no key of a telephone, and for too many."""
        wrong = sorted(set(keys) - KEYS)
        if wrong or not 0 < len(keys) <= MOST_KEYS:
            raise ToolError(f"keys: {keys!r} must be 1 to {MOST_KEYS} of 0-9 * # A-D")
        if refusal := self._phone.no_keys():
            raise ToolError(refusal)
        self._ask(SendDigits(keys))
