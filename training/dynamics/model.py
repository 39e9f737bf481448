"""A day's events, learned: one regression an event, in the order in which a day is lived.

Each asks how likely the event is given the state, the action and what happened before it that day;
which of these matter is found out, nothing of it is told (`regression.py`). Several stages, or channels
of a request, are asked about one after the other. A response is asked about as one to the contact
that it would answer, which may be of an earlier day; what follows it counts by that contact too.
What an event then does to a state and what it is worth are the rules' and the prices' business.
N states, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.compiled import compiled
from envs.day.chances import contact_in_play, response_row
from envs.day.day import (
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    play_day,
    possible,
)
from envs.day.states import GONE, StateRows, row_of, state_of
from envs.journey.journey import Journey
from envs.journey.state import COLUMN, State
from envs.scenario.schema import COMPONENTS
from training.dynamics.counts import Days
from training.dynamics.regression import Cells, Odds, fit_chances, fit_means
from training.dynamics.terms import Terms

RESPONDS, LEAVES, RESOLVES, REDEEMS, TRIALS = 0, 1, 2, 3, 4  # what may be possible on a day, and how many


@compiled
def _contact(m: Any, state: State, action: int) -> tuple[int, int]:
    """The action that a response of today would answer (0: none), and whether it is of an earlier day."""
    row = response_row(m, state, action)
    if row < 0:
        return 0, 0
    contact, age = contact_in_play(m, row)
    return contact, 1 if age > 0 else 0


@compiled
def _contacts(m: Any, states: int, rows: Any, answered: Any, late: Any) -> None:
    """The same of all actions (N, A) in the states of rows (N,)."""
    for n in range(len(rows)):
        state = state_of(m, states, rows[n])
        for a in range(answered.shape[1]):
            answered[n, a], late[n, a] = _contact(m, state, a)


@compiled
def _facts(
    m: Any, price: Any, states: int, rows: Any, actions: Any, outcomes: Any, tried: Any, answered: Any,
    late: Any, closed: Any,
) -> None:  # fmt: skip
    """Of each day: what could happen (n, 4), the contact answered, whether late, the row at its close."""
    reward = np.zeros(len(COMPONENTS))
    for n in range(len(rows)):
        state = state_of(m, states, rows[n])
        answers, leaves, settles, held = possible(m, state, actions[n])
        tried[n, RESPONDS], tried[n, LEAVES], tried[n, RESOLVES] = answers >= 0, leaves >= 0, settles >= 0
        tried[n, REDEEMS] = held >= 0 and outcomes[n, OUT_PURCHASE] >= 0
        answered[n], late[n] = _contact(m, state, actions[n])
        after = play_day(m, price, state, actions[n], outcomes[n].astype(np.int64), 0.0, reward)
        closed[n] = row_of(m, states, after)


class Chances(NamedTuple):
    """Of every state and action; the last axis of `purchase` and `stage`: responded today or not."""

    response: Floats  # (N, A)
    opt_out: Floats  # (N, A)
    resolution: Floats  # (N, A)
    purchase: Floats  # (N, A, 2)
    redemption: Floats  # (N, A)
    stage: Floats  # (N, A, 2, stages) of moving there
    value: Floats  # (N, A) mean of a purchase


@dataclass(frozen=True)
class DayModel:
    """What was learned."""

    journey: Journey
    events: dict[str, Odds | None]  # None: never seen
    moves: list[tuple[int, Ints, Odds]]  # target stage, stages it was seen from, odds, in this order
    requests: list[tuple[int, Odds]]  # channel, odds, in this order
    value: Odds | None

    def chances(self, rows: Ints, observations: Floats) -> Chances:
        """Of the states of rows (N,), with observations (N, F)."""
        shape = len(rows), len(self.journey.actions)
        answered, late = np.empty(shape, np.int64), np.empty(shape, np.int64)
        machine, states = self.journey.packed[0].machine, StateRows(self.journey).states
        _contacts(machine, states, np.asarray(rows, np.int64), answered, late)
        every, no = np.tile(np.arange(shape[1]), (shape[0], 1)), np.zeros(shape, np.int64)

        def of(name: str, action: Ints = every, earlier: Ints = no) -> Floats:
            odds = self.events[name]
            return np.zeros(shape) if odds is None else odds.chances(observations, action, answered, earlier)

        stages, stage = (
            int(self.journey.rules.sizes[COLUMN.stage]) + 1,
            observations[:, COLUMN.stage].astype(np.int64),
        )
        moving, left = np.zeros((*shape, 2, stages)), np.ones((*shape, 2))
        for target, sources, odds in self.moves:
            both = [odds.chances(observations, every, answered, earlier) for earlier in (no, no + 1)]
            share = np.stack(both, axis=-1) * np.isin(stage, sources)[:, None, None]
            moving[..., target] = left * share
            left = left * (1.0 - share)
        return Chances(
            response=of("response", answered, late), opt_out=of("opt_out"), resolution=of("resolution"),
            purchase=np.stack([of("purchase"), of("purchase", earlier=no + 1)], axis=-1),
            redemption=of("redemption"), stage=moving,
            value=no + 0.0 if self.value is None else self.value.means(observations, every, answered, no),
        )  # fmt: skip

    def request_chances(self, observations: Floats) -> Floats:
        """(N, Q) of a request on each channel of `requests`, for states after the close."""
        out, left = np.zeros((len(observations), len(self.requests))), np.ones(len(observations))
        no = np.zeros((len(observations), 1), np.int64)
        for number, (_, odds) in enumerate(self.requests):
            share = odds.chances(observations, no, no, no)[:, 0]
            out[:, number] = left * share
            left = left * (1.0 - share)
        return out


def fit_days(journey: Journey, days: Days, between: Callable[[], None] = lambda: None) -> DayModel:
    """All regressions; `between` is called after each."""
    rows = StateRows(journey)
    tried, shape = np.zeros((len(days.row), TRIALS), dtype=bool), len(days.row)
    answered, late, closed = (np.empty(shape, dtype=np.int64) for _ in range(3))
    packed, lived = journey.packed[0], (days.row, days.action, days.outcome)
    _facts(packed.machine, packed.price, rows.states, *lived, tried, answered, late, closed)
    met, at = np.unique(days.row, return_inverse=True)
    observations, outcome = rows.describe(met)[0], days.outcome
    day, answer, always = Terms(journey), Terms(journey, answering=True), np.ones(len(at), dtype=bool)
    responded = (outcome[:, OUT_RESPONSE] >= 0).astype(np.int64)
    bought, never = outcome[:, OUT_PURCHASE] >= 0, np.zeros(len(at), np.int64)

    def fitted(
        happened: Array, among: Mask, earlier: Ints = never, action: Ints = days.action, terms: Terms = day
    ) -> Odds | None:
        cells = _cells((at, action, answered, earlier), days.count, happened, among)
        between()
        return fit_chances(terms, observations, cells) if cells.total.sum() > 0 else None

    events = {
        "response": fitted(responded == 1, tried[:, RESPONDS], late, answered, answer),
        "opt_out": fitted(outcome[:, OUT_OPT_OUT] >= 0, tried[:, LEAVES]),
        "resolution": fitted(outcome[:, OUT_RESOLUTION] >= 0, tried[:, RESOLVES]),
        "purchase": fitted(bought, always, responded),
        "redemption": fitted(outcome[:, OUT_REDEMPTION] >= 0, tried[:, REDEEMS]),
    }
    value = None
    if days.value.sum() > 0.0:  # purchases without an amount are worth nothing
        cells = _cells((at, days.action, never, never), days.count, days.value / days.count, bought)
        value = fit_means(day, observations, cells, days.variation)
    stage = observations[at, 0].astype(np.int64)
    ruled = bought & (np.asarray(journey.rules.purchase_to)[stage] >= 0)  # moved by the purchase itself
    moves, left = [], ~ruled
    churned = journey.rules.churned
    for target in (churned, *range(churned)):
        moved = outcome[:, OUT_STAGE] == target
        sources = np.unique(stage[left & moved])
        odds = fitted(moved, left & np.isin(stage, sources), responded)
        if odds is not None:
            moves.append((target, sources, odds))
        left = left & ~moved
    return DayModel(journey, events, moves, _requests(journey, rows, closed, days, between), value)


def _requests(
    journey: Journey, rows: StateRows, closed: Ints, days: Days, between: Callable[[], None]
) -> list[tuple[int, Odds]]:
    """A request after the close, channel by channel: it depends on the state then."""
    terms, lives = Terms(journey, acting=False), closed != GONE
    met, at = np.unique(closed[lives], return_inverse=True)
    observations = rows.describe(met)[0]
    asked, count, nothing = days.outcome[lives, OUT_INBOUND], days.count[lives], np.zeros(len(at), np.int64)
    left, found = np.ones(len(at), dtype=bool), []
    for channel in np.unique(asked[asked >= 0]).tolist():
        cells = _cells((at, nothing, nothing, nothing), count, asked == channel, left)
        between()
        found.append((int(channel), fit_chances(terms, observations, cells)))
        left = left & (asked != channel)
    return found


def _cells(where: tuple[Ints, ...], count: Floats, happened: Array, among: Mask) -> Cells:
    """Add up the days among which the event could happen; `happened` may be an amount a day.

    `where`: state, action, answered, earlier (n,).
    """
    state, action, answered, earlier = (part[among] for part in where)
    count, happened = count[among], happened[among]
    answered = answered * earlier  # not read elsewhere: fewer cells
    shape = [int(part.max(initial=0)) + 1 for part in (state, action, answered, earlier)]
    code, which = np.unique(
        np.ravel_multi_index((state, action, answered, earlier), shape), return_inverse=True
    )
    state, action, answered, earlier = np.unravel_index(code, shape)
    trials, total = (np.asarray(np.bincount(which, w), np.float64) for w in (count, count * happened))
    return Cells(state, action, answered, earlier, trials, total)
