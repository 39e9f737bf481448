"""Days that were lived, added up: what was done in which state, and what came of it.

All that learning from days alone reads: states, actions, events and what purchases were worth. From
a log, or from the simulator's customers. n distinct (state, action, outcome).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.day.day import (
    NONE,
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    OUTCOMES,
)
from envs.day.states import StateRows
from envs.errors import GateError, LogError
from envs.journey.journey import Journey
from envs.journey.state import COLUMN
from envs.simulate.logging_policy import deciders, draw
from envs.simulate.simulator import Simulator
from envs.timeline.replay import replay
from envs.timeline.rows import ADVANCED, LAPSED, LEFT, MOVES, Rows
from training.logs.logged import read_logged

_BLOCK_ROWS = 500_000  # of the fold; what is kept of a row is small


@dataclass(frozen=True)
class Days:
    """Decisions and what came of them."""

    row: Ints  # (n,) int64 state, as in `envs.day.states`
    action: Ints  # (n,) int64
    outcome: Ints  # (n, 7) int8, columns of `envs.day.day`
    count: Floats  # (n,) float64 days
    value: Floats  # (n,) float64 of their purchases together
    variation: float  # variance of a purchase's value over its squared mean
    starts: Ints  # (k,) int64 where journeys began …
    started: Floats  # (k,) float64 … and how often

    @property
    def lived(self) -> int:
        """Customer-days."""
        return int(self.count.sum())


def added_up(rows: Ints, actions: Ints, outcomes: Ints, values: Floats, firsts: Ints) -> Days:
    """Days (N,) one by one; `firsts` are the rows where journeys began."""
    size = outcomes.max(axis=0).astype(np.int64) + 2 if len(outcomes) else np.ones(OUTCOMES, np.int64)
    code = rows * (int(actions.max()) + 1) + actions
    for column in range(OUTCOMES):
        code = code * size[column] + outcomes[:, column] + 1
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    bought = outcomes[:, OUT_PURCHASE] >= 0
    starts, started = np.unique(firsts, return_counts=True)
    return Days(
        row=rows[first], action=actions[first].astype(np.int64), outcome=outcomes[first],
        count=np.bincount(which).astype(np.float64),
        value=np.asarray(np.bincount(which, np.where(bought, values, 0.0)), np.float64),
        variation=variation(bought.sum(), values[bought].sum(), (values[bought] ** 2).sum()),
        starts=starts, started=started.astype(np.float64),
    )  # fmt: skip


def variation(count: float, total: float, squares: float) -> float:
    """Variance over squared mean; 1 where too few were seen to tell."""
    if count < 2 or total <= 0.0:
        return 1.0
    return max(float(count * squares / total**2 - 1.0), 1e-3)


def from_log(path: Path, journey: Journey) -> Days:
    """The cluster's customers of a log in this project's columns; the last day, still open, left out."""
    scenario = journey.scenario
    logged = read_logged([path], scenario, None, None)
    number = [c.name for c in scenario.clusters].index(journey.cluster.name)
    parts = [
        _decisions(part.rows, logged.clusters == number, journey)
        for part in replay(logged.columns, scenario, logged.plan, logged.starts, _BLOCK_ROWS)
    ]
    state, action, outcome, value, day, customer = (np.concatenate(part) for part in zip(*parts, strict=True))
    over = day < logged.plan.last_day
    if not over.any():
        hint = "decisions are rows of kind `decision`; customers' clusters stand in the second table; "
        hint += "the last day does not count, it is still open"
        cluster = journey.cluster.name
        raise LogError("no decision of this cluster", where=str(path), expected=cluster, hint=hint)
    rows = StateRows(journey).of(state)
    first = np.append(True, customer[1:] != customer[:-1])
    return added_up(rows[over], action[over], outcome[over], value[over], rows[first])


def _decisions(rows: Rows, mine: Mask, journey: Journey) -> tuple[Array, ...]:
    """Per decision of a customer that counts: state, action, outcome, value, day, customer."""
    kept = (rows.primary == 1) & mine[rows.customer]
    if (rows.assigned[kept] < 0).any():
        raise GateError("days without a decision row: which action was chosen cannot be told from this log")
    state, action = rows.state[kept], rows.assigned[kept]
    rules, tables = journey.rules, journey.personas[0]
    channel = np.asarray(rules.action_channel)[action]
    offer = np.asarray(rules.offer_touchpoint)
    outcome = np.full((len(action), OUTCOMES), NONE, dtype=np.int8)
    outcome[:, OUT_RESPONSE] = np.where(rows.answered[kept] == 1, rows.responded[kept], NONE)
    outcome[:, OUT_OPT_OUT] = np.where(rows.opt_out[kept] == 1, channel, NONE)
    outcome[:, OUT_RESOLUTION] = np.where(rows.resolution[kept] == 1, channel, NONE)
    outcome[:, OUT_PURCHASE] = np.where(rows.purchases[kept] > 0, 1, NONE)
    held = np.isin(rows.redeemed[kept], offer[offer >= 0]) & (rows.purchases[kept] > 0)
    outcome[:, OUT_REDEMPTION] = np.where(held, rows.redeemed[kept], NONE)
    targets = np.full((len(MOVES), int(rules.sizes[COLUMN.stage])), NONE)
    targets[LEFT] = rules.churned
    for move, target in ((ADVANCED, tables.advance_to), (LAPSED, tables.lapse_to)):
        targets[move] = np.asarray(target)[: targets.shape[1]]
    outcome[:, OUT_STAGE] = np.where(
        rows.move[kept] >= 0, targets[rows.move[kept], state[:, COLUMN.stage]], NONE
    )
    outcome[:, OUT_INBOUND] = rows.inbound[kept]
    return state, action, outcome, rows.value[kept], rows.day[kept], rows.customer[kept]


def simulated(journey: Journey, behavior: str, customers: int, days: int, seed: int) -> Days:
    """Days as `journey simulate` would write them, without writing; customers are numbered from 0."""
    simulator, decide = Simulator(journey, customers, seed), deciders(behavior)(journey)
    rows = StateRows(journey)
    firsts: Ints = np.zeros(0, np.int64)
    columns: list[tuple[Array, ...]] = []
    for day in range(days):
        alive = np.flatnonzero(simulator.states[:, COLUMN.stage] != journey.rules.churned)
        at = rows.of(simulator.states[alive])
        firsts = at if day == 0 else firsts
        if day == days - 1:
            break  # still open where the log ends
        legal, observed = simulator.legal[alive].copy(), simulator.observations[alive]
        chances = np.ascontiguousarray(decide(simulator.states[alive], observed, legal))
        chosen, propensity = np.zeros(len(alive), np.int64), np.zeros(len(alive))
        draw(chances, seed, simulator.customers[alive], np.full(len(alive), day), chosen, propensity)
        actions = np.zeros(customers, np.int64)
        actions[alive] = chosen
        result = simulator.step(actions)
        columns.append((at, chosen, result.outcomes[alive], result.values[alive].astype(np.float64)))
    at, chosen, outcome, value = (np.concatenate(part) for part in zip(*columns, strict=True))
    return added_up(at, chosen, outcome, value, firsts)
