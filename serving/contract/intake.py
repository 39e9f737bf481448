"""What an incoming message means: an event, attributes, the joining of two identities, or nothing.

CloudEvents and Segment are turned into the event log's form here, and nowhere else. Knows
no store; whether names exist in the scenario is checked by the fold.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from envs.errors import UserError
from envs.scenario.events import KINDS, Event
from serving.contract.events import (
    CloudEvent,
    EventFields,
    Incoming,
    JourneyEvent,
    SegmentAlias,
    SegmentIdentify,
    SegmentTrack,
    TimelineItem,
)
from serving.contract.words import Attributes

SEGMENT = "segment"
_MEANINGS: dict[str, tuple[str, str | None]] = {  # Segment's e-commerce and messaging specifications
    "order_completed": ("purchase", None),
    "email_delivered": ("contact", "email"),
    "email_link_clicked": ("response", "email"),
    "unsubscribed": ("opt_out", "email"),
    "push_notification_received": ("contact", "push"),
    "push_notification_tapped": ("response", "push"),
}
_VALUES = ("value", "revenue", "total")
_ATTRIBUTES: TypeAdapter[Attributes] = TypeAdapter(Attributes)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message; exactly one of event, attributes and alias is set, or none: it means nothing."""

    source: str
    event_id: str
    customer_id: str
    event: Event | None = None
    attributes: Attributes | None = None
    alias: str | None = None


def understand(message: Incoming, received: dt.datetime) -> Arrival:
    """A checked message as what it means; raises `UserError` where it lacks what its kind needs."""
    if isinstance(message, JourneyEvent):
        return _arrival(message.customer_id, message)
    if isinstance(message, CloudEvent):
        return _cloud_event(message, received)
    if isinstance(message, SegmentTrack):
        return _track(message, received)
    customer = _segment_customer(message)
    if isinstance(message, SegmentAlias):
        return Arrival(SEGMENT, message.messageId, customer, alias=message.previousId)
    return Arrival(SEGMENT, message.messageId, customer, attributes=_usable(message.traits))


def requested(item: TimelineItem, customer_id: str) -> Event:
    """An item of a request's timeline as an event."""
    return _event(item, item.event_id, "request", customer_id, item.occurred_at, item.kind)


def _cloud_event(message: CloudEvent, received: dt.datetime) -> Arrival:
    kind = message.type.rsplit(".", 1)[-1]
    if kind not in KINDS:
        raise UserError(
            "type", where=message.id, got=message.type, expected=f"a last part of {', '.join(KINDS)}"
        )
    return _checked(
        {
            "customer_id": message.subject,
            **message.data,
            "event_id": message.id,
            "source": message.source,
            "kind": kind,
            "occurred_at": message.time or received,
        },
        message.id,
    )


def _track(message: SegmentTrack, received: dt.datetime) -> Arrival:
    name = re.sub(r"[^a-z0-9]+", "_", message.event.lower()).strip("_")
    kind, channel = (name, None) if name in KINDS else _MEANINGS.get(name, ("", None))
    customer, properties = _segment_customer(message), message.properties
    if not kind:
        return Arrival(SEGMENT, message.messageId, customer)
    fields: dict[str, object] = {"channel": channel} if channel else {}
    fields |= {key: properties[key] for key in EventFields.model_fields if properties.get(key) is not None}
    worth = next((properties[key] for key in _VALUES if properties.get(key) is not None), None)
    return _checked(
        {
            **fields,
            "value": worth,
            "customer_id": customer,
            "event_id": message.messageId,
            "source": SEGMENT,
            "kind": kind,
            "occurred_at": message.timestamp or received,
        },
        message.messageId,
    )


def _segment_customer(message: SegmentTrack | SegmentIdentify | SegmentAlias) -> str:
    customer = message.userId or message.anonymousId
    if customer is None:
        raise UserError("nobody named", where=message.messageId, expected="userId or anonymousId")
    return customer


def _usable(traits: dict[str, object]) -> Attributes:
    """Traits that can be attributes; nested ones (an address, a company) cannot place anybody."""
    usable: Attributes = {}
    for key, value in traits.items():
        try:
            usable |= _ATTRIBUTES.validate_python({key: value})
        except ValidationError:
            continue
    return usable


def _checked(fields: dict[str, object], where: str) -> Arrival:
    try:
        message = JourneyEvent.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{place}: {first['msg']}", where=where) from None
    return _arrival(message.customer_id, message)


def _arrival(customer_id: str, message: JourneyEvent) -> Arrival:
    event = _event(message, message.event_id, message.source, customer_id, message.occurred_at, message.kind)
    return Arrival(message.source, message.event_id, customer_id, event=event)


def _event(
    fields: EventFields, event_id: str, source: str, customer_id: str, occurred_at: dt.datetime, kind: str
) -> Event:
    values = {name: getattr(fields, name) for name in EventFields.model_fields}
    values["eligible"] = None if fields.eligible is None else tuple(fields.eligible)
    return Event(
        event_id=event_id,
        source=source,
        customer_id=customer_id,
        occurred_at=occurred_at,
        kind=kind,
        **values,
    )
