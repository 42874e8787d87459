"""The tables of the store, on SQLite and PostgreSQL alike. Every table has a tenant from the first migration.

The schema is made by `migrations/`; a test compares both. Times are UTC. What a row is for stands as a comment on the
table (in PostgreSQL: `\\d+`).
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no zone, so it is put back on reading; a naive time is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; without zone for SQLite."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone is refused")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON().with_variant(JSONB(), "postgresql")
RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER counts by itself on SQLite

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_live = sa.text("ended_at IS NULL")

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("direction", sa.Text, nullable=False),
    sa.Column("carrier", sa.Text, nullable=False),
    sa.Column("carrier_ref", sa.Text, nullable=False),
    sa.Column("from_number", sa.Text, nullable=False),
    sa.Column("to_number", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("answered_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("fault", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("turns", Json, nullable=False),
    sa.Column("usage", Json, nullable=False),
    sa.Column("counters", Json, nullable=False),
    sa.Column("labels", Json, nullable=False),
    sa.Column("recording", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("forgotten_at", UtcTime),  # when its words were removed (retention, erasure)
    sa.Index("ix_calls_newest", "tenant", "started_at", "id"),
    sa.Index("ix_calls_live", "owner", sqlite_where=_live, postgresql_where=_live),
    sa.Index("ix_calls_from", "tenant", "from_number"),
    sa.Index("ix_calls_to", "tenant", "to_number"),
    comment="One row per call; ended_at is null while it is live. turns: JSON list of timeline.Turn",
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("customer_name", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("placed_at", UtcTime, nullable=False),
    sa.UniqueConstraint("tenant", "call_id", "request_id"),
    sa.UniqueConstraint("tenant", "call_id", "turn", "content_hash"),
    sa.CheckConstraint("quantity BETWEEN 1 AND 100000", name="quantity"),
    comment="Orders; number 7 is shown as ORD-00007. A retry meets one of the two unique constraints",
)

order_counters = sa.Table(
    "order_counters",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),
    comment="The last order number given per tenant; locked while an order is placed, so that numbers have no gaps",
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
    comment="API keys: only the hash of each, never the key",
)

webhook_facts = sa.Table(
    "webhook_facts",
    metadata,
    sa.Column("seq", RowId, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("carrier", sa.Text, nullable=False),
    sa.Column("fact_id", sa.Text, nullable=False),
    sa.Column("call_ref", sa.Text, nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.UniqueConstraint("carrier", "fact_id"),
    sa.Index("ix_webhook_facts_call", "carrier", "call_ref"),
    comment="What carriers told us, once each, in the order of arrival",
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    comment="Facts about the store itself (tenant is empty): store_id, epoch",
)
