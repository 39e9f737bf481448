"""Incoming messages into the store: each at most once, all of a request or none.

A delivery report of one of our own decisions is that decision's contact, not a second one.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from envs.errors import JourneyError
from envs.scenario.events import Event
from serving.contract.events import EventAnswer, EventsAnswer, Incoming
from serving.contract.intake import Arrival, understand
from serving.decide.activation import settle
from serving.decide.policies import Held
from serving.problems import InvalidError, ProblemItem
from serving.store import decision_log, ledger
from serving.store.clock import to_us
from serving.store.decision_log import RESERVED
from serving.store.store import Store

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
    intake = _Intake(store, connection, secret, received)
    results: list[EventAnswer] = []
    for arrival in arrivals:
        key = (arrival.source, arrival.event_id)
        status: Status = "duplicate" if key in seen else intake.take(arrival)
        seen.add(key)
        results.append(EventAnswer(event_id=arrival.event_id, source=arrival.source, status=status))
    intake.flush()
    counts = Counter(result.status for result in results)
    return EventsAnswer(
        results=results,
        accepted=counts["accepted"],
        duplicate=counts["duplicate"],
        ignored=counts["ignored"],
        suppressed=counts["suppressed"],
    )


class _Intake:
    """One request's messages; each customer is looked up once, plain events are stored together."""

    def __init__(self, store: Store, connection: Connection, secret: bytes, received: dt.datetime) -> None:
        self._store, self._connection, self._secret = store, connection, secret
        self._now_us = to_us(received)
        self._erased: dict[str, bool] = {}
        self._ensured: set[str] = set()
        self._plain: list[tuple[Event, int]] = []

    def take(self, arrival: Arrival) -> Status:
        """What becomes of one message that has not been seen before."""
        if self._is_erased(arrival.customer_id) or (arrival.alias and self._is_erased(arrival.alias)):
            return "suppressed"
        if arrival.event is not None:
            return self._take_event(arrival, arrival.event)
        if arrival.attributes is None and arrival.alias is None:
            return "ignored"
        connection, customer = self._connection, ledger.root_of(self._connection, arrival.customer_id)
        self._ensure(customer)
        if arrival.attributes is not None:
            known = ledger.attributes_of(connection, customer)
            ledger.put_attributes(connection, customer, known | arrival.attributes)
        if arrival.alias is not None:
            seq = self._store.next_seq()
            ledger.merge_identities(connection, arrival.alias, customer, seq, self._now_us)
            self._erased.clear()
        ledger.receipt(connection, arrival.source, arrival.event_id, customer)
        return "accepted"

    def flush(self) -> None:
        """Store the events held back."""
        ledger.append_all(self._connection, self._plain, self._now_us)
        self._plain = []

    def _take_event(self, arrival: Arrival, event: Event) -> Status:
        if event.kind == "contact" and event.decision_id and self._is_delivery(arrival, event):
            return "accepted"
        self._ensure(event.customer_id)
        self._plain.append((event, self._store.next_seq()))
        return "accepted"

    def _is_delivery(self, arrival: Arrival, event: Event) -> bool:
        """Whether this reports a contact that one of our decisions has led to."""
        record = decision_log.read(self._connection, event.decision_id or "")
        if record is None or record.status not in (RESERVED, "sent"):
            return False
        if record.pair != (event.touchpoint or record.pair[0], event.channel):
            return False
        if record.settled_seq is None:
            moment = event.occurred_at
            settle(self._store, self._connection, record, "sent", moment, delivered=event)
        if record.status == "sent":  # its contact is in the timeline already
            ledger.receipt(self._connection, arrival.source, arrival.event_id, record.customer_id)
        return True

    def _is_erased(self, customer_id: str) -> bool:
        if customer_id not in self._erased:
            names = {customer_id, ledger.root_of(self._connection, customer_id)}
            hashes = [ledger.hash_of(self._secret, name) for name in names]
            self._erased[customer_id] = bool(ledger.suppressed(self._connection, hashes))
        return self._erased[customer_id]

    def _ensure(self, customer_id: str) -> None:
        if customer_id not in self._ensured:
            ledger.ensure(self._connection, customer_id, self._now_us)
            self._ensured.add(customer_id)
