"""Every call, in one place, from its number to its destruction. Nothing of pjsua2 lives anywhere else.

A `Call` that is collected late hangs up whoever has its id by then; so it is destroyed here, outside callbacks, once
its end is known, and never by a reference that goes (reference/pjsua2.md 5.1).
"""

import itertools
from collections.abc import Iterator

from trunkline.bridge.sip.callbacks import GatewayCall
from trunkline.bridge.sip.gateway_leg import Leg, silence


class Registry:
    """Calls by number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.calls: dict[int, GatewayCall] = {}  # from the callback's first line on
        self.legs: dict[int, Leg] = {}
        self._outlived: list[GatewayCall] = []  # over, but another call has its number in pjsua
        self._moved: dict[int, int] = {}  # a worker's word about the one is meant for the other

    def number(self) -> int:
        """The next one; never used again."""
        return next(self._numbers)

    def add(self, leg: Leg) -> None:
        """Known from now on."""
        self.calls[leg.number] = leg.call
        self.legs[leg.number] = leg

    def find(self, number: int) -> Leg | None:
        """The call that a worker means, whatever it has become."""
        while (to := self._moved.get(number)) is not None:
            number = to
        return self.legs.get(number)

    def move(self, number: int, to: int) -> None:
        """`to` is what `number` was."""
        self._moved[number] = to

    def __iter__(self) -> Iterator[Leg]:
        return iter(list(self.legs.values()))

    def __len__(self) -> int:
        return len(self.legs)

    @property
    def carried(self) -> int:
        """Without those that have been turned away and wait for an ACK."""
        return sum(leg.ending is None for leg in self.legs.values())

    def destroy(self, leg: Leg) -> None:
        """Port first, then the call."""
        silence(leg)
        partner = leg.call.partner
        if partner is not None:
            partner.partner = None
        self.legs.pop(leg.number, None)
        for before in [before for before, to in self._moved.items() if to == leg.number]:
            del self._moved[before]
        call = self.calls.pop(leg.number, None)
        if call is not None:
            self._destroy([call, *self._outlived])

    def _destroy(self, calls: list[GatewayCall]) -> None:
        """Those whose number is nobody's; the others with the end of whoever has it, or of the call after that."""
        self._outlived = [call for call in calls if not call.destroy()]

    def destroy_all(self) -> None:
        """At the very end; calls without a leg among them."""
        for leg in self:
            self.destroy(leg)
        for call in (*self.calls.values(), *self._outlived):
            call.destroy(at_the_end=True)
        self.calls.clear()
        self._outlived.clear()
