"""What is known of a customer: identities, attributes and events, read and written by SQL.

Functions of a connection, without journey rules. A customer may have several identities
(`alias`); events stay with the identity they came for and are read together.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from envs.scenario.events import Event
from serving.contract.words import Attribute, Attributes
from serving.store.clock import from_us, to_us
from serving.store.tables import (
    assignments,
    customers,
    decisions,
    events,
    idempotency,
    idempotency_customers,
    identities,
    meta,
    receipts,
    suppressions,
)

OWN_SOURCE = "journey"
"""Source of the events that the service itself writes."""

_AT_ONCE = 200
_FIELDS = [field.name for field in fields(Event)]

# statements of every decision, built once: building one costs more than running it
_MANY: Any = bindparam("many", expanding=True)
_ONE: Any = bindparam("one")
_SEQ: Any = bindparam("before")
_PARENT = select(identities.c.customer_id).where(identities.c.alias == _ONE)
_ALIASES = select(identities.c.alias).where(identities.c.customer_id.in_(_MANY))
_ALIASES_BEFORE = _ALIASES.where(identities.c.seq < _SEQ)
_CUSTOMER = select(customers.c.customer_id).where(customers.c.customer_id == _ONE)
_ATTRIBUTES = select(customers.c.attributes).where(customers.c.customer_id == _ONE)
_CLUSTER = select(assignments.c.cluster).where(
    assignments.c.customer_id == _ONE, assignments.c.bundle_sha256 == bindparam("bundle")
)
_SUPPRESSED = select(suppressions.c.customer_hash).where(suppressions.c.customer_hash.in_(_MANY))
_OF_CUSTOMER = select(events).where(events.c.customer_id.in_(_MANY))
_TIMELINE = _OF_CUSTOMER.where(events.c.retracted_seq.is_(None))
_TIMELINE_BEFORE = _OF_CUSTOMER.where(
    events.c.seq < _SEQ, or_(events.c.retracted_seq.is_(None), events.c.retracted_seq >= _SEQ)
)
_NEW_CUSTOMER, _NEW_EVENT, _NEW_ASSIGNMENT = insert(customers), insert(events), insert(assignments)


@dataclass(frozen=True, slots=True)
class Known:
    """A customer's main identity, and all identities whose events are theirs."""

    customer_id: str
    identities: tuple[str, ...]


# --- identities ---------------------------------------------------------------------------------


def root_of(connection: Connection, customer_id: str) -> str:
    """The main identity an id belongs to (itself unless it became an alias)."""
    while parent := connection.scalar(_PARENT, {"one": customer_id}):
        customer_id = parent
    return customer_id


def known(connection: Connection, customer_id: str, seq: int | None = None) -> Known:
    """Identities of a main identity, as known when `seq` was drawn (None: now)."""
    found, frontier = [customer_id], [customer_id]
    while frontier:
        query = _ALIASES if seq is None else _ALIASES_BEFORE
        frontier = list(connection.scalars(query, {"many": frontier, "before": seq}))
        found += frontier
    return Known(customer_id, tuple(found))


def find(connection: Connection, customer_id: str) -> Known | None:
    """The customer an id belongs to, or None for nobody known."""
    root = root_of(connection, customer_id)
    return known(connection, root) if connection.scalar(_CUSTOMER, {"one": root}) else None


def ensure(connection: Connection, customer_id: str, now_us: int) -> None:
    """Make sure the customer has a row."""
    if not connection.scalar(_CUSTOMER, {"one": customer_id}):
        connection.execute(_NEW_CUSTOMER, {"customer_id": customer_id, "created_us": now_us})


def merge_identities(connection: Connection, alias: str, customer_id: str, seq: int, now_us: int) -> None:
    """From now on `alias` is `customer_id`; their attributes are laid under the customer's."""
    ensure(connection, alias, now_us)
    ensure(connection, customer_id, now_us)
    former, root = root_of(connection, alias), root_of(connection, customer_id)
    if former == root:
        return
    own = attributes_of(connection, root)
    put_attributes(connection, root, {**attributes_of(connection, former), **own})
    connection.execute(insert(identities).values(alias=former, customer_id=root, seq=seq))


# --- attributes and clusters ----------------------------------------------------------------------


def attributes_of(connection: Connection, customer_id: str) -> Attributes:
    """Attributes learned so far."""
    text = connection.scalar(_ATTRIBUTES, {"one": customer_id})
    return json.loads(text) if text else {}


def put_attributes(connection: Connection, customer_id: str, attributes: Mapping[str, Attribute]) -> None:
    """Replace the attributes of a customer that has a row."""
    connection.execute(
        update(customers)
        .where(customers.c.customer_id == customer_id)
        .values(attributes=json.dumps(dict(attributes), sort_keys=True, allow_nan=False))
    )


def assigned_cluster(connection: Connection, customer_id: str, bundle: str) -> str | None:
    """The cluster frozen for this customer under this bundle."""
    return connection.scalar(_CLUSTER, {"one": customer_id, "bundle": bundle})


def freeze_cluster(connection: Connection, customer_id: str, bundle: str, cluster: str) -> None:
    """Remember the cluster until a new bundle."""
    row = {"customer_id": customer_id, "bundle_sha256": bundle, "cluster": cluster}
    connection.execute(_NEW_ASSIGNMENT, row)


# --- events -------------------------------------------------------------------------------------


def append(connection: Connection, event: Event, seq: int, now_us: int) -> None:
    """Store one event; its (source, event_id) must be new."""
    append_all(connection, [(event, seq)], now_us)


def append_all(connection: Connection, numbered: Sequence[tuple[Event, int]], now_us: int) -> None:
    """Store events, each with its running number, in one statement."""
    if numbered:
        rows = [{"seq": seq, "received_us": now_us, **_row(event)} for event, seq in numbered]
        connection.execute(_NEW_EVENT, rows)


def _row(event: Event) -> dict[str, object]:
    row = {name: getattr(event, name) for name in _FIELDS if name not in ("occurred_at", "eligible")}
    row["occurred_us"] = to_us(event.occurred_at)
    row["eligible"] = None if event.eligible is None else "|".join(event.eligible)
    return row


def retract(connection: Connection, where: ColumnElement[bool], seq: int) -> list[Event]:
    """Take back the standing events that match; earlier decisions still saw them."""
    matching = and_(where, events.c.retracted_seq.is_(None))
    rows = connection.execute(select(events).where(matching)).all()
    connection.execute(update(events).where(matching).values(retracted_seq=seq))
    return [to_event(row) for row in rows]


def timeline(connection: Connection, who: Known, seq: int | None = None) -> list[Event]:
    """All events of a customer, as known when `seq` was drawn (None: now)."""
    query = _TIMELINE if seq is None else _TIMELINE_BEFORE
    rows = connection.execute(query, {"many": who.identities, "before": seq})
    return [to_event(row) for row in rows]


def page(
    connection: Connection, who: Known, after: tuple[int, int] | None, limit: int
) -> list[tuple[Event, tuple[int, int]]]:
    """Up to `limit` events in time order after a place `(occurred_us, seq)`, each with its own."""
    query = select(events).where(events.c.customer_id.in_(who.identities), events.c.retracted_seq.is_(None))
    if after is not None:
        query = query.where(tuple_(events.c.occurred_us, events.c.seq) > tuple_(*after))
    rows = connection.execute(query.order_by(events.c.occurred_us, events.c.seq).limit(limit))
    return [(to_event(row), (row.occurred_us, row.seq)) for row in rows]


def already_received(connection: Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which (source, event_id) are stored: as events, taken back or not, or as receipts."""
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        for table in (events, receipts):
            key = tuple_(table.c.source, table.c.event_id)
            rows = connection.execute(select(table.c.source, table.c.event_id).where(key.in_(some)))
            found.update((row.source, row.event_id) for row in rows)
    return found


def receipt(connection: Connection, source: str, event_id: str, customer_id: str) -> None:
    """Remember a message that left no event."""
    connection.execute(insert(receipts).values(source=source, event_id=event_id, customer_id=customer_id))


def to_event(row: Row[*tuple[object, ...]]) -> Event:
    """A stored row as the event it was."""
    values = {name: getattr(row, name) for name in _FIELDS if name not in ("occurred_at", "eligible")}
    eligible = None if row.eligible is None else tuple(row.eligible.split("|"))
    return Event(occurred_at=from_us(row.occurred_us), eligible=eligible, **values)


# --- erasure --------------------------------------------------------------------------------------


def secret_of(connection: Connection, fresh: str) -> bytes:
    """The store's secret; `fresh` becomes it in a new store."""
    found = connection.scalar(select(meta.c.value).where(meta.c.key == "secret"))
    if found is None:
        connection.execute(insert(meta).values(key="secret", value=fresh))
    return bytes.fromhex(found or fresh)


def hash_of(secret: bytes, customer_id: str) -> str:
    """What a tombstone keeps instead of the id."""
    return hmac.new(secret, b"customer:" + customer_id.encode(), sha256).hexdigest()


def suppressed(connection: Connection, hashes: Iterable[str]) -> set[str]:
    """Which of these hashes have a tombstone."""
    return set(connection.scalars(_SUPPRESSED, {"many": list(hashes)}))


def erase(connection: Connection, who: Known, hashes: Sequence[str], now_us: int) -> dict[str, int]:
    """Delete every row of a customer, leave tombstones, and count what went."""
    counted = {}
    for table in (events, decisions):
        rows = connection.execute(delete(table).where(table.c.customer_id.in_(who.identities)))
        counted[table.name] = rows.rowcount
    mine = select(idempotency_customers.c.route, idempotency_customers.c.key).where(
        idempotency_customers.c.customer_id.in_(who.identities)
    )
    connection.execute(delete(idempotency).where(tuple_(idempotency.c.route, idempotency.c.key).in_(mine)))
    connection.execute(delete(customers).where(customers.c.customer_id.in_(who.identities)))
    there = suppressed(connection, hashes)
    for fingerprint in hashes:
        if fingerprint not in there:
            connection.execute(insert(suppressions).values(customer_hash=fingerprint, created_us=now_us))
    return counted


def lift(connection: Connection, fingerprint: str) -> None:
    """Remove a tombstone: the customer came back and said so."""
    connection.execute(delete(suppressions).where(suppressions.c.customer_hash == fingerprint))
