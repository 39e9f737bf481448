"""A whole log folded by the compiled `apply` and `close_day`: one row a customer-day.

The twin of `fold.py` for millions of events: the same moves, plus what the likelihood needs
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

from envs.advance import (
    CONTACT, INBOUND, OPT_OUT, PURCHASE, REDEMPTION, RESOLUTION, RESPONSE, STAGE, SURVEY,
    apply, close_day,
)  # fmt: skip
from envs.columns import Columns, day_number
from envs.compiled import compiled
from envs.events import Kind
from envs.journey import compile_journey
from envs.machine import (
    ACTION_CHANNEL, ACTION_TOUCHPOINT, ADVANCE_TO, CHURNED, GAP_DAYS, GOODWILL_NEUTRAL, IS_SERVICE,
    LAPSE_TO, OFFER_KIND, OFFER_ON_CONTACT, OFFER_TOUCHPOINT, OPEN_ACTION, OPEN_AGE, PURCHASE_TO, SEASON_DAYS,
    WINDOW,
)  # fmt: skip
from envs.masks import legal_bits
from envs.rewards import CLOSE, add_reward
from envs.scenario import COMPONENTS, Scenario
from envs.simulator import store_state
from envs.state import State

DECISION = int(Kind.DECISION)
NONE = -1
MOVES = ("stay", "churn", "advance", "lapse", "other")
STAY, LEFT, ADVANCED, LAPSED, OTHER = range(5)
FAULTS = (
    "contacts_without_consent",
    "responses_without_contact",
    "resolutions_without_request",
    "events_after_churn",
    "illegal_actions",
    "late_responses",
    "responses_to_another_contact",
    "offers_replaced",
    "days_with_several_purchases",
    "further_contacts_of_a_day",
    "opt_outs_without_contact",
    "further_requests_of_a_day",
    "stage_moves_outside_the_model",
    "days_with_a_survey",
)
"""What replay counts; the first four are faults of a log, the others departures from the model."""
(NO_CONSENT, NO_CONTACT, NO_REQUEST, AFTER_CHURN, ILLEGAL, LATE, ANOTHER, REPLACED, SEVERAL,
 FURTHER, UNPROMPTED, REQUESTS, OUTSIDE, SURVEYED) = range(14)  # fmt: skip


class Rows(NamedTuple):
    """Customer-days, (n,) each: the state before the decision, the action, its outcomes."""

    customer: Any  # int32 position in `Columns.customers`
    day: Any  # int32 local day since 1970-01-01
    primary: Any  # int8 1: the day's decision; 0: a further contact of it
    state: Any  # (n, 12) int16
    assigned: Any  # int16 action of the decision row, -1 without one
    action: Any  # int16 action whose contact went out, 0 wait
    propensity: Any  # float32, NaN where unknown
    decision: Any  # int64 row of the log, -1 without one
    in_play: Any  # int32 action × window + age of the contact a response answers, -1 none
    offer: Any  # int8 offer kind in hand today, the contact's included
    answered: Any  # int8 1: a response to the contact in play
    responded: Any  # int16 touchpoint responded to today, -1 none
    opt_out: Any  # int8 -1 no trial, 0 stayed, 1 left
    resolution: Any  # int8 -1 no trial, 0, 1 resolved
    purchases: Any  # int16
    value: Any  # float64 of the day's purchases
    held: Any  # int8 offer kind that the first purchase could redeem
    redeemed: Any  # int16 touchpoint, -1 none
    move: Any  # int8 -1 no draw, else number in `MOVES`
    closing: Any  # (n, 3) int16 stage, goodwill, waiting after the close; stage -1: not observed
    inbound: Any  # int8 channel of the new request, -1 none


class Plan(NamedTuple):
    """The modelled days."""

    at: int  # second of a day at which a decision without a row is taken to be made
    first_day: int
    last_day: int
    everybody: bool  # all customers start on the first day


class Starts(NamedTuple):
    """Where each customer stands before the first event, (N,) each."""

    stage: Any  # int64
    consent: Any  # int64 bits


@dataclass(frozen=True)
class Replay:
    """The result for some customers."""

    rows: Rows
    final: Any  # (n, 12) int16 state after each customer's last event
    faults: dict[str, int]
    rewards: Any = None  # (n, R) float64 components each row earned, where asked for


def blank_rows(n: int) -> Rows:
    """Arrays for n rows."""
    i8, i16, i32, i64 = np.int8, np.int16, np.int32, np.int64
    return Rows(
        np.empty(n, i32), np.empty(n, i32), np.empty(n, i8), np.empty((n, 12), i16), np.empty(n, i16),
        np.empty(n, i16), np.empty(n, np.float32), np.empty(n, i64), np.empty(n, i32), np.empty(n, i8),
        np.empty(n, i8), np.empty(n, i16), np.empty(n, i8), np.empty(n, i8), np.empty(n, i16),
        np.empty(n, np.float64), np.empty(n, i8), np.empty(n, i16), np.empty(n, i8), np.empty((n, 3), i16),
        np.empty(n, i8),
    )  # fmt: skip


@compiled
def _open(
    m: Any, state: State, out: Rows, row: int, who: int, day: int, primary: int,
    assigned: int, propensity: float, decision: int,
) -> None:  # fmt: skip
    """A fresh row: nothing has happened yet."""
    out.customer[row], out.day[row], out.primary[row] = who, day, primary
    store_state(state, out.state[row])
    out.assigned[row], out.action[row], out.propensity[row] = assigned, 0, propensity
    out.decision[row], out.in_play[row] = decision, NONE
    if state.open_contact > 0:
        opened = state.open_contact
        out.in_play[row] = m[m[OPEN_ACTION] + opened] * m[WINDOW] + m[m[OPEN_AGE] + opened]
    out.offer[row], out.answered[row], out.responded[row] = m[m[OFFER_KIND] + state.offer], 0, NONE
    out.opt_out[row], out.resolution[row] = NONE, NONE
    out.purchases[row], out.value[row], out.held[row], out.redeemed[row] = 0, 0.0, 0, NONE
    out.move[row] = STAY if primary == 1 else NONE
    out.closing[row, 0], out.closing[row, 1], out.closing[row, 2] = NONE, NONE, NONE
    out.inbound[row] = NONE


@compiled
def _contact(
    m: Any, before: State, after: State, action: int, channel: int,
    out: Rows, row: int,
) -> None:  # fmt: skip
    """The row's contact went out: its trials begin."""
    out.action[row] = action
    out.offer[row] = m[m[OFFER_KIND] + after.offer]
    if before.consent >> channel & 1 == 1:
        out.opt_out[row] = 0
    if m[m[IS_SERVICE] + m[m[ACTION_TOUCHPOINT] + action]] == 0:
        out.in_play[row] = action * m[WINDOW]
    elif before.inbox > 0:
        out.resolution[row] = 0


@compiled
def _respond(
    m: Any, touchpoint: int, ever: bool, out: Rows, row: int, extra: int, faults: Any
) -> None:
    """A response: to the contact in play, the further contact of today, or neither."""
    for candidate in (row, extra):
        if candidate < 0 or out.in_play[candidate] < 0:
            continue
        played = m[m[ACTION_TOUCHPOINT] + out.in_play[candidate] // m[WINDOW]]
        if touchpoint == NONE or touchpoint == played:
            out.answered[candidate] = 1
            if row >= 0:
                out.responded[row] = played
            return
    if not ever:
        faults[NO_CONTACT] += 1
    elif row >= 0 and out.in_play[row] >= 0:
        faults[ANOTHER] += 1
    else:
        faults[LATE] += 1
    if row >= 0 and touchpoint >= 0:
        out.responded[row] = touchpoint


@compiled
def _move(m: Any, level: int, out: Rows, row: int) -> int:
    """Which of the competing moves a logged stage is, seen from the day's first stage."""
    stage = out.state[row, 0]
    if level == m[CHURNED]:
        return LEFT
    if level == m[m[ADVANCE_TO] + stage]:
        return ADVANCED
    return LAPSED if level == m[m[LAPSE_TO] + stage] else OTHER


@compiled
def _outcome(
    m: Any, before: State, after: State, kind: int, touchpoint: int,
    channel: int, level: int, value: float, ever: bool, out: Rows, row: int, extra: int, faults: Any,
) -> None:  # fmt: skip
    """Write one event, already applied, into the day's row."""
    if kind == RESPONSE:
        _respond(m, touchpoint, ever, out, row, extra, faults)
        return
    if kind == RESOLUTION and before.inbox == 0:
        faults[NO_REQUEST] += 1
    if kind == SURVEY:
        faults[SURVEYED] += 1
    if row < 0:
        return
    latest = extra if extra >= 0 else row
    if kind == OPT_OUT:
        for candidate in (latest, row):
            if m[m[ACTION_CHANNEL] + out.action[candidate]] == channel and out.opt_out[candidate] >= 0:
                out.opt_out[candidate] = 1
                return
        faults[UNPROMPTED] += before.consent != after.consent
    elif kind == RESOLUTION:
        if out.resolution[latest] == 0:
            out.resolution[latest] = 1
    elif kind == PURCHASE:
        if out.purchases[row] == 0 and m[m[OFFER_TOUCHPOINT] + before.offer] >= 0:
            out.held[row] = m[m[OFFER_KIND] + before.offer]
        faults[SEVERAL] += out.purchases[row] == 1
        out.purchases[row] += 1
        out.value[row] += value
        if m[m[PURCHASE_TO] + before.stage] >= 0 and out.move[row] == STAY:
            out.move[row] = NONE  # the rule-based move replaces the day's draw
    elif kind == REDEMPTION:
        out.redeemed[row] = touchpoint
    elif kind == STAGE:
        if level != before.stage and out.move[row] == STAY:
            out.move[row] = _move(m, level, out, row)
            faults[OUTSIDE] += out.move[row] == OTHER
    elif kind == INBOUND:
        faults[REQUESTS] += out.inbound[row] >= 0
        if out.inbound[row] < 0:
            if out.closing[row, 0] < 0:  # before the close: the hazard's state is the present one
                out.closing[row, 0], out.closing[row, 1] = before.stage, before.goodwill
                out.closing[row, 2] = before.inbox > 0
            out.inbound[row] = channel


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

    offsets: Any
    day: Any
    second: Any
    kind: Any
    touchpoint: Any
    channel: Any
    level: Any
    action: Any
    value: Any
    propensity: Any
    order: Any


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
        season = 0
        if m[SEASON_DAYS] > 0 and season_start >= 0:
            season = min(max(day - season_start, 0), m[SEASON_DAYS])
        first, consent = starts.stage[who], starts.consent[who]
        state = State(first, 0, 0, m[GOODWILL_NEUTRAL], 0, consent, 0, 0, 0, 0, m[GAP_DAYS], season)
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
                    _open(
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
                            _contact(m, before, state, action, channel, out, row)
                        elif action > 0 and modelled and before.stage != m[CHURNED]:
                            faults[FURTHER] += 1
                            _open(m, before, out, count, who, day, 0, NONE, np.nan, NONE)
                            out.in_play[count] = NONE
                            _contact(m, before, state, action, channel, out, count)
                            extra, count = count, count + 1
                else:
                    _outcome(
                        m, before, state, kind, touchpoint, channel, level,
                        events.value[n], ever, out, row, extra, faults,
                    )  # fmt: skip
                n += 1
            if today and n == end:
                store_state(state, final[who - low])
            if pending and state.stage != m[CHURNED]:
                _open(m, state, out, count, who, day, 1, NONE, np.nan, NONE)
                row, extra, count = count, NONE, count + 1
            if n == end and state.stage == m[CHURNED]:
                break
            state = _close(m, price, state, out, row, day, earned)
            if state.stage == m[CHURNED]:
                row, extra = NONE, NONE
            day += 1
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
        rows = Rows(*(array[:count] for array in out))
        counted = dict(zip(FAULTS, faults.tolist(), strict=True))
        yield Replay(rows, final, counted, earned[:count] if rewards else None)
        low = high


def _row_limits(log: Columns, plan: Plan) -> Any:
    """(N,) cumulative upper bounds of the rows: days of the window, and a contact may add one."""
    first = np.where(np.diff(log.offsets) > 0, log.day[np.minimum(log.offsets[:-1], log.events - 1)], plan.first_day)
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
