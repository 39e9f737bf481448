"""What became of a decided contact: sent, or released because it never went out.

The contact is in the timeline at once unless activation was deferred; a failure takes it
back. Earlier decisions keep what they saw (events are retracted, never rewritten).
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection, and_

from envs.errors import UserError
from envs.scenario.events import Event
from serving.contract.decisions import Activation, ActivationRequest
from serving.decide.outcome import contact_event, decision_event
from serving.errors import ConflictError, NotFoundError
from serving.store import decision_log, ledger
from serving.store.clock import now, to_us
from serving.store.decision_log import RESERVED, Record
from serving.store.store import Store
from serving.store.tables import events


def report(store: Store, connection: Connection, decision_id: str, request: ActivationRequest) -> Activation:
    """Record an outcome; reporting the same one again changes nothing. A command."""
    record = decision_log.read(connection, decision_id)
    if record is None:
        raise NotFoundError("no such decision", got=decision_id)
    if record.status == "none":
        raise ConflictError(
            "nothing to activate", got=record.action if record.mode == "live" else record.mode
        )
    moment = request.occurred_at or max(now(), record.decided_at)
    if moment < record.decided_at:
        raise UserError("activated before it was decided", got=moment.isoformat(), where="occurred_at")
    settled = record.settled_seq is not None
    if settled and record.status != request.outcome:
        raise ConflictError("activation was already reported", got=request.outcome, expected=record.status)
    if not settled:
        settle(store, connection, record, request.outcome, moment)
    return Activation(decision_id=decision_id, outcome=request.outcome, released=request.outcome != "sent")


def settle(
    store: Store,
    connection: Connection,
    record: Record,
    outcome: str,
    moment: dt.datetime,
    delivered: Event | None = None,
) -> None:
    """End a reservation, or confirm or take back a presumed contact; once a decision.

    `delivered` is a channel's own report of the contact, kept in place of ours.
    """
    seq, received = store.next_seq(), to_us(now())
    own = and_(events.c.source == ledger.OWN_SOURCE, events.c.decision_id == record.decision_id)
    if outcome == "sent":
        if record.status == RESERVED:
            contact = delivered or contact_event(record, moment)
            ledger.append(connection, contact, store.next_seq(), received)
    else:
        ledger.retract(connection, and_(own, events.c.kind == "contact"), seq)
    if record.deferred or outcome != "sent":
        ledger.retract(connection, and_(own, events.c.kind == "decision"), seq)
        again = decision_event(record, activated=outcome == "sent")
        ledger.append(connection, again, store.next_seq(), received)
    decision_log.settle(connection, record.decision_id, outcome, seq)
