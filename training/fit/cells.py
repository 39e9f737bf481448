"""A replayed log as counts in the shapes of `envs.journey.tables.Tables`: trials and events a cell.

What a likelihood needs of millions of customer-days is a few arrays; everything that is
estimated, compared or calibrated reads them. Holds no coefficients and no rules of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.compiled import compiled
from envs.day.chances import response_index
from envs.journey.journey import Journey
from envs.journey.packed import ADVANCE_TO, GOODWILLS, INBOX_CHANNEL, LAPSE_TO, OFFERS
from envs.journey.state import COLUMN
from envs.journey.tables import Tables
from envs.timeline.rows import ADVANCED, LAPSED, LEFT, OTHER, Rows

EVENTS = (
    "response",
    "opt_out",
    "resolution",
    "purchase",
    "churn",
    "advance",
    "lapse",
    "inbound",
    "redemption",
)
"""Bernoulli events, each with `(trials, events)` arrays of the shape of its table."""


@dataclass(frozen=True)
class Cells:
    """Counts of H groups of customers (clusters, halves): every array is (H, shape of the table)."""

    trials: dict[str, Ints]
    events: dict[str, Ints]
    asked: Ints  # (H, C) requests by channel
    purchases: Ints  # (H, L·O) days with a purchase
    value: Floats  # (H, L·O) their summed value
    value_squared: Floats  # (H, L·O)
    stages: Ints  # (H, L) customers by the stage of their first row
    consents: Ints  # (H, C) customers with consent at their first row

    def __add__(self, other: Cells) -> Cells:
        """Counts of two parts of a log together."""
        return Cells(
            {e: self.trials[e] + other.trials[e] for e in EVENTS},
            {e: self.events[e] + other.events[e] for e in EVENTS},
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)[2:]),
        )

    def group(self, *groups: int) -> Cells:
        """The groups together, as one group."""
        which = list(groups)

        def chosen(array: Array) -> Array:
            out: Array = array[which].sum(axis=0, keepdims=True)
            return out

        return Cells(
            {e: chosen(self.trials[e]) for e in EVENTS},
            {e: chosen(self.events[e]) for e in EVENTS},
            *(chosen(getattr(self, f.name)) for f in fields(self)[2:]),
        )

    @property
    def customers(self) -> Ints:
        """(H,) customers."""
        out: Ints = self.stages.sum(axis=1)
        return out


def stack(groups: list[Cells]) -> Cells:
    """Counts of several groups, one after the other."""

    def joined(arrays: list[Array]) -> Array:
        return np.concatenate(arrays, axis=0)

    return Cells(
        {e: joined([g.trials[e] for g in groups]) for e in EVENTS},
        {e: joined([g.events[e] for g in groups]) for e in EVENTS},
        *(joined([getattr(g, f.name) for g in groups]) for f in fields(groups[0])[2:]),
    )


def blank_cells(journey: Journey, groups: int) -> Cells:
    """Zero counts in the journey's shapes."""
    tables = journey.personas[0]
    shapes = {e: (groups, *np.shape(getattr(tables, e))) for e in EVENTS}
    channels, stages = len(journey.scenario.channels), len(journey.scenario.stages)
    worth = (groups, len(tables.value))
    return Cells(
        {e: np.zeros(shape, np.int64) for e, shape in shapes.items()},
        {e: np.zeros(shape, np.int64) for e, shape in shapes.items()},
        np.zeros((groups, channels), np.int64), np.zeros(worth, np.int64), np.zeros(worth), np.zeros(worth),
        np.zeros((groups, stages), np.int64), np.zeros((groups, channels), np.int64),
    )  # fmt: skip


def count_rows(cells: Cells, rows: Rows, group: Ints, journey: Journey) -> None:
    """Add rows to the counts; `group` (N,) by customer position, -1 leaves a customer out."""
    _count(
        journey.machine, rows, group, *(cells.trials[e] for e in EVENTS), *(cells.events[e] for e in EVENTS),
        cells.asked, cells.purchases, cells.value, cells.value_squared,
    )  # fmt: skip
    first = np.flatnonzero((rows.primary == 1) & np.diff(rows.customer, prepend=-1).astype(bool))
    who = group[rows.customer[first]]
    first, who = first[who >= 0], who[who >= 0]
    np.add.at(cells.stages, (who, rows.state[first, COLUMN.stage]), 1)
    for channel in range(cells.consents.shape[1]):
        np.add.at(cells.consents[:, channel], who, rows.state[first, COLUMN.consent] >> channel & 1)


@compiled
def _count(
    m: Any, rows: Rows, group: Any,
    response_n: Any, opt_out_n: Any, resolution_n: Any, purchase_n: Any, churn_n: Any, advance_n: Any,
    lapse_n: Any, inbound_n: Any, redemption_n: Any,
    response_y: Any, opt_out_y: Any, resolution_y: Any, purchase_y: Any, churn_y: Any, advance_y: Any,
    lapse_y: Any, inbound_y: Any, redemption_y: Any,
    asked: Any, purchases: Any, value: Any, value_squared: Any,
) -> None:  # fmt: skip
    for r in range(len(rows.customer)):
        h = group[rows.customer[r]]
        if h < 0:
            continue
        stage, engagement = np.int64(rows.state[r, COLUMN.stage]), np.int64(rows.state[r, COLUMN.engagement])
        fatigue, goodwill = np.int64(rows.state[r, COLUMN.fatigue]), np.int64(rows.state[r, COLUMN.goodwill])
        offer, action = np.int64(rows.offer[r]), rows.action[r]
        j, k = response_index(m, stage, engagement, offer, fatigue, goodwill)
        if rows.in_play[r] >= 0:
            response_n[h, rows.in_play[r], j] += 1
            response_y[h, rows.in_play[r], j] += rows.answered[r]
        if rows.opt_out[r] >= 0:
            opt_out_n[h, action, fatigue] += 1
            opt_out_y[h, action, fatigue] += rows.opt_out[r]
        if rows.resolution[r] >= 0:
            wished = m[m[INBOX_CHANNEL] + rows.state[r, COLUMN.inbox]]
            resolution_n[h, action, wished] += 1
            resolution_y[h, action, wished] += rows.resolution[r]
        if rows.primary[r] == 0:
            continue
        bought = 1 if rows.purchases[r] > 0 else 0
        purchase_n[h, rows.responded[r] + 1, k] += 1
        purchase_y[h, rows.responded[r] + 1, k] += bought
        if bought == 1:
            cell = stage * m[OFFERS] + offer
            purchases[h, cell] += 1
            value[h, cell] += rows.value[r]
            value_squared[h, cell] += rows.value[r] ** 2
            if rows.held[r] > 0:
                redemption_n[h, rows.held[r]] += 1
                redemption_y[h, rows.held[r]] += 1 if rows.redeemed[r] >= 0 else 0
        move = rows.move[r]
        if move >= 0 and move != OTHER:
            column = fatigue * m[GOODWILLS] + goodwill
            churn_n[h, stage, column] += 1
            churn_y[h, stage, column] += 1 if move == LEFT else 0
            if move != LEFT and m[m[ADVANCE_TO] + stage] >= 0:
                advance_n[h, rows.responded[r] + 1, k] += 1
                advance_y[h, rows.responded[r] + 1, k] += 1 if move == ADVANCED else 0
            if move != LEFT and move != ADVANCED and m[m[LAPSE_TO] + stage] >= 0:
                lapse_n[h, stage] += 1
                lapse_y[h, stage] += 1 if move == LAPSED else 0
        if rows.closing[r, 0] >= 0:
            column = rows.closing[r, 0] * m[GOODWILLS] + rows.closing[r, 1]
            waiting = rows.closing[r, 2]
            inbound_n[h, waiting, column] += 1
            if rows.inbound[r] >= 0:
                inbound_y[h, waiting, column] += 1
                asked[h, rows.inbound[r]] += 1


def log_likelihood(cells: Cells, tables: Tables, events: tuple[str, ...] = EVENTS[:-1]) -> float:
    """Of one group's Bernoulli outcomes under these probabilities, in nats."""
    return sum(bernoulli(cells.trials[e][0], cells.events[e][0], getattr(tables, e)) for e in events)


def bernoulli(trials: Ints, events: Ints, p: Floats) -> float:
    """Σ y log p + (n − y) log(1 − p) over the cells; p is kept off 0 and 1 by 1e-9."""
    seen = trials > 0
    n, y = trials[seen], events[seen]
    q = np.clip(np.asarray(p)[seen], 1e-9, 1.0 - 1e-9)
    return float((y * np.log(q) + (n - y) * np.log1p(-q)).sum())


def marginal_likelihood(cells: Cells, fitted_on: Cells) -> float:
    """The same for one constant rate an event, taken from `fitted_on`."""
    total = 0.0
    for event in EVENTS[:-1]:
        n, y = fitted_on.trials[event].sum(), fitted_on.events[event].sum()
        rate = (y + 0.5) / (n + 1.0)
        total += bernoulli(cells.trials[event], cells.events[event], np.full(cells.trials[event].shape, rate))
    return total
