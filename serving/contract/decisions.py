"""Requests and answers about decisions, exactly as in design §9."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool

from serving.contract.events import TimelineItem
from serving.contract.words import (
    Attributes,
    CustomerId,
    Label,
    Mode,
    Model,
    Moment,
    Number,
    Probability,
    Purpose,
    Rule,
)

MOST_IN_A_BATCH = 1000
MOST_IN_A_TIMELINE = 5000

_POLICY: dict[str, Any] = {"name": "omnichannel_retail", "version": "1", "sha256": "9f2c" + 60 * "0"}
_DECISION: dict[str, Any] = {
    "decision_id": "d_6f1d2c9a4be84f0c9a31b7e2",
    "customer_id": "c-1042",
    "cluster": "loyal",
    "policy": _POLICY,
    "mode": "live",
    "next_step": {"action": "contact", "touchpoint": "offer", "channel": "email"},
    "propensity": 0.975,
    "alternatives": [
        {"touchpoint": "offer", "channel": "email", "value": 41.9, "propensity": 0.975},
        {"touchpoint": None, "channel": None, "value": 41.6, "propensity": 0.025},
    ],
    "blocked": [{"touchpoint": "offer", "channel": "sms", "rule": "consent"}],
    "reason": {
        "summary": "offer:email has the highest value of 2 legal steps.",
        "gap_to_next": 0.3,
        "runner_up": {"action": "wait"},
    },
    "not_before": None,
    "expires_at": "2026-03-03T23:00:00Z",
    "decided_at": "2026-03-03T09:00:00Z",
    "degraded": False,
    "advisory": False,
}


class DecisionRequest(Model):
    """Who asks for whom, when, and what the caller knows and the service cannot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "c-1042",
                    "attributes": {"tenure_days": 380, "orders": 7},
                    "channels": ["email", "push"],
                    "exclude": ["renew", "offer:sms"],
                    "purpose": "marketing",
                    "defer_activation": False,
                }
            ]
        }
    )

    customer_id: CustomerId | None = None
    attributes: Attributes | None = None
    timeline: Annotated[list[TimelineItem], Field(max_length=MOST_IN_A_TIMELINE)] | None = None
    as_of: Moment | None = None
    exclude: Annotated[list[Label], Field(max_length=500)] = []
    channels: Annotated[list[Label], Field(max_length=50)] | None = None
    purpose: Purpose = "marketing"
    policy: Label | None = None
    defer_activation: StrictBool = False


class DecisionBatch(Model):
    """Up to 1,000 requests; each is checked and answered by itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"decisions": [{"customer_id": "c-1"}, {"customer_id": "c-2"}]}]}
    )

    decisions: Annotated[list[dict[str, object]], Field(min_length=1, max_length=MOST_IN_A_BATCH)]


class PolicyRef(Model):
    """Which policy answered."""

    name: str
    version: str
    sha256: str


class Wait(Model):
    """Contact nobody now."""

    action: Literal["wait"] = "wait"


class Contact(Model):
    """Say this, there."""

    action: Literal["contact"] = "contact"
    touchpoint: str
    channel: str


NextStep = Annotated[Wait | Contact, Field(discriminator="action")]


class Alternative(Model):
    """A legal step; touchpoint and channel are null for wait."""

    touchpoint: str | None
    channel: str | None
    value: Number
    propensity: Probability


class Blocked(Model):
    """A step that is not legal, and the first rule that forbids it."""

    touchpoint: str
    channel: str
    rule: Rule


class Reason(Model):
    """Why: the gap is between the chosen step's value and the best other legal one's.

    Where types are hidden it may be negative: values follow a plan that learns nothing from
    tomorrow on, and the policy may ask in order to learn.
    """

    summary: str
    gap_to_next: Number | None
    runner_up: NextStep | None
    # by hidden type; left out where the cluster has none
    belief: dict[str, Probability] | None = Field(default=None, exclude_if=lambda belief: belief is None)


class Decision(Model):
    """The next step of one customer, and everything needed to trust and to evaluate it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DECISION]})

    decision_id: str | None
    customer_id: str | None
    cluster: str
    policy: PolicyRef
    mode: Mode
    next_step: NextStep
    propensity: Probability
    alternatives: list[Alternative]
    blocked: list[Blocked]
    reason: Reason
    not_before: Moment | None
    expires_at: Moment
    decided_at: Moment
    degraded: bool
    advisory: bool


class BatchItem(Model):
    """The answer to one request of a batch: a decision, or the problem with it."""

    status: int
    decision: Decision | None = None
    problem: dict[str, object] | None = None


class BatchAnswer(Model):
    """One answer an item, in the request's order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [
                        {"status": 200, "decision": _DECISION, "problem": None},
                        {
                            "status": 422,
                            "decision": None,
                            "problem": {
                                "type": "urn:journey:problem:invalid-request",
                                "title": "The request does not fit the contract",
                                "status": 422,
                                "detail": "purpose: Input should be 'marketing' or 'service'",
                            },
                        },
                    ]
                }
            ]
        }
    )

    results: list[BatchItem]


class ActivationRequest(Model):
    """What became of a decided contact."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"outcome": "sent"}]})

    outcome: Literal["sent", "rejected", "failed"]
    occurred_at: Moment | None = None  # default: now


class Activation(Model):
    """The decision's status after the report; `released`: the reserved contact is free again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"decision_id": "d_6f1d2c9a4be84f0c9a31b7e2", "outcome": "sent", "released": False}]
        }
    )

    decision_id: str
    outcome: Literal["sent", "rejected", "failed"]
    released: bool


class LoggedDecision(Model):
    """A stored decision: the answer given, and what it was made from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "decision": _DECISION,
                    "status": "sent",
                    "eligible": ["wait", "offer:email"],
                    "state": {"stage": 1, "engagement": 0},
                    "observation": {"stage": 1.0, "engagement": 0.0},
                    "u": 0.4071,
                    "request": {"customer_id": "c-1042"},
                }
            ]
        }
    )

    decision: Decision
    status: Literal["none", "sent", "reserved", "expired", "rejected", "failed"]
    eligible: list[str]
    state: dict[str, int]
    observation: dict[str, Number]
    u: Probability
    request: dict[str, object]


class Replayed(Model):
    """The parts of a decision that its inputs determine."""

    cluster: str
    state: dict[str, int]
    observation: dict[str, Number]
    eligible: list[str]
    action: str
    propensity: Probability


class Replay(Model):
    """A stored decision beside the one recomputed from the stored events."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "decision_id": "d_6f1d2c9a4be84f0c9a31b7e2",
                    "identical": True,
                    "stored": {
                        "cluster": "loyal",
                        "state": {"stage": 1},
                        "observation": {"stage": 1.0},
                        "eligible": ["wait", "offer:email"],
                        "action": "offer:email",
                        "propensity": 0.975,
                    },
                    "recomputed": {
                        "cluster": "loyal",
                        "state": {"stage": 1},
                        "observation": {"stage": 1.0},
                        "eligible": ["wait", "offer:email"],
                        "action": "offer:email",
                        "propensity": 0.975,
                    },
                }
            ]
        }
    )

    decision_id: str
    identical: bool
    stored: Replayed
    recomputed: Replayed
