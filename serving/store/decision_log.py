"""The record of decisions: who was told what, with which probability, from which state."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, fields
from typing import Final, Literal

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from serving.contract.words import Mode
from serving.store.clock import from_us, to_us
from serving.store.ledger import Known
from serving.store.tables import decisions

Status = Literal["none", "sent", "reserved", "rejected", "failed"]
RESERVED: Final = "reserved"
"""Status of a deferred contact that waits for its activation."""

_NEW = insert(decisions)
_OPEN = select(decisions).where(
    decisions.c.customer_id.in_(bindparam("many", expanding=True)),
    decisions.c.expires_us > bindparam("moment"),
)
_RESERVED = _OPEN.where(decisions.c.status == RESERVED)
_RESERVED_BEFORE = _OPEN.where(
    decisions.c.deferred,
    decisions.c.seq < bindparam("before"),
    or_(decisions.c.settled_seq >= bindparam("before"), decisions.c.status == RESERVED),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One logged decision. `status`: none (wait), sent, reserved, rejected or failed."""

    decision_id: str
    seq: int
    customer_id: str
    cluster: str
    decided_at: dt.datetime
    expires_at: dt.datetime
    mode: Mode
    policy_name: str
    policy_version: str
    policy_sha256: str
    action: str
    propensity: float
    u: float
    eligible: tuple[str, ...]
    state: dict[str, int]
    observation: dict[str, float]
    request: dict[str, object]
    answer: dict[str, object]
    deferred: bool
    status: Status
    settled_seq: int | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """(touchpoint, channel), empty for wait."""
        touchpoint, _, channel = self.action.partition(":")
        return (touchpoint, channel) if channel else ("", "")


def write(connection: Connection, record: Record) -> None:
    """Store a decision."""
    row = {name: getattr(record, name) for name in _PLAIN}
    row |= {name: json.dumps(getattr(record, name)) for name in _JSON}
    row |= {"decided_us": to_us(record.decided_at), "expires_us": to_us(record.expires_at)}
    connection.execute(_NEW, row | {"eligible": "|".join(record.eligible)})


def read(connection: Connection, decision_id: str) -> Record | None:
    """A decision by its id."""
    row = connection.execute(select(decisions).where(decisions.c.decision_id == decision_id)).one_or_none()
    return None if row is None else _record(row)


def of_customer(connection: Connection, who: Known) -> list[Record]:
    """Every decision about a customer, in the order made."""
    query = select(decisions).where(decisions.c.customer_id.in_(who.identities)).order_by(decisions.c.seq)
    return [_record(row) for row in connection.execute(query)]


def reserved(connection: Connection, who: Known, moment: dt.datetime, seq: int | None = None) -> list[Record]:
    """Deferred contacts still open at a moment, as known when `seq` was drawn (None: now)."""
    query = _RESERVED if seq is None else _RESERVED_BEFORE
    found = {"many": who.identities, "moment": to_us(moment), "before": seq}
    return [_record(row) for row in connection.execute(query, found)]


def settle(connection: Connection, decision_id: str, status: str, seq: int) -> None:
    """A decision's activation became known."""
    connection.execute(
        update(decisions).where(decisions.c.decision_id == decision_id).values(status=status, settled_seq=seq)
    )


_JSON = ("state", "observation", "request", "answer")
_PLAIN = tuple(
    field.name
    for field in fields(Record)
    if field.name not in (*_JSON, "decided_at", "expires_at", "eligible")
)


def _record(row: Row[*tuple[object, ...]]) -> Record:
    return Record(
        decided_at=from_us(row.decided_us),
        expires_at=from_us(row.expires_us),
        eligible=tuple(row.eligible.split("|")),
        **{name: getattr(row, name) for name in _PLAIN},
        **{name: json.loads(getattr(row, name)) for name in _JSON},
    )
