"""Every event branch of one day under each persona: what a planner with a belief looks ahead on.

Unlike `branches.py`, which merges by next state, branches that end in the same state are kept
apart where other events led there, since they teach something else. The likelihood is
`belief.py`'s, so planner and belief cannot disagree. Leaves out opt-outs, which are
independent given state and action and touch consent only (`belief_grid.py`), and rewards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from envs.compiled import compiled, parallel
from envs.day.day import (
    NONE,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    OUTCOMES,
    ask,
    play_day,
    possible,
)
from envs.day.fold import contacted
from envs.day.likelihood import day_chance, request_chance
from envs.day.states import decode, encode
from envs.journey.journey import Journey
from envs.journey.packed import (
    ADVANCE_TO,
    CHANCE_REDEMPTION,
    CHANNELS,
    CHURNED,
    LAPSE_TO,
    OFFER_KIND,
    PURCHASE_TO,
)
from envs.journey.state import State
from envs.scenario.schema import COMPONENTS
from envs.solve.kernel import Kernel

MOST = 1024  # branches of one (state, action); 2·2·2·2·4·(1 + 8 channels) is the worst case


class Branches(NamedTuple):
    """Rows of (state, action) after each other; B branches in all, P personas."""

    indptr: Any  # (S × A + 1,)
    to: Any  # (B,) int32 next kernel state, S is churned
    chance: Any  # (B, P) probability under each persona


@compiled
def _requests(
    m: Any, price: Any, chances: Any, closed: State, weight: Any, reward: Any, to: Any, p: Any, count: int
) -> int:
    """Split one branch by the request that comes after the close."""
    if closed.stage == m[CHURNED]:
        to[count] = encode(m, closed)
        p[count, :] = weight
        return count + 1
    for asked in range(NONE, m[CHANNELS]):
        total = 0.0
        for q in range(len(weight)):
            p[count, q] = weight[q] * request_chance(m, chances[q], closed, asked)
            total += p[count, q]
        if total > 0.0:
            to[count] = encode(m, ask(m, price, closed, asked, reward))
            count += 1
    return count


@compiled
def _moves(
    m: Any, price: Any, chances: Any, before: State, action: int, outcome: Any, share: float, weight: Any,
    reward: Any, to: Any, p: Any, count: int,
) -> int:  # fmt: skip
    """Split one branch by the competing stage moves, then by the request."""
    ruled = outcome[OUT_PURCHASE] >= 0 and m[m[PURCHASE_TO] + before.stage] >= 0
    advance, lapse = m[m[ADVANCE_TO] + before.stage], m[m[LAPSE_TO] + before.stage]
    targets = (NONE, m[CHURNED], advance, NONE if lapse == advance else lapse)
    for way in range(1 if ruled else 4):
        if way > 0 and targets[way] < 0:
            continue
        outcome[OUT_STAGE] = targets[way]
        total = 0.0
        for q in range(len(weight)):
            weight[q] = share * day_chance(m, chances[q], before, action, outcome)
            total += weight[q]
        if total > 0.0:
            closed = play_day(m, price, before, action, outcome, 0.0, reward)
            count = _requests(m, price, chances, closed, weight, reward, to, p, count)
    outcome[OUT_STAGE] = NONE
    return count


@compiled
def enumerate_events(
    m: Any, price: Any, chances: Any, before: State, action: int, outcome: Any, weight: Any, reward: Any,
    to: Any, p: Any,
) -> int:  # fmt: skip
    """Fill `to` and `p` with every branch of (state, action); `outcome`, `weight`, `reward` are scratch."""
    outcome[:] = NONE
    answers, _, settles, held = possible(m, before, action)  # an opt-out is the consent pattern's business
    kind = m[m[OFFER_KIND] + contacted(m, before, action).offer]
    redemption = chances[0, m[CHANCE_REDEMPTION] + kind] if held >= 0 else 0.0
    count = 0
    for response in range(2 if answers >= 0 else 1):
        outcome[OUT_RESPONSE] = answers if response == 1 else NONE
        for resolved in range(2 if settles >= 0 else 1):
            outcome[OUT_RESOLUTION] = settles if resolved == 1 else NONE
            outcome[OUT_PURCHASE] = NONE
            count = _moves(m, price, chances, before, action, outcome, 1.0, weight, reward, to, p, count)
            outcome[OUT_PURCHASE] = 1
            if redemption < 1.0:
                share = 1.0 - redemption
                count = _moves(
                    m, price, chances, before, action, outcome, share, weight, reward, to, p, count
                )
            if redemption > 0.0:
                outcome[OUT_REDEMPTION] = held
                count = _moves(
                    m, price, chances, before, action, outcome, redemption, weight, reward, to, p, count
                )
                outcome[OUT_REDEMPTION] = NONE
    return count


@parallel
def _fill(
    m: Any, price: Any, chances: Any, bits: Any, fill: bool, counts: Any, indptr: Any, to: Any, p: Any
) -> None:
    """Count (fill=False) or write (fill=True) the branches of every legal (state, action)."""
    actions = counts.shape[1]
    for x in numba.prange(counts.shape[0]):
        before = decode(m, x, 0)  # no consent, so no factor of an opt-out
        outcome, weight = np.empty(OUTCOMES, np.int64), np.empty(chances.shape[0])
        found, mass = np.empty(MOST, np.int64), np.empty((MOST, chances.shape[0]))
        reward = np.zeros(len(COMPONENTS))
        for a in range(actions):
            if bits[x] >> a & 1 == 0:
                continue
            count = enumerate_events(m, price, chances, before, a, outcome, weight, reward, found, mass)
            counts[x, a] = count
            if fill:
                start = indptr[x * actions + a]
                to[start : start + count] = found[:count]
                p[start : start + count] = mass[:count]


def event_branches(journey: Journey, kernel: Kernel) -> Branches:
    """Every branch of every (state, action) legal under full consent."""
    chances = np.stack([packed.chance for packed in journey.packed])
    counts = np.zeros((kernel.states, kernel.actions), dtype=np.int64)
    indptr = np.zeros(kernel.states * kernel.actions + 1, dtype=np.int64)
    nothing, none = np.zeros(0, np.int32), np.zeros((0, len(chances)))
    machine, price = journey.machine, journey.packed[0].price
    _fill(machine, price, chances, kernel.bits, False, counts, indptr, nothing, none)
    np.cumsum(counts.reshape(-1), out=indptr[1:])
    to, p = np.empty(indptr[-1], np.int32), np.empty((indptr[-1], len(chances)))
    _fill(machine, price, chances, kernel.bits, True, counts, indptr, to, p)
    return Branches(indptr, to, p)
