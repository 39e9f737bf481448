"""The store's tables: customers and what happened to them, decisions, idempotency.

Times are microseconds since 1970 UTC (exact, sortable, the same in every database). Events
and decisions are never rewritten: `seq` is the order in which the service learned of them
and `retracted_seq` when it learned better, so any past decision can be recomputed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

SCHEMA_VERSION = "1"
metadata = MetaData()


def _owner(*, index: bool = False) -> Column[str]:
    return Column(
        "customer_id",
        String(200),
        ForeignKey("customers.customer_id", ondelete="CASCADE"),
        nullable=False,
        index=index,
    )


meta = Table(
    "meta", metadata, Column("key", String(40), primary_key=True), Column("value", Text, nullable=False)
)

customers = Table(
    "customers",
    metadata,
    Column("customer_id", String(200), primary_key=True),
    Column("attributes", Text, nullable=False, server_default="{}"),  # JSON
    Column("created_us", BigInteger, nullable=False),
)

identities = Table(  # edges of the identity tree: alias belongs to customer_id
    "identities",
    metadata,
    Column("alias", String(200), ForeignKey("customers.customer_id", ondelete="CASCADE"), primary_key=True),
    _owner(index=True),
    Column("seq", BigInteger, nullable=False),
)

assignments = Table(  # a customer's cluster is frozen until a new bundle
    "assignments",
    metadata,
    _owner(),
    Column("bundle_sha256", String(64), nullable=False),
    Column("cluster", String(40), nullable=False),
    PrimaryKeyConstraint("customer_id", "bundle_sha256"),
)

events = Table(  # the event log's columns, in its order, and the store's own
    "events",
    metadata,
    Column("event_id", String(300), nullable=False),
    Column("source", String(300), nullable=False),
    _owner(),
    Column("occurred_us", BigInteger, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("direction", String(20)),
    Column("channel", String(40)),
    Column("touchpoint", String(200)),
    Column("topic", String(200)),
    Column("outcome", String(200)),
    Column("value", Float),
    Column("currency", String(3)),
    Column("case_id", String(200)),
    Column("decision_id", String(200)),
    Column("propensity", Float),
    Column("eligible", Text),  # joined by |
    Column("policy_version", String(200)),
    Column("activated", Boolean),
    Column("agent_id", String(200)),
    Column("queue", String(200)),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("received_us", BigInteger, nullable=False),
    Column("retracted_seq", BigInteger),
    Index("events_timeline", "customer_id", "occurred_us", "seq"),
    Index(
        "events_identity",
        "source",
        "event_id",
        unique=True,
        sqlite_where=text("retracted_seq IS NULL"),
        postgresql_where=text("retracted_seq IS NULL"),
    ),
    Index("events_decision", "decision_id"),
)

receipts = Table(  # messages that are not events of a journey: identify, alias
    "receipts",
    metadata,
    Column("source", String(300), nullable=False),
    Column("event_id", String(300), nullable=False),
    _owner(index=True),
    PrimaryKeyConstraint("source", "event_id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    _owner(),
    Column("cluster", String(40), nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("mode", String(10), nullable=False),
    Column("policy_name", String(200), nullable=False),
    Column("policy_version", String(200), nullable=False),
    Column("policy_sha256", String(64), nullable=False),
    Column("action", String(90), nullable=False),  # key: wait or touchpoint:channel
    Column("propensity", Float, nullable=False),
    Column("u", Float, nullable=False),
    Column("eligible", Text, nullable=False),  # keys joined by |
    Column("state", Text, nullable=False),  # JSON, levels by component
    Column("observation", Text, nullable=False),  # JSON, floats by name in the manifest's order
    Column("request", Text, nullable=False),  # JSON
    Column("answer", Text, nullable=False),  # JSON
    Column("deferred", Boolean, nullable=False),
    Column("status", String(10), nullable=False),  # none, sent, reserved, rejected, failed
    Column("settled_seq", BigInteger),  # when a reservation ended by activation
    Index("decisions_customer", "customer_id", "decided_us"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("route", String(40), nullable=False),
    Column("key", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("route", "key"),
)

idempotency_customers = Table(  # whose data an idempotent answer repeats: erased with them
    "idempotency_customers",
    metadata,
    Column("route", String(40), nullable=False),
    Column("key", String(255), nullable=False),
    _owner(index=True),
    PrimaryKeyConstraint("route", "key", "customer_id"),
)

suppressions = Table(  # all that is left of an erased customer: a keyed hash
    "suppressions",
    metadata,
    Column("customer_hash", String(64), primary_key=True),
    Column("created_us", BigInteger, nullable=False),
)
