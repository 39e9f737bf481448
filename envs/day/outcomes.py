"""What a day of (state, action) can bring: its outcome rows in one order, and how chances multiply.

The order of the day, said once for all that enumerate it: whether the contact in play is answered, an
opt-out, a resolution, a purchase by whether was answered, a redemption by whoever bought with an offer
in hand, and one of the competing stage moves by whether was answered, unless the purchase moved the
stage by rule. Where the chances come from is the caller's: `day_chances` reads a persona's tables,
others learn them. What an outcome does and is worth is `play_day`'s; the request after the close is
left out. W ways to move, K outcomes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled
from envs.day.chances import (
    move_thresholds,
    opt_out_chance,
    purchase_chance,
    resolution_chance,
    response_chance,
    response_index,
    response_row,
    touchpoint_in_play,
)
from envs.day.day import (
    NONE,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    OUTCOMES,
    possible,
)
from envs.day.fold import contacted
from envs.journey.packed import (
    ADVANCE_TO,
    CHANCE_REDEMPTION,
    CHURNED,
    INBOX_CHANNEL,
    LAPSE_TO,
    OFFER_KIND,
    OFFERS,
    PURCHASE_TO,
    VALUE,
)
from envs.journey.state import State

COURSES = 24  # of a day's events before its move: 2 responses · 2 opt-outs · 2 resolutions · 3 purchases
MODELLED = 4  # ways to move that a scenario models: churn, advance, lapse, stay


class DayChances(NamedTuple):
    """Conditional chances of one day; of an event that cannot happen, whatever is said is not read."""

    response: float
    opt_out: float
    resolution: float
    purchase: tuple[float, float]  # not answered, answered
    redemption: float  # of a purchase with an offer in hand
    value: float  # mean of a purchase
    ways: int  # W
    targets: Ints  # (W or more,) different stages in the order of their draw; NONE, to stay, is the last
    moves: Floats  # (2, W or more) not answered, answered; each sums to 1


class Listed(NamedTuple):
    """Room for the outcomes of one (state, action), and for its moves."""

    rows: Ints  # (K or more, 7) columns of `envs.day.day`
    chance: Floats  # (K or more,)
    targets: Ints  # (W or more,)
    moves: Floats  # (2, W or more)


@compiled
def room(ways: int) -> Listed:
    """Room for days of at most so many ways to move; no request comes in an outcome."""
    return Listed(
        np.full((COURSES * ways, OUTCOMES), NONE, np.int64), np.empty(COURSES * ways),
        np.empty(ways, np.int64), np.empty((2, ways)),
    )  # fmt: skip


@compiled
def outcomes_of(m: Any, before: State, action: int, likely: DayChances, listed: Listed) -> int:
    """Fill `rows` and `chance` of `listed` with all that can happen up to the close; K of them.

    Which rows there are does not depend on the chances, which may be 0. Rows that differ in their
    stage only follow each other, and the one that stays ends them.
    """
    answers, leaves, settles, held = possible(m, before, action)
    ruled = m[m[PURCHASE_TO] + before.stage] >= 0
    rows, chance, count = listed.rows, listed.chance, 0
    for r in range(2 if answers >= 0 else 1):
        responding = likely.response if r == 1 else (1.0 - likely.response if answers >= 0 else 1.0)
        for o in range(2 if leaves >= 0 else 1):
            leaving = likely.opt_out if o == 1 else (1.0 - likely.opt_out if leaves >= 0 else 1.0)
            for s in range(2 if settles >= 0 else 1):
                settling = likely.resolution if s == 1 else (1.0 - likely.resolution if settles >= 0 else 1.0)
                served = responding * leaving * settling
                for b in range(3 if held >= 0 else 2):  # no purchase, one, one with the offer in hand
                    p = served * (likely.purchase[r] if b > 0 else 1.0 - likely.purchase[r])
                    if b > 0 and held >= 0:
                        p = p * (likely.redemption if b == 2 else 1.0 - likely.redemption)
                    moved = b > 0 and ruled  # by the purchase: no other move is drawn
                    for way in range(likely.ways - 1 if moved else 0, likely.ways):
                        row = rows[count]
                        row[OUT_RESPONSE] = answers if r == 1 else NONE
                        row[OUT_OPT_OUT] = leaves if o == 1 else NONE
                        row[OUT_RESOLUTION] = settles if s == 1 else NONE
                        row[OUT_PURCHASE] = 1 if b > 0 else NONE
                        row[OUT_REDEMPTION] = held if b == 2 else NONE
                        row[OUT_STAGE] = likely.targets[way]
                        chance[count] = p if moved else p * likely.moves[r, way]
                        count += 1
    return count


@compiled
def begins(rows: Any, n: int) -> bool:
    """Whether outcome n differs from the one before in more than its stage: until then events are alike."""
    return n == 0 or rows[n - 1, OUT_STAGE] == NONE


@compiled
def _add_way(target: int, first: float, second: float, ways: int, targets: Any, moves: Any) -> int:
    """Note a way to move; one to a stage that another leads to as well is not told apart from it."""
    for way in range(ways):
        if targets[way] == target:
            moves[0, way] += first
            moves[1, way] += second
            return ways
    targets[ways], moves[0, ways], moves[1, ways] = target, first, second
    return ways + 1


@compiled
def day_chances(m: Any, chance: Any, before: State, action: int, listed: Listed) -> DayChances:
    """A persona's chances of a day that starts in a living stage; its moves are kept in `listed`."""
    row = response_row(m, before, action)
    answers = touchpoint_in_play(m, row) if row >= 0 else NONE
    offer = m[m[OFFER_KIND] + contacted(m, before, action).offer]
    j, k = response_index(m, before.stage, before.engagement, offer, before.fatigue, before.goodwill)
    resolution = 0.0
    if before.inbox > 0:
        resolution = resolution_chance(m, chance, action, m[m[INBOX_CHANNEL] + before.inbox])
    churn, advance, lapse = move_thresholds(m, chance, before, NONE, k)
    gone, onward, back = move_thresholds(m, chance, before, answers, k)
    targets, moves = listed.targets, listed.moves
    ways = _add_way(m[CHURNED], churn, gone, 0, targets, moves)
    target = m[m[ADVANCE_TO] + before.stage]
    if target >= 0:
        ways = _add_way(target, advance - churn, onward - gone, ways, targets, moves)
    target = m[m[LAPSE_TO] + before.stage]
    if target >= 0:
        ways = _add_way(target, lapse - advance, back - onward, ways, targets, moves)
    ways = _add_way(NONE, 1.0 - lapse, 1.0 - back, ways, targets, moves)
    return DayChances(
        response_chance(m, chance, row, j), opt_out_chance(m, chance, action, before.fatigue), resolution,
        (purchase_chance(m, chance, NONE, k), purchase_chance(m, chance, answers, k)),
        chance[m[CHANCE_REDEMPTION] + offer], chance[m[VALUE] + before.stage * m[OFFERS] + offer],
        ways, targets, moves,
    )  # fmt: skip
