"""What is worth what: a scenario's prices and objectives as arrays.

Holds no rule of when something is paid; that is `day/rewards.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.scenario.schema import COMPONENTS, Objective, Scenario


class Prices(NamedTuple):
    """Money a unit, compiled; costs are positive and subtracted."""

    margin: float
    customer: Ints  # (L,) 1 where a purchase is retention
    daily_margin: Floats  # (L,)
    contact_cost: Floats  # (C,)
    incentive_cost: Floats  # (T,)
    agent_cost: Floats  # (C,) minutes × price a minute, of a marketing contact
    service_cost: Floats  # (C,) the same of a reply or an inbound request
    goodwill_level: float
    effort_day: float
    effort_repeat: float
    opt_out: Floats  # (C,)
    churn: float


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


def weights_of(objective: Objective) -> Floats:
    """(R,) weights in the order of `COMPONENTS`."""
    return np.array([getattr(objective, name) for name in COMPONENTS], dtype=np.float64)
