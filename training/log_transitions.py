"""A log as transitions of one cluster: state, action, what it earned, the next decision's state.

States, legal actions and prices come from the one fold (`envs/replay.py`); nothing is modelled.
The log's last day is left out whole, as the state of the decision after it is not in the log: its
journeys are truncated there, not ended. A churn ends a journey.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.deciders import deciders, draw
from envs.errors import GateError, LogError
from envs.journey import Journey
from envs.replay import Plan, replay
from envs.simulator import Simulator
from training.logged import read_logged
from training.ope.log_panel import observe

ENDED = -1
_BLOCK_ROWS = 500_000  # of the fold; what is kept of a row is small


@dataclass(frozen=True)
class Transitions:
    """n decisions in U different states, F features and A actions."""

    observations: Any  # (U, F) float32
    legal: Any  # (U, A) bool
    at: Any  # (n,) int32 state of the decision
    action: Any  # (n,) int16
    reward: Any  # (n,) float64 in objective units, up to the next decision
    next: Any  # (n,) int32 state of the next decision, `ENDED` after a churn
    customer: Any  # (n,) int32

    def __len__(self) -> int:
        return len(self.at)


def from_log(path: Path, journey: Journey, weights: Any) -> Transitions:
    """The cluster's customers of a log in this project's columns, their rewards weighted (R,)."""
    scenario = journey.scenario
    logged = read_logged([path], scenario, None, None)
    number = [c.name for c in scenario.clusters].index(journey.cluster.name)
    parts = [
        _decisions(part.rows, part.rewards @ weights, logged.clusters == number)
        for part in replay(logged.columns, scenario, logged.plan, logged.starts, _BLOCK_ROWS, rewards=True)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(columns["day"]):
        hint = "decisions are rows of kind `decision`; customers' clusters stand in the second table"
        cluster = journey.cluster.name
        raise LogError("no decision of this cluster", where=str(path), expected=cluster, hint=hint)
    return _linked(journey, columns, logged.plan)


def _decisions(rows: Any, earned: Any, mine: Any) -> dict[str, Any]:
    """A day a row: the decision's own, of customers that count."""
    kept = (rows.primary == 1) & mine[rows.customer]
    if (rows.assigned[kept] < 0).any():
        raise GateError("days without a decision row: which action was chosen cannot be told from this log")
    return {
        "customer": rows.customer[kept],
        "day": rows.day[kept],
        "state": rows.state[kept],
        "action": rows.assigned[kept],
        "reward": earned[kept],
    }


def _linked(journey: Journey, columns: dict[str, Any], plan: Plan) -> Transitions:
    """Every decision with the one that follows it; a gap in a customer's days is a churn."""
    customer, day = columns["customer"], columns["day"]
    sizes = [*journey.rules.sizes.tolist()]
    sizes[0] += 1  # the churned stage
    code = np.zeros(len(day), dtype=np.int64)
    for c, size in enumerate(sizes):
        code = code * size + columns["state"][:, c]
    _, first, at = np.unique(code, return_index=True, return_inverse=True)
    observations, legal = observe(journey, columns["state"][first])
    follows = np.zeros(len(day), dtype=bool)
    follows[:-1] = (customer[1:] == customer[:-1]) & (day[1:] == day[:-1] + 1)
    following = np.where(follows, np.append(at[1:], ENDED), ENDED)
    kept = day < plan.last_day
    action = columns["action"][kept]
    return Transitions(
        observations=observations,
        legal=legal,
        at=at[kept].astype(np.int32),
        action=action.astype(np.int16),
        reward=columns["reward"][kept],
        next=following[kept].astype(np.int32),
        customer=customer[kept],
    )


def simulated(
    journey: Journey, weights: Any, behavior: str, customers: int, days: int, seed: int
) -> Transitions:
    """The transitions of the log that `journey simulate` would write, without writing it."""
    simulator, decide = Simulator(journey, customers, seed), deciders(behavior)(journey)
    days_of: list[dict[str, Any]] = []
    for day in range(days):
        alive = np.flatnonzero(simulator.states[:, 0] != journey.rules.churned)
        legal, states = simulator.legal[alive].copy(), simulator.states[alive].copy()
        chances = np.ascontiguousarray(decide(states, simulator.observations[alive], legal))
        chosen, propensity = np.zeros(len(alive), np.int64), np.zeros(len(alive))
        draw(chances, seed, simulator.customers[alive], np.full(len(alive), day), chosen, propensity)
        actions = np.zeros(customers, np.int64)
        actions[alive] = chosen
        earned = simulator.step(actions).rewards[alive] @ weights
        days_of.append({
            "customer": alive.astype(np.int32), "day": np.full(len(alive), day), "state": states,
            "action": chosen, "reward": earned,
        })  # fmt: skip
    whole = {name: np.concatenate([part[name] for part in days_of]) for name in days_of[0]}
    order = np.lexsort((whole["day"], whole["customer"]))
    columns = {name: column[order] for name, column in whole.items()}
    return _linked(journey, columns, Plan(at=0, first_day=0, last_day=days - 1, everybody=True))
