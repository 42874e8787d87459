"""First schema: calls, orders, keys, webhook facts, facts about the store."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
        comment="API keys: only the hash of each, never the key",
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])
    op.create_table(
        "calls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("carrier_ref", sa.Text(), nullable=False),
        sa.Column("from_number", sa.Text(), nullable=False),
        sa.Column("to_number", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("turns", JSON, nullable=False),
        sa.Column("usage", JSON, nullable=False),
        sa.Column("counters", JSON, nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("recording", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("forgotten_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
        comment="One row per call; ended_at is null while it is live. turns: JSON list of timeline.Turn",
    )
    op.create_index("ix_calls_from", "calls", ["tenant", "from_number"])
    op.create_index("ix_calls_live", "calls", ["owner"], sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_index("ix_calls_newest", "calls", ["tenant", "started_at", "id"])
    op.create_index("ix_calls_to", "calls", ["tenant", "to_number"])
    op.create_table(
        "meta",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_meta")),
        comment="Facts about the store itself (tenant is empty): store_id, epoch",
    )
    op.create_table(
        "order_counters",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_order_counters")),
        comment="The last order number given per tenant; locked while an order is placed, so that numbers have no gaps",
    )
    op.create_table(
        "orders",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("customer_name", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("placed_at", TIME, nullable=False),
        sa.CheckConstraint("quantity BETWEEN 1 AND 100000", name=op.f("ck_orders_quantity")),
        sa.PrimaryKeyConstraint("tenant", "number", name=op.f("pk_orders")),
        sa.UniqueConstraint("tenant", "call_id", "request_id", name=op.f("uq_orders_tenant_call_id_request_id")),
        sa.UniqueConstraint(
            "tenant", "call_id", "turn", "content_hash", name=op.f("uq_orders_tenant_call_id_turn_content_hash")
        ),
        comment="Orders; number 7 is shown as ORD-00007. A retry meets one of the two unique constraints",
    )
    op.create_table(
        "webhook_facts",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("fact_id", sa.Text(), nullable=False),
        sa.Column("call_ref", sa.Text(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_webhook_facts")),
        sa.UniqueConstraint("carrier", "fact_id", name=op.f("uq_webhook_facts_carrier_fact_id")),
        comment="What carriers told us, once each, in the order of arrival",
    )
    op.create_index("ix_webhook_facts_call", "webhook_facts", ["carrier", "call_ref"])
