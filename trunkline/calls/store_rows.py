"""Rows ⇄ values."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from trunkline.calls.record import CallRecord
from trunkline.calls.store import ApiKey, Order
from trunkline.calls.store_backend import clean
from trunkline.calls.turns import Turn

ERASED = "erased"  # stands where a number or a name was
_ORDER_ID = re.compile(r"\s*(?:ORD[\s-]*)?0*([0-9]{1,9})\s*", re.IGNORECASE)
MAX_ID = 200  # characters of a carrier's identifier; a longer one is kept as its hash (PostgreSQL indexes up to 2.7 kB)


def call_row(record: CallRecord) -> dict[str, Any]:
    """A record as a row of `calls`."""
    return {
        "id": record.id,
        "tenant": record.tenant,
        "direction": record.direction,
        "carrier": record.carrier,
        "carrier_ref": bounded(record.carrier_ref),
        "from_number": clean(record.from_),
        "to_number": clean(record.to),
        "agent": record.agent,
        "provider": record.provider,
        "started_at": record.started_at,
        "answered_at": record.answered_at,
        "ended_at": record.ended_at,
        "cause": record.cause,
        "fault": record.fault,
        "code": clean(record.code),
        "turns": record.turns,
        "usage": dict(record.usage),
        "counters": dict(record.counters),
        "labels": dict(record.labels),
        "recording": record.recording,
        "owner": record.owner,
    }


def call_record(row: sa.Row[Any]) -> CallRecord:
    """A row of `calls` as a record."""
    return CallRecord(
        id=row.id,
        tenant=row.tenant,
        direction=row.direction,
        carrier=row.carrier,
        carrier_ref=row.carrier_ref,
        from_=row.from_number,
        to=row.to_number,
        agent=row.agent,
        provider=row.provider,
        started_at=row.started_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        cause=row.cause,
        fault=row.fault,
        code=row.code,
        turns=msgspec.convert(row.turns, tuple[Turn, ...]),
        usage={name: value for name, value in row.usage.items() if value is not None},  # NaN is null in JSON
        counters=row.counters,
        labels=row.labels,
        recording=row.recording,
        owner=row.owner,
    )


def order_id(number: int) -> str:
    """7 → ORD-00007."""
    return f"ORD-{number:05d}"


def order_number(order_id: str) -> int | None:
    """ORD-00007, ord 7 or 7 → 7; None for anything else (callers say numbers in many ways)."""
    match = _ORDER_ID.fullmatch(order_id)
    return int(match.group(1)) if match else None


def order_of(row: sa.Row[Any]) -> Order:
    """A row of `orders` as a value."""
    return Order(
        id=order_id(row.number),
        tenant=row.tenant,
        call_id=row.call_id,
        turn=row.turn,
        customer_name=row.customer_name,
        item=row.item,
        quantity=row.quantity,
        status=row.status,
        placed_at=row.placed_at,
    )


def content_hash(customer_name: str, item: str, quantity: int) -> str:
    """Equal for orders of equal content, whatever their case and spacing."""
    words = [" ".join(text.casefold().split()) for text in (customer_name, item)]
    return hashlib.sha256("\x1f".join((*words, str(quantity))).encode()).hexdigest()


def key_of(row: sa.Row[Any]) -> ApiKey:
    """A row of `api_keys` as a value."""
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        kind=row.kind,
        hash=row.hash,
        scopes=tuple(row.scopes),
        label=row.label,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )


_CALL_REFERENCES = ("call_ref", "call_id", "callid", "callsid", "calluuid", "uuid", "call_session_id")


def call_reference(body: Mapping[str, str]) -> str:
    """The carrier's call id in a webhook's body, whichever of the usual names (with or without `$`) it goes by."""
    names = {key.lstrip("$").lower(): value for key, value in body.items()}
    return bounded(next((str(names[name]) for name in _CALL_REFERENCES if names.get(name)), ""))


def bounded(identifier: str) -> str:
    """A stranger's identifier, fit to be indexed."""
    text = clean(identifier)
    return text if len(text) <= MAX_ID else "sha256:" + hashlib.sha256(text.encode()).hexdigest()
