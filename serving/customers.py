"""One customer's record: timeline, state, consent, export, erasure. Reading and commands."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from dataclasses import fields

from sqlalchemy import ColumnElement, Connection, and_, select

from envs.errors import UserError
from envs.scenario.assignment import assign_cluster
from envs.scenario.events import Event
from envs.timeline.customer import order
from envs.timeline.description import describe
from serving.contract.customers import (
    Consent,
    CustomerExport,
    CustomerState,
    Erased,
    TimelineEvent,
    TimelinePage,
)
from serving.decide.policies import Held
from serving.decide.standing import at, readable
from serving.errors import NotFoundError
from serving.store import decision_log, ledger
from serving.store.clock import now, to_us
from serving.store.store import Store
from serving.store.tables import assignments, events


def timeline(connection: Connection, customer_id: str, cursor: str | None, limit: int) -> TimelinePage:
    """One page of what happened, in time order."""
    who = _find(connection, customer_id)
    rows = ledger.page(connection, who, None if cursor is None else _open(cursor), limit + 1)
    page, more = rows[:limit], len(rows) > limit
    return TimelinePage(
        customer_id=customer_id,
        items=[shown(event) for event, _ in page],
        next_cursor=_close(page[-1][1]) if more else None,
    )


def state(connection: Connection, held: Held, customer_id: str, as_of: dt.datetime | None) -> CustomerState:
    """Where the customer stands, by name."""
    who, moment = _find(connection, customer_id), as_of or now()
    cluster = ledger.assigned_cluster(connection, who.customer_id, held.sha256) or assign_cluster(
        held.bundle.scenario, ledger.attributes_of(connection, who.customer_id)
    )
    fold = held.fold_of(cluster)
    known, _ = readable(fold, ledger.timeline(connection, who))
    live = at(fold, [event for event in known if event.occurred_at <= moment], moment)
    encoding = fold.journey.encoding
    return CustomerState(
        customer_id=customer_id,
        cluster=cluster,
        as_of=moment,
        local_date=live.date.isoformat(),
        components=describe(held.journey(cluster), live.state),
        levels={name: int(level) for name, level in live.state._asdict().items()},
        observation=dict(zip(encoding.names, fold.observe(live).tolist(), strict=True)),
    )


def consent(connection: Connection, held: Held, customer_id: str, channel: str) -> Consent:
    """The consent in force on a channel; never stated means denied."""
    _check_channel(held, channel)
    known = ledger.timeline(connection, _find(connection, customer_id))
    stated = [e for e in known if e.kind in ("opt_in", "opt_out") and e.channel == channel]
    if not stated:
        return Consent(customer_id=customer_id, channel=channel, granted=False, since=None, source=None)
    last = max(stated, key=order)
    return Consent(
        customer_id=customer_id,
        channel=channel,
        granted=last.kind == "opt_in",
        since=last.occurred_at,
        source=last.source,
    )


def set_consent(
    store: Store,
    connection: Connection,
    held: Held,
    secret: bytes,
    customer_id: str,
    channel: str,
    granted: bool,
) -> Consent:
    """Record a wish as an event, from now on in force; a wish to be contacted ends an erasure."""
    _check_channel(held, channel)
    customer, moment = ledger.root_of(connection, customer_id), now()
    tombstone = ledger.hash_of(secret, customer)
    if ledger.suppressed(connection, [tombstone]):
        if not granted:
            return Consent(customer_id=customer_id, channel=channel, granted=False, since=None, source=None)
        ledger.lift(connection, tombstone)
    ledger.ensure(connection, customer, to_us(moment))
    seq = store.next_seq()
    ledger.retract(connection, _dated_later(ledger.known(connection, customer), channel, moment), seq)
    event = Event(
        event_id=f"consent-{seq}",
        source=ledger.OWN_SOURCE,
        customer_id=customer,
        occurred_at=moment,
        kind="opt_in" if granted else "opt_out",
        channel=channel,
    )
    ledger.append(connection, event, seq, to_us(moment))
    return consent(connection, held, customer_id, channel)


def export(connection: Connection, customer_id: str) -> CustomerExport:
    """Everything held about a customer."""
    who = _find(connection, customer_id)
    frozen = select(assignments).where(assignments.c.customer_id.in_(who.identities))
    return CustomerExport(
        customer_id=customer_id,
        identities=list(who.identities),
        attributes=ledger.attributes_of(connection, who.customer_id),
        clusters={row.bundle_sha256: row.cluster for row in connection.execute(frozen)},
        events=[shown(event) for event in sorted(ledger.timeline(connection, who), key=order)],
        decisions=[logged(record) for record in decision_log.of_customer(connection, who)],
    )


def erase(connection: Connection, secret: bytes, customer_id: str) -> Erased:
    """Delete a customer; what remains is a keyed hash that keeps late events out. A command."""
    who = _find(connection, customer_id)
    hashes = [ledger.hash_of(secret, identity) for identity in who.identities]
    counted = ledger.erase(connection, who, hashes, to_us(now()))
    return Erased(
        customer_id=customer_id, erased=True, events=counted["events"], decisions=counted["decisions"]
    )


def shown(event: Event) -> TimelineEvent:
    """A stored event as the contract shows it."""
    values = {field.name: getattr(event, field.name) for field in fields(Event)}
    values["eligible"] = None if event.eligible is None else list(event.eligible)
    return TimelineEvent(**values)


def logged(record: decision_log.Record) -> dict[str, object]:
    """A decision as an export shows it."""
    return {
        "decision": record.answer,
        "request": record.request,
        "state": record.state,
        "observation": record.observation,
        "u": record.u,
        "status": record.status,
    }


def _find(connection: Connection, customer_id: str) -> ledger.Known:
    who = ledger.find(connection, customer_id)
    if who is None:
        raise NotFoundError("no such customer", got=customer_id)
    return who


def _dated_later(who: ledger.Known, channel: str, moment: dt.datetime) -> ColumnElement[bool]:
    """A wish stated now overrules consent dated after it, as clocks that disagree write it."""
    return and_(
        events.c.customer_id.in_(who.identities),
        events.c.kind.in_(("opt_in", "opt_out")),
        events.c.channel == channel,
        events.c.occurred_us >= to_us(moment),
    )


def _check_channel(held: Held, channel: str) -> None:
    known = [c.name for c in held.bundle.scenario.channels]
    if channel not in known:
        raise NotFoundError("no such channel", got=channel, expected=", ".join(known))


def _close(place: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(f"{place[0]}.{place[1]}".encode()).decode()


def _open(cursor: str) -> tuple[int, int]:
    try:
        occurred, seq = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii").split(".")
        place = int(occurred), int(seq)
    except (binascii.Error, UnicodeError, ValueError):
        raise UserError("not a cursor of this service", where="cursor", hint="use next_cursor") from None
    if not all(abs(number) < 2**63 for number in place):
        raise UserError("not a cursor of this service", where="cursor", hint="use next_cursor")
    return place
