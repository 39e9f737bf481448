"""Look-ups in the packed chances: one function a question, shared by sampler and enumerator.

The likelihood of a log and the belief over personas ask the same functions.
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.journey.packed import (
    ACTION_TOUCHPOINT,
    CHANCE_ADVANCE,
    CHANCE_CHURN,
    CHANCE_INBOUND,
    CHANCE_LAPSE,
    CHANCE_OPT_OUT,
    CHANCE_PURCHASE,
    CHANCE_RESOLUTION,
    CHANCE_RESPONSE,
    CHANNELS,
    CHURN_ROW,
    ENGAGEMENTS,
    FATIGUES,
    GOODWILLS,
    INBOUND_ROW,
    IS_SERVICE,
    OFFERS,
    OPEN_ACTION,
    OPEN_AGE,
    PURCHASE_ROW,
    RESPONSE_ROW,
    WINDOW,
)
from envs.journey.state import State


@compiled
def response_index(
    m: Any, stage: int, engagement: int, offer_kind: int, fatigue: int, goodwill: int
) -> tuple[int, int]:
    """(j, k): column of the response table, column of purchase and advance."""
    k = (stage * m[ENGAGEMENTS] + engagement) * m[OFFERS] + offer_kind
    return (k * m[FATIGUES] + fatigue) * m[GOODWILLS] + goodwill, k


@compiled
def contact_row(m: Any, action: int, age: int) -> int:
    """Row of the response table of a contact made by `action`, `age` days ago."""
    return action * m[WINDOW] + age


@compiled
def contact_in_play(m: Any, row: int) -> tuple[int, int]:
    """The action and the age of the contact on a row of the response table."""
    return row // m[WINDOW], row % m[WINDOW]


@compiled
def touchpoint_in_play(m: Any, row: int) -> int:
    """The touchpoint that a response on a row of the response table names."""
    return m[m[ACTION_TOUCHPOINT] + contact_in_play(m, row)[0]]


@compiled
def fresh_row(m: Any, action: int) -> int:
    """Row of the response table of today's contact; -1 where nobody is asked to respond."""
    if action > 0 and m[m[IS_SERVICE] + m[m[ACTION_TOUCHPOINT] + action]] == 0:
        return contact_row(m, action, 0)
    return -1


@compiled
def open_contact_row(m: Any, opened: int) -> int:
    """Row of the response table of the open contact; -1 where none is open."""
    return contact_row(m, m[m[OPEN_ACTION] + opened], m[m[OPEN_AGE] + opened]) if opened > 0 else -1


@compiled
def response_row(m: Any, state: State, action: int) -> int:
    """Row of the response table in play today: today's contact, else the open one; -1 none."""
    fresh = fresh_row(m, action)
    return fresh if fresh >= 0 else open_contact_row(m, state.open_contact)


@compiled
def response_chance(m: Any, chance: Any, row: int, j: int) -> float:
    """P(response) on a row of the response table; 0 without a contact in play."""
    return chance[m[CHANCE_RESPONSE] + row * m[RESPONSE_ROW] + j] if row >= 0 else 0.0


@compiled
def opt_out_chance(m: Any, chance: Any, action: int, fatigue: int) -> float:
    """P(opt-out of the action's channel) on a contact."""
    return chance[m[CHANCE_OPT_OUT] + action * m[FATIGUES] + fatigue]


@compiled
def resolution_chance(m: Any, chance: Any, action: int, asked: int) -> float:
    """P(a reply settles a request that came in on channel `asked`)."""
    return chance[m[CHANCE_RESOLUTION] + action * m[CHANNELS] + asked]


@compiled
def purchase_chance(m: Any, chance: Any, responded: int, k: int) -> float:
    """P(purchase) given the touchpoint responded to today (-1 none)."""
    return chance[m[CHANCE_PURCHASE] + (responded + 1) * m[PURCHASE_ROW] + k]


@compiled
def move_thresholds(m: Any, chance: Any, before: State, responded: int, k: int) -> tuple[float, float, float]:
    """Cumulative probabilities of churn, advance and lapse: the competing moves."""
    column = before.fatigue * m[GOODWILLS] + before.goodwill
    churn = chance[m[CHANCE_CHURN] + before.stage * m[CHURN_ROW] + column]
    advance = chance[m[CHANCE_ADVANCE] + (responded + 1) * m[PURCHASE_ROW] + k]
    first = churn + (1.0 - churn) * advance
    return churn, first, first + (1.0 - first) * chance[m[CHANCE_LAPSE] + before.stage]


@compiled
def inbound_chance(m: Any, chance: Any, state: State) -> float:
    """P(a request arrives) after the close; a repeat where one is open."""
    row = m[INBOUND_ROW] if state.inbox > 0 else 0
    return chance[m[CHANCE_INBOUND] + row + state.stage * m[GOODWILLS] + state.goodwill]
