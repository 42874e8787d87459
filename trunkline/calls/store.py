"""What calls need to have kept: a protocol; the SQL lives in `trunkline.calls.store_sql`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from trunkline.calls.record import CallRecord


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order taken by an agent."""

    id: str  # ORD-00001
    tenant: str
    call_id: str
    turn: int
    customer_name: str
    item: str
    quantity: int
    status: str
    placed_at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored: never its secret, only the hash of it."""

    id: str  # short public id, shown in lists
    tenant: str
    kind: str  # prod, test, admin
    hash: str  # of the whole key
    scopes: tuple[str, ...]
    label: str
    created_at: datetime
    revoked_at: datetime | None = None


class CallStore(Protocol):
    """Calls, orders, keys and webhook facts, each method one transaction. Raises StoreError."""

    async def begin(self, record: CallRecord) -> None:
        """A live call's row, so that a crash leaves a trace. Idempotent by id."""
        ...

    async def finish(self, record: CallRecord) -> None:
        """The call's end, in one transaction with everything that is a fact of it. Idempotent by id."""
        ...

    async def call(self, tenant: str, call_id: str) -> CallRecord | None:
        """One call, or None."""
        ...

    async def calls(
        self, tenant: str, *, limit: int = 50, before: str = "", live: bool | None = None
    ) -> Sequence[CallRecord]:
        """Newest first. `before`: cursor, the id of the last one already seen."""
        ...

    async def abandon(self, owner: str) -> int:
        """Ends as `internal` every live call of a worker that is gone. Returns how many."""
        ...

    async def place_order(
        self, tenant: str, call_id: str, turn: int, request_id: str, *, customer_name: str, item: str, quantity: int
    ) -> tuple[Order, bool]:
        """The order, and whether it is new. A retry finds the first: same call and `request_id`, or same call, turn
        and content. ORD numbers count from 1 per tenant without gaps."""
        ...

    async def order(self, tenant: str, order_id: str) -> Order | None:
        """One order, or None."""
        ...

    async def order_for(self, tenant: str, order_id: str, *, call_id: str, caller: str) -> Order | None:
        """The same, if it was placed in this call or in an earlier one with the caller's number (E.164); else None."""
        ...

    async def orders(self, tenant: str, *, limit: int = 50) -> Sequence[Order]:
        """Newest first."""
        ...

    async def webhook(self, carrier: str, fact_id: str, body: Mapping[str, str]) -> bool:
        """Keep a carrier's webhook fact; False when it was already known (same carrier and fact_id)."""
        ...

    async def webhooks(self, carrier: str, call_ref: str) -> Sequence[Mapping[str, str]]:
        """The facts about one carrier call id, oldest first."""
        ...

    async def add_key(self, key: ApiKey) -> None:
        """Keep a key."""
        ...

    async def keys(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """All keys, or one tenant's, newest first."""
        ...

    async def key_by_hash(self, digest: str) -> ApiKey | None:
        """The unrevoked key with this hash, or None."""
        ...

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """False when there is no such key or it was revoked already."""
        ...
