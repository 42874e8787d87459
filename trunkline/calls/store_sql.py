"""`CallStore` in SQL: `async with open_store(url) as store`. Each method is one transaction; errors are StoreError.

The schema is described in `trunkline.calls.tables`, privacy (erasure, retention) is done in
`trunkline.calls.store_privacy`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from trunkline.calls import store_privacy as privacy
from trunkline.calls import tables as t
from trunkline.calls.record import CallRecord
from trunkline.calls.store import ApiKey, CallStore, Order
from trunkline.calls.store_backend import Backend, clean, open_backend, parse_url
from trunkline.calls.store_privacy import Erased
from trunkline.calls.store_rows import (
    bounded,
    call_record,
    call_reference,
    call_row,
    content_hash,
    key_of,
    order_number,
    order_of,
)
from trunkline.calls.store_schema import make_private_file, migrate_on
from trunkline.clock import Clock, SystemClock
from trunkline.errors import StoreError

E164 = re.compile(r"\+[0-9]{7,15}")
MOST = 1_000  # rows of one answer
DEFAULT_TENANT = "default"
_FACTS = (  # of one carrier's call, oldest first; put together once: it is asked for while a caller waits
    sa.select(t.webhook_facts.c.body)
    .where(t.webhook_facts.c.carrier == sa.bindparam("carrier"), t.webhook_facts.c.call_ref == sa.bindparam("call_ref"))
    .order_by(t.webhook_facts.c.seq)
    .limit(MOST)
)
_KEPT = ("id", "tenant", "forgotten_at")  # what the end of a call does not change


@asynccontextmanager
async def open_store(
    url: str, *, clock: Clock | None = None, tenant: str = DEFAULT_TENANT
) -> AsyncIterator["SqlStore"]:
    """A migrated store for `sqlite:///FILE` or `postgresql://USER@HOST/NAME`; closed on leaving, after its writes.

    `tenant` owns facts that come without one (webhooks). Raises ConfigError, StoreError.
    """
    try:
        make_private_file(parse_url(url))
    except OSError as error:
        raise StoreError(f"the database file cannot be made: {error}") from error
    async with open_backend(url) as backend:
        await migrate_on(backend)
        yield SqlStore(backend, clock or SystemClock(), tenant)


class SqlStore:
    """See `trunkline.calls.store.CallStore`; beyond it: import_orders, fact, claim, erase, forget_before."""

    def __init__(self, backend: Backend, clock: Clock, tenant: str) -> None:
        self._backend = backend
        self._clock = clock
        self._tenant = tenant

    async def begin(self, record: CallRecord) -> None:
        """A live call's row; a row that is already there, perhaps finished, stays as it is."""
        await self._backend.write(partial(_begin, row=call_row(record)))

    async def finish(self, record: CallRecord) -> None:
        """The call's end; the last word on a call wins."""
        await self._backend.write(partial(_finish, row=call_row(record)))

    async def call(self, tenant: str, call_id: str) -> CallRecord | None:
        """One call, or None."""
        return await self._backend.read(partial(_call, tenant=tenant, call_id=call_id))

    async def calls(
        self, tenant: str, *, limit: int = 50, before: str = "", live: bool | None = None
    ) -> Sequence[CallRecord]:
        """Newest first; nothing when `before` is not a call of this tenant."""
        query = _newest_calls(tenant, _limited(limit), before, live)
        return await self._backend.read(lambda connection: [call_record(row) for row in connection.execute(query)])

    async def abandon(self, owner: str) -> int:
        """Ends as `internal` every live call of a worker that is gone."""
        end = {"ended_at": self._clock.utcnow(), "cause": "internal", "fault": "us"}
        live = (t.calls.c.owner == owner, t.calls.c.ended_at.is_(None))
        return await self._backend.write(partial(_count, statement=t.calls.update().where(*live).values(**end)))

    async def place_order(
        self, tenant: str, call_id: str, turn: int, request_id: str, *, customer_name: str, item: str, quantity: int
    ) -> tuple[Order, bool]:
        """The order, and whether it is new; quantity 1 to 100,000."""
        row = {
            "tenant": tenant,
            "call_id": call_id,
            "turn": turn,
            "request_id": bounded(request_id),
            "content_hash": content_hash(clean(customer_name), clean(item), quantity),
            "customer_name": clean(customer_name),
            "item": clean(item),
            "quantity": quantity,
            "status": "placed",
            "placed_at": self._clock.utcnow(),
        }
        return await self._backend.write(partial(_place, row=row))

    async def order(self, tenant: str, order_id: str) -> Order | None:
        """One order by "ORD-00007" (or "7"), or None."""
        return await self._order(tenant, order_id)

    async def order_for(self, tenant: str, order_id: str, *, call_id: str, caller: str) -> Order | None:
        """The same for one who calls: of this call, or of any call with that person's number."""
        return await self._order(tenant, order_id, _belongs(call_id, caller))

    async def _order(self, tenant: str, order_id: str, *more: sa.ColumnElement[bool]) -> Order | None:
        number = order_number(order_id)
        if number is None:
            return None
        query = sa.select(t.orders).where(t.orders.c.tenant == tenant, t.orders.c.number == number, *more)
        rows = await self._backend.read(lambda connection: connection.execute(query).all())
        return order_of(rows[0]) if rows else None

    async def orders(self, tenant: str, *, limit: int = 50) -> Sequence[Order]:
        """Newest first."""
        newest = sa.select(t.orders).where(t.orders.c.tenant == tenant).order_by(t.orders.c.number.desc())
        query = newest.limit(_limited(limit))
        return await self._backend.read(lambda connection: [order_of(row) for row in connection.execute(query)])

    async def import_orders(self, tenant: str, orders: Sequence[Order]) -> int:
        """Take over orders that an earlier system numbered; known numbers are left alone. How many were new."""
        return await self._backend.write(partial(_import, tenant=tenant, orders=orders))

    async def webhook(self, carrier: str, fact_id: str, body: Mapping[str, str]) -> bool:
        """Keep a fact; False when it is known. The call it is about is read from the body (`call_reference`)."""
        row = {
            "tenant": self._tenant,
            "carrier": carrier,
            "fact_id": bounded(fact_id),
            "call_ref": call_reference(body),
            "body": {str(key): str(value) for key, value in body.items()},
            "received_at": self._clock.utcnow(),
        }
        return await self._backend.write(partial(_keep_fact, row=row))

    async def webhooks(self, carrier: str, call_ref: str) -> Sequence[Mapping[str, str]]:
        """The facts about one carrier call id, oldest first."""
        about = {"carrier": carrier, "call_ref": bounded(call_ref)}
        return await self._backend.read(lambda connection: connection.scalars(_FACTS, about).all())

    async def add_key(self, key: ApiKey) -> None:
        """Keep a key."""
        row = {name: getattr(key, name) for name in key.__struct_fields__}
        await self._backend.write(partial(_count, statement=t.api_keys.insert().values(row)))

    async def keys(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """All keys, or one tenant's, newest first."""
        newest = sa.select(t.api_keys).order_by(t.api_keys.c.created_at.desc(), t.api_keys.c.id)
        query = newest if tenant is None else newest.where(t.api_keys.c.tenant == tenant)
        return await self._backend.read(lambda connection: [key_of(row) for row in connection.execute(query)])

    async def key_by_hash(self, digest: str) -> ApiKey | None:
        """The unrevoked key with this hash, or None."""
        query = sa.select(t.api_keys).where(t.api_keys.c.hash == digest, t.api_keys.c.revoked_at.is_(None))
        rows = await self._backend.read(lambda connection: connection.execute(query).all())
        return key_of(rows[0]) if rows else None

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """False when there is no such key or it was revoked already."""
        unrevoked = (t.api_keys.c.id == key_id, t.api_keys.c.revoked_at.is_(None))
        statement = t.api_keys.update().where(*unrevoked).values(revoked_at=at)
        return await self._backend.write(partial(_count, statement=statement)) > 0

    async def fact(self, key: str) -> str | None:
        """A fact about the store itself: `store_id` (for ever), `epoch`."""
        query = sa.select(t.meta.c.value).where(t.meta.c.tenant == "", t.meta.c.key == key)
        return await self._backend.read(lambda connection: connection.scalar(query))

    async def claim(self, work: str, period: str) -> bool:
        """True for one asker alone, of all that share the store: `work` of this period is theirs. Periods are texts
        in the order of time, such as 2026-01-31T12; an earlier one than the last is nobody's."""
        return await self._backend.write(partial(_claim, work=work, period=period))

    async def erase(self, tenant: str, number: str) -> Erased:
        """Remove a person: numbers, words, names, webhook bodies. The caller deletes the recordings it names."""
        return await self._backend.write(partial(privacy.erase, tenant=tenant, number=number, now=self._clock.utcnow()))

    async def forget_before(self, when: datetime, *, tenant: str | None = None, pause_s: float = 0.0) -> int:
        """Remove what was said in calls that ended before `when`; their times and outcomes stay. How many calls.

        Goes by a few calls at a step, with `pause_s` between two, so that live calls are not made to wait."""
        total = 0
        step = partial(privacy.forget, when=when, tenant=tenant, now=self._clock.utcnow())
        while count := await self._backend.write(step):
            total += count
            await asyncio.sleep(pause_s)
        return total


def _conforms(store: SqlStore) -> CallStore:
    return store  # read by mypy alone


def _belongs(call_id: str, caller: str) -> sa.ColumnElement[bool]:
    """Orders of this call, and of those with the same person; a withheld number is nobody's."""
    of_call = t.orders.c.call_id == call_id
    if not E164.fullmatch(caller):
        return of_call
    c = t.calls.c
    person = sa.case((c.direction == "inbound", c.from_number), else_=c.to_number)
    theirs = sa.select(c.id).where(c.tenant == t.orders.c.tenant, c.id == t.orders.c.call_id, person == caller)
    return of_call | theirs.exists()


def _limited(limit: int) -> int:
    return max(1, min(limit, MOST))


@cache
def _insert(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def _insert_new(dialect: str, table: sa.Table) -> sa.Insert:
    """Insert, unless the row is there already. Built once: building costs more than running."""
    return _insert(dialect, table).on_conflict_do_nothing()


@cache
def _insert_or_finish(dialect: str) -> sa.Insert:
    insert = _insert(dialect, t.calls)
    changed = {column.name: insert.excluded[column.name] for column in t.calls.c if column.name not in _KEPT}
    same = t.calls.c.tenant == insert.excluded.tenant
    return insert.on_conflict_do_update(index_elements=["id"], set_=changed, where=same)


def _begin(connection: sa.Connection, row: dict[str, Any]) -> None:
    connection.execute(_insert_new(connection.dialect.name, t.calls), row)


def _finish(connection: sa.Connection, row: dict[str, Any]) -> None:
    connection.execute(_insert_or_finish(connection.dialect.name), row)


def _call(connection: sa.Connection, tenant: str, call_id: str) -> CallRecord | None:
    query = sa.select(t.calls).where(t.calls.c.tenant == tenant, t.calls.c.id == call_id)
    row = connection.execute(query).first()
    return call_record(row) if row else None


def _newest_calls(tenant: str, limit: int, before: str, live: bool | None) -> sa.Select[Any]:
    c = t.calls.c
    query = sa.select(t.calls).where(c.tenant == tenant).order_by(c.started_at.desc(), c.id.desc()).limit(limit)
    if live is not None:
        query = query.where(c.ended_at.is_(None) if live else c.ended_at.is_not(None))
    if before:
        last = t.calls.alias("last")
        seen = sa.select(last.c.started_at).where(last.c.tenant == tenant, last.c.id == before).scalar_subquery()
        query = query.where(sa.tuple_(c.started_at, c.id) < sa.tuple_(seen, sa.literal(before)))
    return query


def _count(connection: sa.Connection, statement: sa.Insert | sa.Update) -> int:
    return connection.execute(statement).rowcount


def _claim(connection: sa.Connection, work: str, period: str) -> bool:
    insert = _insert(connection.dialect.name, t.meta)
    newer = t.meta.c.value < insert.excluded.value
    taken = insert.on_conflict_do_update(
        index_elements=["tenant", "key"], set_={"value": insert.excluded.value}, where=newer
    )
    return connection.execute(taken, {"tenant": "", "key": f"claim {work}", "value": period}).rowcount == 1


def _place(connection: sa.Connection, row: dict[str, Any]) -> tuple[Order, bool]:
    last = _lock_counter(connection, row["tenant"])
    found = connection.execute(_same_order(row)).first()
    if found:
        return order_of(found), False
    connection.execute(t.orders.insert(), {**row, "number": last + 1})
    _count_to(connection, row["tenant"], last + 1)
    order = sa.select(t.orders).where(t.orders.c.tenant == row["tenant"], t.orders.c.number == last + 1)
    return order_of(connection.execute(order).one()), True


def _lock_counter(connection: sa.Connection, tenant: str) -> int:
    """The last number given. Holds the tenant's row until the end of the transaction: one order at a time."""
    counters = t.order_counters
    connection.execute(_insert_new(connection.dialect.name, counters), {"tenant": tenant, "last": 0})
    query = sa.select(counters.c.last).where(counters.c.tenant == tenant).with_for_update()
    return int(connection.execute(query).scalar_one())


def _count_to(connection: sa.Connection, tenant: str, last: int) -> None:
    counters = t.order_counters
    connection.execute(counters.update().where(counters.c.tenant == tenant).values(last=last))


def _same_order(row: Mapping[str, Any]) -> sa.Select[Any]:
    """A retry's first order; one with the same request comes before one with the same content."""
    c = t.orders.c
    by_request = c.request_id == row["request_id"]
    by_content = sa.and_(c.turn == row["turn"], c.content_hash == row["content_hash"])
    call = (c.tenant == row["tenant"], c.call_id == row["call_id"])
    return sa.select(t.orders).where(*call, by_request | by_content).order_by(by_request.desc()).limit(1)


def _import(connection: sa.Connection, tenant: str, orders: Sequence[Order]) -> int:
    last, new, insert = _lock_counter(connection, tenant), 0, _insert_new(connection.dialect.name, t.orders)
    for order in orders:
        number = order_number(order.id)
        if number is None or number < 1:
            raise StoreError(f"order id {order.id!r}: must be ORD- and a number from 1")
        new += connection.execute(insert, _imported(order, tenant)).rowcount
        last = max(last, number)
    _count_to(connection, tenant, last)
    return new


def _imported(order: Order, tenant: str) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "number": order_number(order.id),
        "call_id": order.call_id or "imported",
        "turn": order.turn,
        "request_id": f"imported {order.id}",
        "content_hash": f"imported {order.id}",
        "customer_name": clean(order.customer_name),
        "item": clean(order.item),
        "quantity": order.quantity,
        "status": order.status,
        "placed_at": order.placed_at,
    }


def _keep_fact(connection: sa.Connection, row: dict[str, Any]) -> bool:
    return connection.execute(_insert_new(connection.dialect.name, t.webhook_facts), row).rowcount > 0
