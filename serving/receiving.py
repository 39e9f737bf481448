"""Incoming messages into the store: each at most once, all of a request or none.

A delivery report of one of our own decisions is that decision's contact, not a second one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from envs.errors import JourneyError
from serving import decision_log, ledger
from serving.activation import settle
from serving.clock import to_us
from serving.decision_log import RESERVED
from serving.event_contract import EventAnswer, EventsAnswer, Incoming
from serving.intake import Arrival, understand
from serving.policies import Held
from serving.problems import InvalidError, ProblemItem
from serving.store import Store

Status = Literal["accepted", "duplicate", "ignored", "suppressed"]


def interpret(held: Held, messages: Sequence[Incoming], received: dt.datetime) -> list[Arrival]:
    """What the messages mean; raises `InvalidError` with every message that cannot be used."""
    arrivals, wrong = [], []
    for index, message in enumerate(messages):
        try:
            arrival = understand(message, received)
            if arrival.event is not None:
                held.fold.numbers(arrival.event)
            arrivals.append(arrival)
        except JourneyError as error:
            wrong.append(ProblemItem(pointer=f"/{index}", detail=str(error)))
    if wrong:
        raise InvalidError(wrong)
    return arrivals


def receive(
    store: Store, connection: Connection, secret: bytes, arrivals: Sequence[Arrival], received: dt.datetime
) -> EventsAnswer:
    """Store what is new. A command."""
    seen = ledger.already_received(connection, [(a.source, a.event_id) for a in arrivals])
    results: list[EventAnswer] = []
    for arrival in arrivals:
        key = (arrival.source, arrival.event_id)
        status: Status = "duplicate" if key in seen else _take(store, connection, secret, arrival, received)
        seen.add(key)
        results.append(EventAnswer(event_id=arrival.event_id, source=arrival.source, status=status))
    counts = {name: sum(r.status == name for r in results) for name in Status.__args__}  # type: ignore[attr-defined]
    return EventsAnswer(results=results, **counts)


def _take(
    store: Store, connection: Connection, secret: bytes, arrival: Arrival, received: dt.datetime
) -> Status:
    customer = ledger.root_of(connection, arrival.customer_id)
    involved = [arrival.customer_id, customer, *([arrival.alias] if arrival.alias else [])]
    if ledger.suppressed(connection, [ledger.hash_of(secret, name) for name in involved]):
        return "suppressed"
    now_us = to_us(received)
    if arrival.event is not None:
        return _take_event(store, connection, arrival, received)
    if arrival.attributes is None and arrival.alias is None:
        return "ignored"
    ledger.ensure(connection, customer, now_us)
    if arrival.attributes is not None:
        known = ledger.attributes_of(connection, customer)
        ledger.put_attributes(connection, customer, known | arrival.attributes)
    if arrival.alias is not None:
        ledger.merge_identities(connection, arrival.alias, customer, store.next_seq(), now_us)
    ledger.receipt(connection, arrival.source, arrival.event_id, customer)
    return "accepted"


def _take_event(store: Store, connection: Connection, arrival: Arrival, received: dt.datetime) -> Status:
    event = arrival.event
    if event is None:
        return "ignored"
    if event.kind == "contact" and event.decision_id:
        record = decision_log.read(connection, event.decision_id)
        ours = record is not None and record.status in (RESERVED, "sent")
        if record is not None and ours and record.pair == (event.touchpoint or record.pair[0], event.channel):
            if record.settled_seq is None:
                settle(store, connection, record, "sent", event.occurred_at, delivered=event)
            if record.status == "sent":  # its contact is in the timeline already
                ledger.receipt(connection, arrival.source, arrival.event_id, record.customer_id)
            return "accepted"
    ledger.ensure(connection, event.customer_id, to_us(received))
    ledger.append(connection, event, store.next_seq(), to_us(received))
    return "accepted"
