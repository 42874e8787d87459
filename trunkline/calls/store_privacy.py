"""Forgetting: by number (a person asked) and by age (retention). Times, outcomes and counts of calls stay.

A live call is left alone and counted, since its end will write its record again: erase once more after it.
"""

from datetime import datetime
from typing import Any

import msgspec
import phonenumbers
import sqlalchemy as sa

from trunkline.calls import tables as t
from trunkline.calls.store_rows import ERASED
from trunkline.calls.turns import Turn

STEP = 50  # calls per transaction of `forget`: a few milliseconds


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did. `recordings`: file names under DATA_DIR/recordings for the caller to delete."""

    calls: int
    orders: int
    webhooks: int
    recordings: tuple[str, ...]
    live: int  # calls with this number that are going on and were left alone


def erase(connection: sa.Connection, *, tenant: str, number: str, now: datetime) -> Erased:
    """One transaction; asking again finds nothing."""
    c = t.calls.c
    spellings = _spellings(number)
    with_number = (c.tenant == tenant, c.from_number.in_(spellings) | c.to_number.in_(spellings))
    rows = connection.execute(sa.select(t.calls).where(*with_number)).all()
    ended = [row for row in rows if row.ended_at is not None]
    orders = webhooks = 0
    for row in ended:
        connection.execute(t.calls.update().where(c.id == row.id).values(**_without_person(row, spellings, now)))
        orders += _erase_orders(connection, tenant, row.id)
        webhooks += _erase_facts(connection, _about(row))
    webhooks += _erase_facts(connection, _mentions(tenant, number))
    recordings = tuple(row.recording for row in ended if row.recording)
    return Erased(
        calls=len(ended), orders=orders, webhooks=webhooks, recordings=recordings, live=len(rows) - len(ended)
    )


def forget(connection: sa.Connection, *, when: datetime, tenant: str | None, now: datetime) -> int:
    """Remove the words of the next calls that ended before `when`; how many, 0 when none is left."""
    c = t.calls.c
    due = sa.select(c.id, c.turns).where(c.ended_at < when, c.forgotten_at.is_(None)).limit(STEP)
    rows = connection.execute(due if tenant is None else due.where(c.tenant == tenant)).all()
    for row in rows:
        silent = {"turns": _silent(row.turns), "forgotten_at": now}
        connection.execute(t.calls.update().where(c.id == row.id).values(**silent))
    return len(rows)


def _without_person(row: sa.Row[Any], spellings: set[str], now: datetime) -> dict[str, Any]:
    numbers = {
        name: ERASED if getattr(row, name) in spellings else getattr(row, name) for name in ("from_number", "to_number")
    }
    return {**numbers, "turns": _silent(row.turns), "labels": {}, "recording": "", "forgotten_at": now}


def _silent(turns: list[Any]) -> tuple[Turn, ...]:
    whole = msgspec.convert(turns, tuple[Turn, ...])
    nothing = {"caller_text": "", "agent_text": "", "heard_text": "", "keys": ""}
    return tuple(msgspec.structs.replace(turn, **nothing) for turn in whole)


def _erase_orders(connection: sa.Connection, tenant: str, call_id: str) -> int:
    o = t.orders.c
    theirs = (o.tenant == tenant, o.call_id == call_id, o.customer_name != ERASED)
    return connection.execute(t.orders.update().where(*theirs).values(customer_name=ERASED)).rowcount


def _erase_facts(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    """Empties bodies and keeps the rows, so that a webhook delivered again is still known."""
    full = sa.cast(t.webhook_facts.c.body, sa.Text) != "{}"
    return connection.execute(t.webhook_facts.update().where(which, full).values(body={})).rowcount


def _about(call: sa.Row[Any]) -> sa.ColumnElement[bool]:
    """A call's own facts, whichever tenant the webhook's address belongs to."""
    w = t.webhook_facts.c
    return sa.and_(w.carrier == call.carrier, w.call_ref == call.carrier_ref, w.call_ref != "")


def _mentions(tenant: str, number: str) -> sa.ColumnElement[bool]:
    """Bodies that hold the number in any spelling: its national part, at least seven digits of it."""
    national = _national(number)
    if len(national) < 7:
        return sa.false()
    w = t.webhook_facts.c
    return sa.and_(w.tenant == tenant, sa.cast(w.body, sa.Text).contains(national, autoescape=True))


def _spellings(number: str) -> set[str]:
    digits = "".join(filter(str.isdigit, number))
    return {number, digits, f"+{digits}"} - {"", "+"}


def _national(number: str) -> str:
    digits = "".join(filter(str.isdigit, number))
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(f"+{digits}", None))
    except phonenumbers.NumberParseException:
        return digits
