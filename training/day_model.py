"""A day's events, learned: one regression an event, in the order in which a day is lived.

Each asks how likely the event is given the state, the action and what happened before it that day;
which of these matter is found out, nothing of it is told (`odds.py`). Several stages, or channels
of a request, are asked about one after the other. What an event then does to a state and what it
is worth are the rules' and the prices' business. N states, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from envs.compiled import compiled
from envs.day import (
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
from envs.journey import Journey
from envs.scenario import COMPONENTS
from envs.state_rows import GONE, StateRows, row_of, state_of
from training.day_terms import Terms
from training.days import Days
from training.odds import Cells, Odds, fit_chances, fit_means

RESPONDS, LEAVES, RESOLVES = 0, 1, 2  # what can happen to a customer on an action


@compiled
def _facts(
    m: Any, price: Any, states: int, rows: Any, actions: Any, outcomes: Any, tried: Any, closed: Any
) -> None:
    """Of each day: what could happen (n, 3), and the row after its close (n,)."""
    reward = np.zeros(len(COMPONENTS))
    for n in range(len(rows)):
        state = state_of(m, states, rows[n])
        answers, leaves, settles, _ = possible(m, state, actions[n])
        tried[n, RESPONDS], tried[n, LEAVES], tried[n, RESOLVES] = answers >= 0, leaves >= 0, settles >= 0
        after = play_day(m, price, state, actions[n], outcomes[n].astype(np.int64), 0.0, reward)
        closed[n] = row_of(m, states, after)


class Chances(NamedTuple):
    """Of every state and action; the last axis of `purchase` and `stage`: responded today or not."""

    response: Any  # (N, A)
    opt_out: Any  # (N, A)
    resolution: Any  # (N, A)
    purchase: Any  # (N, A, 2)
    redemption: Any  # (N, A)
    stage: Any  # (N, A, 2, stages) of moving there
    value: Any  # (N, A) mean of a purchase


@dataclass(frozen=True)
class DayModel:
    """What was learned."""

    journey: Journey
    events: dict[str, Odds | None]  # None: never seen
    moves: list[tuple[int, Any, Odds]]  # target stage, stages it was seen from, odds, in this order
    requests: list[tuple[int, Odds]]  # channel, odds, in this order
    value: Odds | None

    def chances(self, observations: Any) -> Chances:
        """Of states with these observations (N, F)."""
        n, actions = len(observations), len(self.journey.actions)
        stages = int(self.journey.rules.sizes[0]) + 1
        stage = observations[:, 0].astype(np.int64)

        def of(name: str, earliers: int = 1) -> Any:
            odds = self.events[name]
            return np.zeros((n, actions, earliers)) if odds is None else odds.chances(observations, earliers)

        moving, left = np.zeros((n, actions, 2, stages)), np.ones((n, actions, 2))
        for target, sources, odds in self.moves:
            share = odds.chances(observations, 2) * np.isin(stage, sources)[:, None, None]
            moving[..., target] = left * share
            left = left * (1.0 - share)
        value = np.zeros((n, actions)) if self.value is None else self.value.means(observations)
        return Chances(
            of("response")[..., 0], of("opt_out")[..., 0], of("resolution")[..., 0], of("purchase", 2),
            of("redemption")[..., 0], moving, value,
        )  # fmt: skip

    def request_chances(self, observations: Any) -> Any:
        """(N, Q) of a request on each channel of `requests`, for states after the close."""
        out, left = np.zeros((len(observations), len(self.requests))), np.ones(len(observations))
        for number, (_, odds) in enumerate(self.requests):
            share = odds.chances(observations)[:, 0, 0]
            out[:, number] = left * share
            left = left * (1.0 - share)
        return out


def fit_days(journey: Journey, days: Days, between: Callable[[], None] = lambda: None) -> DayModel:
    """All regressions; `between` is called after each."""
    rows = StateRows(journey)
    tried, closed = np.zeros((len(days.row), 3), dtype=bool), np.empty(len(days.row), dtype=np.int64)
    packed = journey.packed[0]
    _facts(packed.machine, packed.price, rows.states, days.row, days.action, days.outcome, tried, closed)
    met, at = np.unique(days.row, return_inverse=True)
    observations, outcome = rows.describe(met)[0], days.outcome
    terms, always = Terms(journey), np.ones(len(at), dtype=bool)
    responded = (outcome[:, OUT_RESPONSE] >= 0).astype(np.int64)
    bought = outcome[:, OUT_PURCHASE] >= 0

    def fitted(happened: Any, among: Any, earlier: Any = None) -> Odds | None:
        cells = _cells(at, days.action, earlier, days.count, happened, among)
        between()
        return fit_chances(terms, observations, cells) if cells.total.sum() > 0 else None

    events = {
        "response": fitted(responded == 1, tried[:, RESPONDS]),
        "opt_out": fitted(outcome[:, OUT_OPT_OUT] >= 0, tried[:, LEAVES]),
        "resolution": fitted(outcome[:, OUT_RESOLUTION] >= 0, tried[:, RESOLVES]),
        "purchase": fitted(bought, always, responded),
        "redemption": fitted(outcome[:, OUT_REDEMPTION] >= 0, bought),
    }
    value = None
    if days.value.sum() > 0.0:  # purchases without an amount are worth nothing
        cells = _cells(at, days.action, None, days.count, days.value / days.count, bought)
        value = fit_means(terms, observations, cells, days.variation)
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
    journey: Journey, rows: StateRows, closed: Any, days: Days, between: Callable[[], None]
) -> list[tuple[int, Odds]]:
    """A request after the close, channel by channel: it depends on the state then."""
    terms, lives = Terms(journey, acting=False), closed != GONE
    met, at = np.unique(closed[lives], return_inverse=True)
    observations = rows.describe(met)[0]
    asked, count, nothing = days.outcome[lives, OUT_INBOUND], days.count[lives], np.zeros(len(at), np.int64)
    left, found = np.ones(len(at), dtype=bool), []
    for channel in np.unique(asked[asked >= 0]).tolist():
        cells = _cells(at, nothing, None, count, asked == channel, left)
        between()
        found.append((int(channel), fit_chances(terms, observations, cells)))
        left = left & (asked != channel)
    return found


def _cells(at: Any, action: Any, earlier: Any, count: Any, happened: Any, among: Any) -> Cells:
    """Add up the days among which the event could happen; `happened` may be an amount a day."""
    at, action, count, happened = at[among], action[among], count[among], happened[among]
    earlier = np.zeros(len(at), np.int64) if earlier is None else earlier[among]
    actions = int(action.max(initial=0)) + 1
    code, which = np.unique((at * actions + action) * 2 + earlier, return_inverse=True)
    trials, total = np.bincount(which, count), np.bincount(which, count * happened)
    return Cells(code // 2 // actions, code // 2 % actions, code % 2, trials, total)
