"""The record of decisions: who was told what, with which probability, from which state."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from serving.clock import from_us, to_us
from serving.ledger import Known
from serving.tables import decisions

RESERVED = "reserved"
"""Status of a deferred contact that waits for its activation."""


@dataclass(frozen=True, slots=True)
class Record:
    """One logged decision. `status`: none (wait), sent, reserved, rejected or failed."""

    decision_id: str
    seq: int
    customer_id: str
    cluster: str
    decided_at: dt.datetime
    expires_at: dt.datetime
    mode: str
    policy_name: str
    policy_version: str
    policy_sha256: str
    action: str
    propensity: float
    u: float
    eligible: tuple[str, ...]
    state: dict[str, int]
    observation: dict[str, float]
    request: dict[str, Any]
    answer: dict[str, Any]
    deferred: bool
    status: str
    settled_seq: int | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """(touchpoint, channel), empty for wait."""
        touchpoint, _, channel = self.action.partition(":")
        return (touchpoint, channel) if channel else ("", "")


def write(connection: Connection, record: Record) -> None:
    """Store a decision."""
    connection.execute(
        insert(decisions).values(
            decision_id=record.decision_id,
            seq=record.seq,
            customer_id=record.customer_id,
            cluster=record.cluster,
            decided_us=to_us(record.decided_at),
            expires_us=to_us(record.expires_at),
            mode=record.mode,
            policy_name=record.policy_name,
            policy_version=record.policy_version,
            policy_sha256=record.policy_sha256,
            action=record.action,
            propensity=record.propensity,
            u=record.u,
            eligible="|".join(record.eligible),
            state=json.dumps(record.state),
            observation=json.dumps(record.observation),
            request=json.dumps(record.request),
            answer=json.dumps(record.answer),
            deferred=record.deferred,
            status=record.status,
        )
    )


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
    query = select(decisions).where(
        decisions.c.customer_id.in_(who.identities), decisions.c.expires_us > to_us(moment)
    )
    if seq is None:
        query = query.where(decisions.c.status == RESERVED)
    else:
        unsettled = or_(decisions.c.settled_seq >= seq, decisions.c.status == RESERVED)
        query = query.where(decisions.c.deferred, decisions.c.seq < seq, unsettled)
    return [_record(row) for row in connection.execute(query)]


def settle(connection: Connection, decision_id: str, status: str, seq: int) -> None:
    """A decision's activation became known."""
    connection.execute(
        update(decisions).where(decisions.c.decision_id == decision_id).values(status=status, settled_seq=seq)
    )


def _record(row: Row[Any]) -> Record:
    return Record(
        decision_id=row.decision_id,
        seq=row.seq,
        customer_id=row.customer_id,
        cluster=row.cluster,
        decided_at=from_us(row.decided_us),
        expires_at=from_us(row.expires_us),
        mode=row.mode,
        policy_name=row.policy_name,
        policy_version=row.policy_version,
        policy_sha256=row.policy_sha256,
        action=row.action,
        propensity=row.propensity,
        u=row.u,
        eligible=tuple(row.eligible.split("|")),
        state=json.loads(row.state),
        observation=json.loads(row.observation),
        request=json.loads(row.request),
        answer=json.loads(row.answer),
        deferred=row.deferred,
        status=row.status,
        settled_seq=row.settled_seq,
    )
