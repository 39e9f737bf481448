"""Events as they arrive: our own form, CloudEvents 1.0 and Segment, and the answer to them.

Says what a message may look like; what it means is `intake.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StrictBool, Tag

from serving.contract.words import (
    ActionKey,
    Currency,
    CustomerId,
    EventId,
    EventKind,
    Label,
    Model,
    Moment,
    Number,
    Probability,
    Text,
)

MOST_AT_ONCE = 5000

_EVENT: dict[str, Any] = {
    "event_id": "shop-77120",
    "source": "shop",
    "customer_id": "c-1042",
    "occurred_at": "2026-03-02T18:04:11Z",
    "kind": "purchase",
    "value": 59.9,
    "currency": "EUR",
}
_CLOUDEVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-19",
    "source": "/mailer",
    "type": "journey.response",
    "time": "2026-03-02T10:15:00Z",
    "subject": "c-1042",
    "data": {"channel": "email"},
}
_SEGMENT: dict[str, Any] = {
    "type": "track",
    "messageId": "ajs-5c1",
    "userId": "c-1042",
    "event": "Order Completed",
    "timestamp": "2026-03-02T18:04:11Z",
    "properties": {"revenue": 59.9, "currency": "EUR"},
}


class EventFields(Model):
    """What may be said of an event beyond who, when and which; the event log's columns."""

    direction: Text | None = None
    channel: Text | None = None
    touchpoint: Text | None = None
    topic: Text | None = None
    outcome: Text | None = None
    value: Number | None = None
    currency: Currency | None = None
    case_id: Text | None = None
    decision_id: Text | None = None
    propensity: Probability | None = None
    eligible: Annotated[list[ActionKey], Field(max_length=500)] | None = None
    policy_version: Text | None = None
    activated: StrictBool | None = None
    agent_id: Text | None = None
    queue: Text | None = None


class TimelineItem(EventFields):
    """An event sent along with a request; it is used for that answer and not stored."""

    event_id: EventId = "request"
    occurred_at: Moment
    kind: EventKind


class JourneyEvent(EventFields):
    """One event of one customer; (source, event_id) identifies it for ever."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EVENT]})

    event_id: EventId
    source: EventId = "api"
    customer_id: CustomerId
    occurred_at: Moment
    kind: EventKind


def _version_1(value: str) -> str:
    if value != "1.0":
        raise ValueError("CloudEvents 1.0 is understood")
    return value


class CloudEvent(Model):
    """CloudEvents 1.0: `type` ends in the kind, `subject` is the customer, `data` the fields."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_CLOUDEVENT]})

    specversion: Annotated[Text, AfterValidator(_version_1)]
    id: EventId
    source: EventId
    type: Label
    subject: Text | None = None
    time: Moment | None = None  # default: when it was received
    datacontenttype: Text | None = None
    dataschema: Text | None = None
    data: dict[str, object] = {}


class _Segment(Model):
    model_config = ConfigDict(extra="allow")

    messageId: EventId  # noqa: N815 the field's name in Segment's specification
    userId: CustomerId | None = None  # noqa: N815
    anonymousId: CustomerId | None = None  # noqa: N815
    timestamp: Moment | None = None  # default: when it was received


class SegmentTrack(_Segment):
    """Segment `track`: something a customer did; events without a meaning here are ignored."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_SEGMENT]})

    type: Literal["track"]
    event: Label
    properties: dict[str, object] = {}


class SegmentIdentify(_Segment):
    """Segment `identify`: attributes of a customer."""

    type: Literal["identify"]
    traits: dict[str, object] = {}


class SegmentAlias(_Segment):
    """Segment `alias`: `previousId` is the same customer as `userId`."""

    type: Literal["alias"]
    previousId: CustomerId  # noqa: N815


def _form(value: object) -> str:
    fields = value if isinstance(value, dict) else vars(value) if isinstance(value, Model) else {}
    if fields.get("specversion") is not None:
        return "cloudevents"
    call = fields.get("type")
    segment = call in ("track", "identify", "alias") and fields.get("kind") is None
    return f"segment_{call}" if segment else "event"


Incoming = Annotated[
    Annotated[JourneyEvent, Tag("event")]
    | Annotated[CloudEvent, Tag("cloudevents")]
    | Annotated[SegmentTrack, Tag("segment_track")]
    | Annotated[SegmentIdentify, Tag("segment_identify")]
    | Annotated[SegmentAlias, Tag("segment_alias")],
    Discriminator(_form),
]
Incomings = Annotated[list[Incoming], Field(min_length=1, max_length=MOST_AT_ONCE)]


def _one_or_many(value: object) -> str:
    return "many" if isinstance(value, list) else "one"


EventPost = Annotated[
    Annotated[Incoming, Tag("one")] | Annotated[Incomings, Tag("many")], Discriminator(_one_or_many)
]
"""One event, or a list: stored together or not at all."""


class EventAnswer(Model):
    """What became of one message."""

    event_id: str
    source: str
    status: Literal["accepted", "duplicate", "ignored", "suppressed"]


class EventsAnswer(Model):
    """Counts, and one answer a message in the request's order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": 1,
                    "duplicate": 0,
                    "ignored": 0,
                    "suppressed": 0,
                    "results": [{"event_id": "shop-77120", "source": "shop", "status": "accepted"}],
                }
            ]
        }
    )

    accepted: int
    duplicate: int
    ignored: int
    suppressed: int
    results: list[EventAnswer]
