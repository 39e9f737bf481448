"""The problem: a typed scenario of rates and odds ratios, as people write it.

A scenario states what exists (stages, channels, touchpoints), what is remembered
(the fold's constants), what is worth what (prices, objectives), where journeys start,
and how each cluster behaves. It holds no learner settings (those are the run's).
Rates hold at the reference point: engagement 0, fatigue 0, neutral goodwill, no offer
in hand, an odds ratio of 1 everywhere else. Logits are computed in `journey/logits.py` only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from envs.scenario.behavior import Behavior as Behavior
from envs.scenario.fields import Money
from envs.scenario.fields import Name as Name
from envs.scenario.fields import Rate as Rate
from envs.scenario.fields import Strict as Strict


class Component(NamedTuple):
    """Where each component stands in every reward vector; money of a day (design §6)."""

    conversion_margin: int  # of the purchase that makes somebody a customer
    retention_margin: int  # of later purchases; a stage's daily margin
    contact_cost: int
    incentive_cost: int  # of offers redeemed
    agent_minutes: int  # of contacts, replies and requests on human channels
    goodwill: int  # levels gained or lost (CSAT)
    effort: int  # days a request stays open, and repeats (CES)
    opt_out: int
    churn: int  # the externality, once; the lost margin is in the value already


COMPONENTS = Component._fields
COMPONENT = Component(*range(len(COMPONENTS)))
"""Positions by name: `weights[COMPONENT.opt_out]`."""


# --- what exists -------------------------------------------------------------------------


class Stage(Strict):
    """A place in the journey. The last stage is the absorbing one (churned)."""

    name: Name
    customer: bool = False  # a purchase here is retention, elsewhere conversion
    daily_margin: Money = 0.0  # money a day closed in this stage
    advance_to: Name | None = None  # target of the exogenous `advance` move
    lapse_to: Name | None = None  # target of the exogenous `lapse` move
    purchase_to: Name | None = None  # rule-based: a purchase moves here at once
    idle_days: Annotated[int, Field(ge=1, le=365)] | None = None  # rule-based: days without activity
    idle_to: Name | None = None


class Channel(Strict):
    """A way to reach a customer; `inbound` when customers may also reach us on it."""

    name: Name
    label: str = ""
    fatigue_points: Annotated[int, Field(ge=0, le=50)] = 0
    contact_cost: Money = 0.0
    minutes: Annotated[float, Field(ge=0.0)] = 0.0  # an agent's minutes a contact, 0 when automatic
    service_minutes: Annotated[float, Field(ge=0.0)] | None = None  # a reply or inbound; None: minutes
    inbound: bool = False


class Touchpoint(Strict):
    """What to say. `service` touchpoints answer an open request, the others are marketing."""

    name: Name
    label: str = ""
    channels: list[Name] = Field(min_length=1)
    stages: list[Name] | None = None  # None: every living stage
    service: bool = False
    offer_days: Annotated[int, Field(ge=0, le=60)] = 0  # > 0: the contact leaves an offer in hand
    redemption_rate: Rate = 1.0  # of purchases made with the offer in hand
    incentive_cost: Money = 0.0  # a redemption


# --- what is remembered (the fold's constants) ----------------------------------------------


class Bucket(Strict):
    """A leaky bucket of points; one drains a day."""

    capacity: Annotated[int, Field(ge=0, le=60)]
    points: Annotated[int, Field(ge=1, le=50)] = 2  # a response adds (fatigue: see the channel)


class Goodwill(Strict):
    """Levels 0..capacity; rates hold at `neutral`, where a new customer starts."""

    capacity: Annotated[int, Field(ge=0, le=20)]
    neutral: Annotated[int, Field(ge=0, le=20)]


class Inbox(Strict):
    """An open request: its age is capped, it expires, patience runs out once."""

    expiry_days: Annotated[int, Field(ge=1, le=60)] = 5
    patience_days: Annotated[int, Field(ge=0, le=60)] = 2


class Cap(Strict):
    """At most `contacts` marketing contacts on these channels in any `days` days."""

    channels: list[Name] | None = None  # None: all channels together
    contacts: Annotated[int, Field(ge=1, le=30)]
    days: Annotated[int, Field(ge=2, le=31)]


class Opportunities(Strict):
    """When a decision other than wait is possible."""

    every: Literal["day", "gap", "calendar"] = "day"
    gap_days: Annotated[int, Field(ge=2, le=60)] | None = None  # days between marketing contacts
    season_start: dt.date | None = None  # local date of season day 0
    season_days: Annotated[int, Field(ge=1, le=400)] | None = None
    days: list[Annotated[int, Field(ge=0)]] | None = None  # season days with an opportunity


class QuietHours(Strict):
    """No marketing contact between these local hours (service decisions are not bound)."""

    start: Annotated[int, Field(ge=0, le=23)]
    end: Annotated[int, Field(ge=0, le=23)]


class Memory(Strict):
    """What the state carries, and how events move it."""

    engagement: Bucket
    fatigue_capacity: Annotated[int, Field(ge=0, le=60)]
    goodwill: Goodwill
    inbox: Inbox = Inbox()
    response_window_days: Annotated[int, Field(ge=1, le=14)] = 1
    # expiry: a redemption uses the offer up, its effect lasts until it expires
    offer_cleared_by: Literal["purchase", "redemption", "expiry"] = "purchase"
    caps: list[Cap] = []
    opportunities: Opportunities = Opportunities()
    quiet_hours: QuietHours | None = None
    reply_needs_consent: bool = False
    returning_stage: Name | None = None  # where an event restarts a churned customer


# --- what is worth what ------------------------------------------------------------------------


class Prices(Strict):
    """Money a unit, in the scenario's currency; costs are positive numbers."""

    margin: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # share of a purchase's value
    agent_minute: Annotated[float, Field(ge=0.0)] = 0.0
    goodwill_level: Annotated[float, Field(ge=0.0)] = 0.0
    effort_day: Annotated[float, Field(ge=0.0)] = 0.0
    effort_repeat: Annotated[float, Field(ge=0.0)] = 0.0
    opt_out: dict[Name, Annotated[float, Field(ge=0.0)]] = {}
    churn: Annotated[float, Field(ge=0.0)] = 0.0


class Objective(Strict):
    """A named set of weights over the reward components."""

    conversion_margin: float = 1.0
    retention_margin: float = 1.0
    contact_cost: float = 1.0
    incentive_cost: float = 1.0
    agent_minutes: float = 1.0
    goodwill: float = 1.0
    effort: float = 1.0
    opt_out: float = 1.0
    churn: float = 1.0


# --- who they are and where they start ------------------------------------------------------------


class Start(Strict):
    """d0: a mix over stages, consent independent a channel; all else empty or neutral."""

    stages: dict[Name, Rate]
    consent: dict[Name, Rate] = {}


class Persona(Strict):
    """A hidden type inside a cluster: known share, never observed in one customer."""

    name: Name
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    behavior: Behavior


class Cluster(Strict):
    """Customers who behave alike. `behavior` is complete here (the loader merges defaults)."""

    name: Name
    label: str = ""
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    behavior: Behavior
    start: Start
    personas: list[Persona] = []  # empty: one persona, the cluster's behaviour


# --- who belongs where, and what the business does today ----------------------------------------


class Centroids(Strict):
    """Nearest centre over standardised attributes."""

    attributes: list[str] = Field(min_length=1)
    mean: list[float]
    scale: list[Annotated[float, Field(gt=0.0)]]
    centers: dict[Name, list[float]]


class Condition(Strict):
    """A range or a set a value must lie in; an absent attribute never matches."""

    at_least: float | None = None
    below: float | None = None
    one_of: list[str] | None = None


class AssignmentRule(Strict):
    """First rule whose conditions all hold gives the cluster."""

    cluster: Name
    when: dict[str, Condition]


class Assignment(Strict):
    """How a customer never seen before is placed; `default` without usable attributes."""

    default: Name
    column: str | None = None  # an attribute that names the cluster
    rules: list[AssignmentRule] = []
    centroids: Centroids | None = None


class BusinessRule(Strict):
    """Business as usual: the first rule that applies and has a legal channel decides."""

    stages: list[Name] | None = None
    open_request: bool = False  # applies only with (True) or without (False) an open request
    max_fatigue: int | None = None
    min_engagement: int | None = None
    without_offer: bool = False  # only when no offer is in hand
    touchpoint: Name
    channels: list[Name] = Field(min_length=1)  # in order of preference; "inbound" on replies


class NewCustomer(Strict):
    """Where a customer starts whom the service has never seen (consent: denied)."""

    stage: Name


class Scenario(Strict):
    """The whole problem. Travels in the bundle; its hash names it."""

    name: Name
    version: int = 1
    description: str = ""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    timezone: str = "UTC"
    discount: Annotated[float, Field(gt=0.0, lt=1.0)]  # a day
    max_states: Annotated[int, Field(ge=1)] = 1_000_000  # the solver refuses above
    stages: list[Stage] = Field(min_length=2)
    channels: list[Channel] = Field(min_length=1, max_length=8)
    touchpoints: list[Touchpoint] = Field(min_length=1)
    memory: Memory
    prices: Prices
    objectives: dict[Name, Objective] = {"lifetime_value": Objective()}
    default_objective: Name = "lifetime_value"
    new_customer: NewCustomer
    assignment: Assignment
    business_rules: list[BusinessRule] = []
    clusters: list[Cluster] = Field(min_length=1)
    sources: dict[str, str] = {}  # key -> citation of a published rate
    bands: dict[str, tuple[float, float]] = {}  # simulated marginals must fall here

    def __repr__(self) -> str:
        clusters = ", ".join(cluster.name for cluster in self.clusters[:4])
        more = ", …" if len(self.clusters) > 4 else ""
        return (
            f"Scenario({self.name}: clusters {clusters}{more}; {len(self.stages)} stages, "
            f"{len(self.channels)} channels, {len(self.touchpoints)} touchpoints)"
        )

    __str__ = __repr__

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: the scenario's identity, free of comments and order."""
        body = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(body.encode()).hexdigest()

    def cluster(self, name: str) -> Cluster:
        """The cluster of that name; `KeyError` when there is none."""
        return next(c for c in self.clusters if c.name == name)
