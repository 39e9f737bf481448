"""r(event): what an event is worth, as a vector over `scenario.COMPONENTS`.

A reward is a function of the state before, the state after and the event, so a simulated
day, an enumerated branch and a real log are priced by the same function.
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.day.fold import CONTACT, INBOUND, OPT_OUT, PURCHASE, REDEMPTION, STAGE
from envs.journey.packed import (
    CHURNED,
    IS_SERVICE,
    PRICE_AGENT,
    PRICE_CHURN,
    PRICE_CONTACT,
    PRICE_CUSTOMER,
    PRICE_DAILY_MARGIN,
    PRICE_EFFORT_DAY,
    PRICE_EFFORT_REPEAT,
    PRICE_GOODWILL,
    PRICE_INCENTIVE,
    PRICE_MARGIN,
    PRICE_OPT_OUT,
    PRICE_SERVICE,
)
from envs.journey.state import State
from envs.scenario.events import Kind
from envs.scenario.schema import COMPONENT

CLOSE = int(Kind.CLOSE)


@compiled
def add_reward(
    m: Any,
    price: Any,
    before: State,
    after: State,
    kind: int,
    touchpoint: int,
    channel: int,
    value: float,
    out: Any,
) -> None:
    """Add one event's reward vector to `out` (R,); `kind` may be CLOSE."""
    if kind == CONTACT:
        out[COMPONENT.contact_cost] -= price[m[PRICE_CONTACT] + channel]
        service = touchpoint >= 0 and m[m[IS_SERVICE] + touchpoint] == 1
        minutes = m[PRICE_SERVICE] if service else m[PRICE_AGENT]
        out[COMPONENT.agent_minutes] -= price[minutes + channel]
    elif kind == PURCHASE:
        if m[m[PRICE_CUSTOMER] + before.stage] == 1:
            out[COMPONENT.retention_margin] += price[m[PRICE_MARGIN]] * value
        else:
            out[COMPONENT.conversion_margin] += price[m[PRICE_MARGIN]] * value
    elif kind == REDEMPTION:
        if touchpoint >= 0:
            out[COMPONENT.incentive_cost] -= price[m[PRICE_INCENTIVE] + touchpoint]
    elif kind == OPT_OUT:
        if before.consent != after.consent:
            out[COMPONENT.opt_out] -= price[m[PRICE_OPT_OUT] + channel]
    elif kind == INBOUND:
        out[COMPONENT.agent_minutes] -= price[m[PRICE_SERVICE] + channel]
        if before.inbox > 0:
            out[COMPONENT.effort] -= price[m[PRICE_EFFORT_REPEAT]]
    elif kind == STAGE:
        if after.stage == m[CHURNED] and before.stage != m[CHURNED]:
            out[COMPONENT.churn] -= price[m[PRICE_CHURN]]
    elif kind == CLOSE:
        out[COMPONENT.retention_margin] += price[m[PRICE_DAILY_MARGIN] + before.stage]
        if before.inbox > 0 and before.stage != m[CHURNED]:
            out[COMPONENT.effort] -= price[m[PRICE_EFFORT_DAY]]
    out[COMPONENT.goodwill] += price[m[PRICE_GOODWILL]] * (after.goodwill - before.goodwill)
