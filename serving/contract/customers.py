"""Answers about one customer: timeline, state, consent, export, erasure."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, StrictBool

from serving.contract.words import Attributes, Model, Moment, Number


class TimelineEvent(Model):
    """A stored event; the fields are the event log's."""

    event_id: str
    source: str
    customer_id: str
    occurred_at: Moment
    kind: str
    direction: str | None
    channel: str | None
    touchpoint: str | None
    topic: str | None
    outcome: str | None
    value: float | None
    currency: str | None
    case_id: str | None
    decision_id: str | None
    propensity: float | None
    eligible: list[str] | None
    policy_version: str | None
    activated: bool | None
    agent_id: str | None
    queue: str | None


_STORED: dict[str, Any] = dict.fromkeys(TimelineEvent.model_fields) | {
    "event_id": "shop-77120",
    "source": "shop",
    "customer_id": "c-1042",
    "occurred_at": "2026-03-02T18:04:11Z",
    "kind": "purchase",
    "value": 59.9,
    "currency": "EUR",
}


class TimelinePage(Model):
    """Events in time order; ask again with `next_cursor` for the rest."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"customer_id": "c-1042", "items": [_STORED], "next_cursor": None}]}
    )

    customer_id: str
    items: list[TimelineEvent]
    next_cursor: str | None


class Consent(Model):
    """Whether a customer may be contacted for marketing on a channel, and since when."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "c-1042",
                    "channel": "email",
                    "granted": True,
                    "since": "2026-01-12T08:00:00Z",
                    "source": "shop",
                }
            ]
        }
    )

    customer_id: str
    channel: str
    granted: bool
    since: Moment | None  # null: never stated, therefore denied
    source: str | None


class ConsentChange(Model):
    """A customer's wish, binding from the next request on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"granted": False}]})

    granted: StrictBool


class CustomerState(Model):
    """Where a customer stands: the state's components by name, and the observation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "c-1042",
                    "cluster": "loyal",
                    "as_of": "2026-03-03T09:00:00Z",
                    "local_date": "2026-03-03",
                    "components": {
                        "stage": "customer",
                        "engagement": 2,
                        "fatigue": 1,
                        "goodwill": 2,
                        "inbox": {"channel": "phone", "days_open": 1},
                        "consent": {"email": True, "sms": False},
                        "offer": None,
                        "open_contact": None,
                    },
                    "levels": {"stage": 2, "engagement": 2, "fatigue": 1},
                    "observation": {"stage": 2.0, "engagement": 2.0, "fatigue": 1.0},
                }
            ]
        }
    )

    customer_id: str
    cluster: str
    as_of: Moment
    local_date: str
    components: dict[str, object]
    levels: dict[str, int]
    observation: dict[str, Number]


class CustomerExport(Model):
    """Everything the service holds about a customer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "c-1042",
                    "identities": ["c-1042", "anon-7"],
                    "attributes": {"tenure_days": 380},
                    "clusters": {"9f2c" + 60 * "0": "loyal"},
                    "events": [_STORED],
                    "decisions": [],
                }
            ]
        }
    )

    customer_id: str
    identities: list[str]
    attributes: Attributes
    clusters: dict[str, str]
    events: list[TimelineEvent]
    decisions: list[dict[str, object]]


class Erased(Model):
    """What was deleted; a keyed hash of the id stays, so that nothing comes back by accident."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"customer_id": "c-1042", "erased": True, "events": 12, "decisions": 3}]
        }
    )

    customer_id: str
    erased: bool
    events: int
    decisions: int
