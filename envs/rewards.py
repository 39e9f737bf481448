"""r(event): what an event is worth, as a vector over `scenario.COMPONENTS`.

A reward is a function of the state before, the state after and the event, so a simulated
day, an enumerated branch and a real log are priced by the same function.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.advance import CONTACT, INBOUND, OPT_OUT, PURCHASE, REDEMPTION, STAGE
from envs.compiled import compiled
from envs.events import Kind
from envs.rules import Rules
from envs.scenario import COMPONENTS, Objective, Scenario
from envs.state import State

CLOSE = int(Kind.CLOSE)
CONVERSION_MARGIN, RETENTION_MARGIN, CONTACT_COST, INCENTIVE_COST = 0, 1, 2, 3
AGENT_MINUTES, GOODWILL, EFFORT, OPT_OUT_COST, CHURN = 4, 5, 6, 7, 8


class Prices(NamedTuple):
    """Money a unit, compiled; costs are positive and subtracted."""

    margin: float
    customer: Any  # (L,) 1 where a purchase is retention
    daily_margin: Any  # (L,)
    contact_cost: Any  # (C,)
    incentive_cost: Any  # (T,)
    agent_cost: Any  # (C,) minutes × price a minute, of a marketing contact
    service_cost: Any  # (C,) the same of a reply or an inbound request
    goodwill_level: float
    effort_day: float
    effort_repeat: float
    opt_out: Any  # (C,)
    churn: float

    def scalar(self) -> Prices:
        """The same prices as tuples of Python numbers."""
        return Prices(*(tuple(f.tolist()) if isinstance(f, np.ndarray) else f for f in self))


def compile_prices(scenario: Scenario) -> Prices:
    """Prices as arrays."""
    p = scenario.prices
    return Prices(
        margin=p.margin,
        customer=np.array([int(s.customer) for s in scenario.stages], dtype=np.int64),
        daily_margin=np.array([s.daily_margin for s in scenario.stages], dtype=np.float64),
        contact_cost=np.array([c.contact_cost for c in scenario.channels], dtype=np.float64),
        incentive_cost=np.array([t.incentive_cost for t in scenario.touchpoints], dtype=np.float64),
        agent_cost=np.array([c.minutes * p.agent_minute for c in scenario.channels]),
        service_cost=np.array(
            [
                (c.minutes if c.service_minutes is None else c.service_minutes) * p.agent_minute
                for c in scenario.channels
            ]
        ),
        goodwill_level=p.goodwill_level,
        effort_day=p.effort_day,
        effort_repeat=p.effort_repeat,
        opt_out=np.array([p.opt_out.get(c.name, 0.0) for c in scenario.channels]),
        churn=p.churn,
    )


def weights_of(objective: Objective) -> Any:
    """(R,) weights in the order of `COMPONENTS`."""
    return np.array([getattr(objective, name) for name in COMPONENTS], dtype=np.float64)


@compiled
def add_reward(
    rules: Rules,
    prices: Prices,
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
        out[CONTACT_COST] -= prices.contact_cost[channel]
        service = touchpoint >= 0 and rules.is_service[touchpoint] == 1
        out[AGENT_MINUTES] -= prices.service_cost[channel] if service else prices.agent_cost[channel]
    elif kind == PURCHASE:
        if prices.customer[before.stage] == 1:
            out[RETENTION_MARGIN] += prices.margin * value
        else:
            out[CONVERSION_MARGIN] += prices.margin * value
    elif kind == REDEMPTION:
        if touchpoint >= 0:
            out[INCENTIVE_COST] -= prices.incentive_cost[touchpoint]
    elif kind == OPT_OUT:
        if before.consent != after.consent:
            out[OPT_OUT_COST] -= prices.opt_out[channel]
    elif kind == INBOUND:
        out[AGENT_MINUTES] -= prices.service_cost[channel]
        if before.inbox > 0:
            out[EFFORT] -= prices.effort_repeat
    elif kind == STAGE:
        if after.stage == rules.churned and before.stage != rules.churned:
            out[CHURN] -= prices.churn
    elif kind == CLOSE:
        out[RETENTION_MARGIN] += prices.daily_margin[before.stage]
        if before.inbox > 0 and before.stage != rules.churned:
            out[EFFORT] -= prices.effort_day
    out[GOODWILL] += prices.goodwill_level * (after.goodwill - before.goodwill)
