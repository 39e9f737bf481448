"""A whole log folded by the compiled `apply` and `close_day`: one row a customer-day.

The twin of `customer.py` for millions of events: the same moves, plus what the likelihood needs
of each day, from decision to decision. A day is cut at its decision row, else at its first
contact, else at the hour the caller states. A further contact of a day gets a row of its own
(`primary` 0). Holds no probabilities; personas are not told apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled
from envs.day.day import NONE
from envs.day.fold import CONTACT, apply, close_day, in_season
from envs.day.masks import legal_bits
from envs.day.rewards import CLOSE, add_reward
from envs.day.start import start_state
from envs.day.states import store_state
from envs.journey.journey import compile_journey
from envs.journey.packed import CHURNED, IS_SERVICE, OFFER_ON_CONTACT
from envs.journey.state import State
from envs.scenario.events import Kind
from envs.scenario.schema import COMPONENTS, Scenario
from envs.timeline.columns import Columns, day_number
from envs.timeline.rows import (
    AFTER_CHURN,
    FAULTS,
    FURTHER,
    ILLEGAL,
    NO_CONSENT,
    REPLACED,
    Rows,
    blank_rows,
    note_contact,
    note_outcome,
    open_row,
)

DECISION = int(Kind.DECISION)


class Plan(NamedTuple):
    """The modelled days."""

    at: int  # second of a day at which a decision without a row is taken to be made
    first_day: int
    last_day: int
    everybody: bool  # all customers start on the first day


class Starts(NamedTuple):
    """Where each customer stands before the first event, (N,) each."""

    stage: Ints  # int64
    consent: Ints  # int64 bits


@dataclass(frozen=True)
class Replay:
    """The result for some customers."""

    rows: Rows
    final: Ints  # (n, 12) int16 state after each customer's last event
    faults: dict[str, int]
    rewards: Floats | None = None  # (n, R) float64 components each row earned, where asked for


@compiled
def _cut(columns: Any, start: int, end: int) -> int:
    """The event that is the day's decision: its first decision row, else its first contact of ours."""
    first = NONE
    for n in range(start, end):
        if columns.day[n] != columns.day[start]:
            break
        if columns.kind[n] == DECISION:
            return n
        if first < 0 and columns.kind[n] == CONTACT and columns.action[n] > 0:
            first = n
    return first


class _Events(NamedTuple):
    """The columns that compiled code reads."""

    offsets: Ints
    day: Ints
    second: Ints
    kind: Ints
    touchpoint: Ints
    channel: Ints
    level: Ints
    action: Ints
    value: Floats
    propensity: Floats
    order: Ints


@compiled
def _close(m: Any, price: Any, state: State, out: Rows, row: int, day: int, earned: Any) -> State:
    """End a day; the row of that day learns the state its inbound hazard reads."""
    before = state
    state = close_day(m, before)
    if row >= 0 and row < len(earned) and out.day[row] == day:
        add_reward(m, price, before, state, CLOSE, NONE, NONE, 0.0, earned[row])
    if row >= 0 and out.day[row] == day and out.closing[row, 0] < 0 and state.stage != m[CHURNED]:
        out.closing[row, 0], out.closing[row, 1] = state.stage, state.goodwill
        out.closing[row, 2] = state.inbox > 0
    return state


@compiled
def _replay(
    m: Any, price: Any, events: _Events, plan: Plan, starts: Starts,
    season_start: int, low: int, high: int, out: Rows, final: Any, faults: Any, earned: Any,
) -> int:  # fmt: skip
    """Customers low..high-1; returns the number of rows written. `earned` (0, R): no rewards."""
    count = 0
    for who in range(low, high):
        n, end = events.offsets[who], events.offsets[who + 1]
        day = events.day[n] if end > n else plan.first_day
        fresh = not plan.everybody  # the day of the first event counts only from its decision on
        if plan.everybody:
            day = min(day, plan.first_day)
        state = start_state(m, starts.stage[who], starts.consent[who])
        if season_start >= 0:
            state = in_season(m, state, day - season_start)
        row, extra, ever = NONE, NONE, False
        stop = max(plan.last_day, events.day[end - 1] if end > n else day)
        while day <= stop:
            modelled = plan.first_day <= day <= plan.last_day
            today = n < end and events.day[n] == day
            cut = _cut(events, n, end) if today else NONE
            pending = modelled
            if fresh and today and cut < 0 and events.second[n] > plan.at:
                pending = False
            fresh = False
            while n < end and events.day[n] == day:
                kind = events.kind[n]
                due = n == cut if cut >= 0 else events.second[n] >= plan.at
                if pending and due and state.stage != m[CHURNED]:
                    explicit = n == cut and kind == DECISION
                    open_row(
                        m, state, out, count, who, day, 1,
                        events.action[n] if explicit else NONE,
                        events.propensity[n] if explicit else np.nan,
                        events.order[n] if explicit else NONE,
                    )  # fmt: skip
                    if explicit and legal_bits(m, state) >> max(events.action[n], 0) & 1 == 0:
                        faults[ILLEGAL] += 1
                    row, extra, count, pending = count, NONE, count + 1, False
                if day > plan.last_day and due:
                    row, extra = NONE, NONE  # no longer the outcome of a modelled decision
                if kind == DECISION:
                    n += 1
                    continue
                touchpoint, channel, level = events.touchpoint[n], events.channel[n], events.level[n]
                before = state
                if before.stage == m[CHURNED]:
                    faults[AFTER_CHURN] += 1
                state = apply(m, before, kind, touchpoint, channel, level)
                if row >= 0 and row < len(earned):
                    add_reward(
                        m, price, before, state, kind, touchpoint, channel, events.value[n], earned[row]
                    )
                if kind == CONTACT:
                    action = events.action[n]
                    marketing = touchpoint < 0 or m[m[IS_SERVICE] + touchpoint] == 0
                    faults[NO_CONSENT] += marketing and before.consent >> channel & 1 == 0
                    if before.offer > 0 and touchpoint >= 0:
                        faults[REPLACED] += m[m[OFFER_ON_CONTACT] + touchpoint] > 0
                    ever = True
                    if row >= 0:
                        expected = n == cut or out.assigned[row] == action
                        if action > 0 and expected and out.action[row] == 0:
                            note_contact(m, before, state, action, out, row)
                        elif action > 0 and modelled and before.stage != m[CHURNED]:
                            faults[FURTHER] += 1
                            open_row(m, before, out, count, who, day, 0, NONE, np.nan, NONE)
                            out.in_play[count] = NONE
                            note_contact(m, before, state, action, out, count)
                            extra, count = count, count + 1
                else:
                    note_outcome(
                        m, before, state, kind, touchpoint, channel, level,
                        events.value[n], ever, out, row, extra, faults,
                    )  # fmt: skip
                n += 1
            if today and n == end:
                store_state(state, final[who - low])
            if pending and state.stage != m[CHURNED]:
                open_row(m, state, out, count, who, day, 1, NONE, np.nan, NONE)
                row, extra, count = count, NONE, count + 1
            if n == end and state.stage == m[CHURNED]:
                break
            state = _close(m, price, state, out, row, day, earned)
            if state.stage == m[CHURNED]:
                row, extra = NONE, NONE
            day += 1
            if season_start >= 0:
                state = in_season(m, state, day - season_start)
    return count


def replay(
    log: Columns,
    scenario: Scenario,
    plan: Plan,
    starts: Starts | None = None,
    block_rows: int = 4_000_000,
    rewards: bool = False,
) -> Iterator[Replay]:
    """Fold a log in blocks of customers of at most about `block_rows` rows each.

    Without `starts` every customer begins as one never seen: consent denied. `rewards`: also
    what each row earned, from its decision to the next.
    """
    journey = compile_journey(scenario, scenario.clusters[0].name)  # the rules and prices only
    machine = journey.machine
    number = {s.name: i for i, s in enumerate(scenario.stages)}
    events = _Events(*(getattr(log, name) for name in _Events._fields))
    season = scenario.memory.opportunities.season_start
    customers = len(log.offsets) - 1
    if starts is None:
        begin = number[scenario.new_customer.stage]
        starts = Starts(np.full(customers, begin, np.int64), np.zeros(customers, np.int64))
    limits = _row_limits(log, plan)
    low = 0
    while low < customers:
        base = limits[low - 1] if low else 0
        high = max(int(np.searchsorted(limits, base + block_rows, side="right")), low + 1)
        out = blank_rows(int(limits[high - 1] - base))
        final = np.zeros((high - low, len(State._fields)), dtype=np.int16)
        faults = np.zeros(len(FAULTS), dtype=np.int64)
        earned = np.zeros((len(out.day) if rewards else 0, len(COMPONENTS)))
        count = _replay(
            machine, journey.packed[0].price, events, plan, starts,
            day_number(season) if season else NONE, low, high, out, final, faults, earned,
        )  # fmt: skip
        rows = Rows._make(array[:count] for array in out)
        counted = dict(zip(FAULTS, faults.tolist(), strict=True))
        yield Replay(rows, final, counted, earned[:count] if rewards else None)
        low = high


def _row_limits(log: Columns, plan: Plan) -> Ints:
    """(N,) cumulative upper bounds of the rows: days of the window, and a contact may add one."""
    entry = log.day[np.minimum(log.offsets[:-1], log.events - 1)]
    first = np.where(np.diff(log.offsets) > 0, entry, plan.first_day)
    if plan.everybody:
        first = np.minimum(first, plan.first_day)
    days = np.maximum(plan.last_day - np.maximum(first, plan.first_day) + 1, 0)
    contacts = np.concatenate([[0], np.cumsum(log.kind == CONTACT)])
    return np.cumsum(days + contacts[log.offsets[1:]] - contacts[log.offsets[:-1]])


def plan_of(log: Columns, at: dt.time, first: dt.date | None, last: dt.date | None, everybody: bool) -> Plan:
    """The modelled days of a log: stated, else all of it up to the last day that reached `at`."""
    second = (at.hour * 60 + at.minute) * 60 + at.second
    reached = log.day - (log.second < second)
    return Plan(
        at=second,
        first_day=day_number(first) if first else int(log.day.min()),
        last_day=day_number(last) if last else int(reached.max()),
        everybody=everybody,
    )
