"""What can happen to a customer: event kinds, their order within a day, and the log's columns.

Leaves out storage (serving) and raw logs (training's mappings turn those into these).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """Event kinds; the numbers are the sampling order of a day and break ties in time."""

    DECISION = 0
    CONTACT = 1
    RESPONSE = 2
    OPT_OUT = 3
    RESOLUTION = 4
    PURCHASE = 5
    REDEMPTION = 6
    STAGE = 7
    INBOUND = 8
    OPT_IN = 9
    SURVEY = 10
    CLOSE = 11  # the end of a local day; never logged


KINDS: dict[str, Kind] = {kind.name.lower(): kind for kind in Kind if kind is not Kind.CLOSE}

LOG_COLUMNS = (
    "event_id",
    "source",
    "customer_id",
    "occurred_at",
    "kind",
    "direction",
    "channel",
    "touchpoint",
    "topic",
    "outcome",
    "value",
    "currency",
    "case_id",
    "decision_id",
    "propensity",
    "eligible",
    "policy_version",
    "activated",
    "agent_id",
    "queue",
)
"""Columns of an event log (Parquet or CSV), one row an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one customer; the fields are the log's columns.

    `outcome` carries the new stage of a `stage` event and the level of a `survey`.
    `eligible` lists the legal actions of a decision as `wait` or `touchpoint:channel`.
    """

    event_id: str
    customer_id: str
    occurred_at: dt.datetime  # aware
    kind: str
    source: str = ""
    direction: str | None = None
    channel: str | None = None
    touchpoint: str | None = None
    topic: str | None = None
    outcome: str | None = None
    value: float | None = None
    currency: str | None = None
    case_id: str | None = None
    decision_id: str | None = None
    propensity: float | None = None
    eligible: tuple[str, ...] | None = None
    policy_version: str | None = None
    activated: bool | None = None
    agent_id: str | None = None
    queue: str | None = None
