"""A real log as a panel: decisions with their states, assigned actions, propensities, rewards.

States come from the compiled fold, rewards from the simulator's pricing; a decision is a row
of the log with its propensity, and the estimate is by assignment. Leaves out estimation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.compiled import compiled
from envs.day.masks import legal_bits, unpack
from envs.day.states import load_state
from envs.errors import GateError
from envs.journey.journey import Journey, compile_journey
from envs.journey.observation import write_observation
from envs.journey.rules import Rules
from envs.journey.state import COLUMN
from envs.scenario.schema import Scenario
from envs.timeline.columns import Columns
from envs.timeline.replay import Plan, Replay, Starts, replay
from training.ope.panel import Panel

DETAILED = 12  # components of at most so many levels are regressed one by one


@dataclass(frozen=True)
class LoggedJourneys:
    """N customers with T decisions at most, aligned with `panel`."""

    panel: Panel
    customers: Array  # (N,) ids
    clusters: Ints  # (N,) number of the scenario's cluster
    states: Ints  # (N, T, 12)
    observations: Floats  # (N, T, F) float32
    days: Ints  # (N, T) local day since 1970-01-01
    unpriced: float  # share of rows before a customer's first decision: not evaluated


def logged_journeys(
    log: Columns,
    scenario: Scenario,
    plan: Plan,
    starts: Starts | None,
    clusters: Ints,
    weights: Floats,
    discount: float = 1.0,
) -> LoggedJourneys:
    """Fold a log and cut it at its decisions. `discount` is per day, from the first decision.

    `clusters` (N,) in the log's customer order, `weights` (R,) of the objective. Raises
    `GateError` for a log without propensities.
    """
    replays = list(replay(log, scenario, plan, starts, rewards=True))
    rows, earned = _merged(replays), np.concatenate([r.rewards for r in replays]) @ weights
    journey = compile_journey(scenario, scenario.clusters[0].name)
    decided = _decisions(journey, rows)
    slot = _slots(rows["customer"], decided)
    kept, who = np.unique(rows["customer"][decided], return_inverse=True)
    n, t_max = len(kept), int(slot.max()) + 1
    at = (who, slot[decided])
    states = np.zeros((n, t_max, rows["state"].shape[1]), dtype=np.int64)
    states[at] = rows["state"][decided]
    days = np.zeros((n, t_max), dtype=np.int64)
    days[at] = rows["day"][decided]
    actions = np.zeros((n, t_max), dtype=np.int64)
    actions[at] = rows["assigned"][decided]
    propensity = np.ones((n, t_max))
    propensity[at] = rows["propensity"][decided]
    present = np.zeros((n, t_max), dtype=bool)
    present[at] = True
    rewards, history = _earned(rows, earned, slot, kept, days, t_max, discount)
    observations, legal = observe(journey, states.reshape(n * t_max, -1))
    legal = legal.reshape(n, t_max, -1)
    legal[~present] = np.arange(legal.shape[2]) == 0
    chosen = np.take_along_axis(legal, actions[:, :, None], axis=2)[:, :, 0]
    legal[present & ~chosen, 0] = True
    numbers = np.asarray(clusters)[kept]
    features = _features(journey, states, numbers, len(scenario.clusters), history)
    panel = Panel(
        features=features,
        cells=_cells(journey, states, numbers),
        actions=actions,
        propensity=propensity,
        rewards=rewards,
        legal=legal,
        present=present,
    )
    return LoggedJourneys(
        panel=panel,
        customers=np.asarray(log.customers)[kept],
        clusters=numbers,
        states=states,
        observations=observations.reshape(n, t_max, -1),
        days=days,
        unpriced=float(np.mean(slot < 0)),
    )


def _merged(replays: list[Replay]) -> dict[str, Array]:
    """The fields of all blocks that a panel needs."""
    fields = ("customer", "day", "primary", "assigned", "propensity", "state")
    return {f: np.concatenate([getattr(r.rows, f) for r in replays]) for f in fields}


def _decisions(journey: Journey, rows: dict[str, Array]) -> Mask:
    """(n,) rows that decide: assigned with a propensity, on a day when somebody has a choice."""
    decided = (rows["primary"] == 1) & (rows["assigned"] >= 0)
    if not decided.any() or np.isnan(rows["propensity"][decided]).any():
        raise GateError("the log has no propensities: what a policy would have earned cannot be told from it")
    _, legal = observe(journey, rows["state"][decided])
    choice = np.unique(rows["day"][decided][legal.sum(axis=1) > 1])
    out: Mask = decided & np.isin(rows["day"], choice)
    return out


def _slots(customer: Ints, decided: Mask) -> Ints:
    """(n,) number of the customer's decision a row belongs to; -1 before the first."""
    count: Ints = np.cumsum(decided)
    first = np.concatenate([[True], customer[1:] != customer[:-1]])
    before = np.maximum.accumulate(np.where(first, count - decided, 0))
    numbers: Ints = count - before - 1
    return numbers


def _earned(
    rows: dict[str, Array], earned: Floats, slot: Ints, kept: Ints, days: Ints, t_max: int, discount: float
) -> tuple[Floats, Floats]:
    """Rewards (N, T) up to the next decision, and what is known before it (N, T, 2).

    History: the share of days that earned something, and the mean of log(1 + what they earned).
    """
    position = np.searchsorted(kept, rows["customer"])
    own = (slot >= 0) & (kept[np.minimum(position, len(kept) - 1)] == rows["customer"])
    at = (position[own], slot[own])
    age = rows["day"][own] - days[position[own], 0]
    rewards = np.zeros((len(kept), t_max))
    np.add.at(rewards, at, earned[own] * discount**age)
    money = earned[own]
    sums = np.zeros((3, len(kept), t_max))
    for total, part in zip(sums, (1.0, money != 0.0, np.log1p(np.maximum(money, 0.0))), strict=True):
        np.add.at(total, at, part)
    before = np.cumsum(sums, axis=2) - sums  # strictly before this decision
    history = before[1:] / np.maximum(before[:1], 1.0)
    return rewards, np.moveaxis(history, 0, 2)


@compiled
def _observe(m: Any, source: Any, states: Any, observations: Any, bits: Any) -> None:
    for i in range(len(states)):
        state = load_state(states[i])
        write_observation(source, state, observations[i])
        bits[i] = legal_bits(m, state)


def observe(journey: Journey, states: Ints) -> tuple[Floats, Mask]:
    """Observations (n, F) float32 and legal actions (n, A) of states (n, 12)."""
    observations = np.zeros((len(states), len(journey.encoding.names)), dtype=np.float32)
    bits = np.zeros(len(states), dtype=np.int64)
    _observe(journey.machine, journey.encoding.source, states, observations, bits)
    return observations, unpack(bits, len(journey.actions))


def _cells(journey: Journey, states: Ints, clusters: Ints) -> Ints:
    """(N, T) number of (cluster, state): what marginal weights are averaged over."""
    sizes = np.array([*journey.rules.sizes, int(clusters.max()) + 1], dtype=np.int64)
    sizes[COLUMN.stage] += 1  # the churned stage
    columns = [states[:, :, c] for c in range(states.shape[2])]
    columns.append(np.broadcast_to(clusters[:, None], states.shape[:2]))
    code = np.zeros(states.shape[:2], dtype=np.int64)
    for column, size in zip(columns, sizes.tolist(), strict=True):
        code = code * size + column
    _, cells = np.unique(code, return_inverse=True)
    return cells.reshape(code.shape)


def _features(journey: Journey, states: Ints, clusters: Ints, count: int, history: Floats) -> Floats:
    """(N, T, F) for regression: cluster, state components, offer by kind and days left, history."""
    rules, shape = journey.rules, states.shape[:2]
    columns = [np.broadcast_to((clusters == k)[:, None], shape) for k in range(1, count)]
    for position, size in enumerate(rules.sizes.tolist()):
        levels = states[:, :, position]
        if position == 6 and size > 1:  # the offer in hand
            kind = np.asarray(rules.offer_kind)[levels]
            columns += [kind == k for k in range(1, int(rules.offer_kind.max()) + 1)]
            columns += [days_left(rules)[levels], levels > 0, np.asarray(rules.offer_touchpoint)[levels] >= 0]
        elif 1 < size <= DETAILED:
            columns += [levels == k for k in range(1, size)]
        elif size > 1:
            columns.append(levels)
    columns += [history[:, :, h] for h in range(history.shape[2])]
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=2)


def days_left(rules: Rules) -> Ints:
    """(offer,) closes until each offer level is gone."""
    close = np.asarray(rules.offer_close)
    left: Ints = np.zeros(len(close), dtype=np.int64)
    levels: Ints = np.arange(len(close))
    while (levels > 0).any():
        left += levels > 0
        levels = close[levels]
    return left
