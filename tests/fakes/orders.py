"""An order book in memory, with the store's rules."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class MemoryOrder:
    id: str
    tenant: str
    call_id: str
    turn: int
    customer_name: str
    item: str
    quantity: int
    status: str = "received"


@dataclass
class MemoryOrders:
    """A retry (same call and request, or same call, turn and content) finds the first order."""

    placed: list[MemoryOrder] = field(default_factory=list)
    callers: dict[str, str] = field(default_factory=dict)  # earlier calls and their numbers
    _requests: dict[tuple[str, str], MemoryOrder] = field(default_factory=dict)

    async def place_order(
        self, tenant: str, call_id: str, turn: int, request_id: str, *, customer_name: str, item: str, quantity: int
    ) -> tuple[MemoryOrder, bool]:
        known = self._requests.get((call_id, request_id))
        content = (tenant, call_id, turn, customer_name, item, quantity)
        for order in self.placed:
            if (order.tenant, order.call_id, order.turn, order.customer_name, order.item, order.quantity) == content:
                known = known or order
        if known is not None:
            return known, False
        order = MemoryOrder(f"ORD-{len(self.placed) + 1:05}", tenant, call_id, turn, customer_name, item, quantity)
        self.placed.append(order)
        self._requests[call_id, request_id] = order
        return order, True

    async def order_for(self, tenant: str, order_id: str, *, call_id: str, caller: str) -> MemoryOrder | None:
        calls = {call_id} | {call for call, number in self.callers.items() if number == caller}
        found = (order for order in self.placed if (order.tenant, order.id) == (tenant, order_id))
        return next((order for order in found if order.call_id in calls), None)


@dataclass
class MemoryCall:
    """`CallControl` that remembers."""

    call_id: str = "call-1"
    caller: str = "+15550100"
    tenant: str = "t"
    ended: int = 0
    transfers: list[str] = field(default_factory=list)
    keys: str = ""

    async def end(self) -> None:
        self.ended += 1

    async def transfer(self, target: str, brief: str | None = None) -> None:
        self.transfers.append(target)

    async def send_digits(self, keys: str) -> None:
        self.keys += keys
