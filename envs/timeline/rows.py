"""The rows of a replayed log: one customer-day each, and how an event is written into one.

What the likelihood and the estimators need of a day: the state before the decision, the
action, its outcomes. Counts what departs from the model. The fold that fills them is in
`replay.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled
from envs.day.chances import fresh_row, open_contact_row, touchpoint_in_play
from envs.day.day import NONE, possible
from envs.day.fold import INBOUND, OPT_OUT, PURCHASE, REDEMPTION, RESOLUTION, RESPONSE, STAGE, SURVEY
from envs.day.states import store_state
from envs.journey.packed import (
    ACTION_CHANNEL,
    ADVANCE_TO,
    CHURNED,
    LAPSE_TO,
    OFFER_KIND,
    OFFER_TOUCHPOINT,
    PURCHASE_TO,
)
from envs.journey.state import COLUMN, State

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

    customer: Ints  # int32 position in `Columns.customers`
    day: Ints  # int32 local day since 1970-01-01
    primary: Ints  # int8 1: the day's decision; 0: a further contact of it
    state: Ints  # (n, 12) int16
    assigned: Ints  # int16 action of the decision row, -1 without one
    action: Ints  # int16 action whose contact went out, 0 wait
    propensity: Floats  # float32, NaN where unknown
    decision: Ints  # int64 row of the log, -1 without one
    in_play: Ints  # int32 action × window + age of the contact a response answers, -1 none
    offer: Ints  # int8 offer kind in hand today, the contact's included
    answered: Ints  # int8 1: a response to the contact in play
    responded: Ints  # int16 touchpoint responded to today, -1 none
    opt_out: Ints  # int8 -1 no trial, 0 stayed, 1 left
    resolution: Ints  # int8 -1 no trial, 0, 1 resolved
    purchases: Ints  # int16
    value: Floats  # float64 of the day's purchases
    held: Ints  # int8 offer kind that the first purchase could redeem
    redeemed: Ints  # int16 touchpoint, -1 none
    move: Ints  # int8 -1 no draw, else number in `MOVES`
    closing: Ints  # (n, 3) int16 stage, goodwill, waiting after the close; stage -1: not observed
    inbound: Ints  # int8 channel of the new request, -1 none


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
def open_row(
    m: Any, state: State, out: Rows, row: int, who: int, day: int, primary: int,
    assigned: int, propensity: float, decision: int,
) -> None:  # fmt: skip
    """A fresh row: nothing has happened yet."""
    out.customer[row], out.day[row], out.primary[row] = who, day, primary
    store_state(state, out.state[row])
    out.assigned[row], out.action[row], out.propensity[row] = assigned, 0, propensity
    out.decision[row], out.in_play[row] = decision, open_contact_row(m, state.open_contact)
    out.offer[row], out.answered[row], out.responded[row] = m[m[OFFER_KIND] + state.offer], 0, NONE
    out.opt_out[row], out.resolution[row] = NONE, NONE
    out.purchases[row], out.value[row], out.held[row], out.redeemed[row] = 0, 0.0, 0, NONE
    out.move[row] = STAY if primary == 1 else NONE
    out.closing[row, 0], out.closing[row, 1], out.closing[row, 2] = NONE, NONE, NONE
    out.inbound[row] = NONE


@compiled
def note_contact(m: Any, before: State, after: State, action: int, out: Rows, row: int) -> None:
    """The row's contact went out: its trials begin."""
    out.action[row] = action
    out.offer[row] = m[m[OFFER_KIND] + after.offer]
    fresh, (_, leaves, settles, _) = fresh_row(m, action), possible(m, before, action)
    if leaves >= 0:
        out.opt_out[row] = 0
    if fresh >= 0:
        out.in_play[row] = fresh
    if settles >= 0:
        out.resolution[row] = 0


@compiled
def _respond(m: Any, touchpoint: int, ever: bool, out: Rows, row: int, extra: int, faults: Any) -> None:
    """A response: to the contact in play, the further contact of today, or neither."""
    for candidate in (row, extra):
        if candidate < 0 or out.in_play[candidate] < 0:
            continue
        played = touchpoint_in_play(m, out.in_play[candidate])
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
    stage = out.state[row, COLUMN.stage]
    if level == m[CHURNED]:
        return LEFT
    if level == m[m[ADVANCE_TO] + stage]:
        return ADVANCED
    return LAPSED if level == m[m[LAPSE_TO] + stage] else OTHER


@compiled
def note_outcome(
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
