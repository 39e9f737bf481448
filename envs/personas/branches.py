"""Every event branch of one day under each persona: what a planner with a belief looks ahead on.

Unlike `day/branches.py`, which merges by next state, branches that end in the same state are kept
apart where other events led there, since they teach something else. What can happen is
`day/outcomes.py`'s, and a test holds the belief's likelihood to it. Leaves out opt-outs, which are
independent given state and action and touch consent only (`bounds.py`), and rewards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled, parallel
from envs.day.day import NONE, ask, play_day
from envs.day.likelihood import request_chance
from envs.day.outcomes import COURSES, MODELLED, Listed, day_chances, outcomes_of, room
from envs.day.states import decode, encode
from envs.journey.journey import Journey
from envs.journey.packed import CHANNELS, CHURNED
from envs.journey.state import State
from envs.scenario.schema import COMPONENTS
from envs.solve.kernel import Kernel

MOST = 1024  # branches of one (state, action); 2·2·2·2·4·(1 + 8 channels) is the worst case


class Branches(NamedTuple):
    """Rows of (state, action) after each other; B branches in all, P personas."""

    indptr: Ints  # (S × A + 1,)
    to: Ints  # (B,) int32 next kernel state, S is churned
    chance: Floats  # (B, P) probability under each persona


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
def enumerate_events(
    m: Any, price: Any, chances: Any, before: State, action: int, listed: Listed, each: Any, weight: Any,
    reward: Any, to: Any, p: Any,
) -> int:  # fmt: skip
    """Fill `to` and `p` with every branch of (state, action).

    `listed`, `each` (P, COURSES · MODELLED), `weight` (P,) and `reward` are scratch.
    """
    outcomes, count = 0, 0
    for q in range(len(weight)):  # the rows are the same under every persona
        likely = day_chances(m, chances[q], before, action, listed)
        outcomes = outcomes_of(m, before, action, likely, listed)
        each[q, :outcomes] = listed.chance[:outcomes]
    for n in range(outcomes):
        total = 0.0
        for q in range(len(weight)):
            weight[q] = each[q, n]
            total += weight[q]
        if total > 0.0:
            closed = play_day(m, price, before, action, listed.rows[n], 0.0, reward)
            count = _requests(m, price, chances, closed, weight, reward, to, p, count)
    return count


@parallel
def _fill(
    m: Any, price: Any, chances: Any, bits: Any, fill: bool, counts: Any, indptr: Any, to: Any, p: Any
) -> None:
    """Count (fill=False) or write (fill=True) the branches of every legal (state, action)."""
    actions = counts.shape[1]
    for x in numba.prange(counts.shape[0]):
        before = decode(m, x, 0)  # no consent, so no factor of an opt-out
        listed, weight = room(MODELLED), np.empty(chances.shape[0])
        each = np.empty((chances.shape[0], COURSES * MODELLED))
        found, mass = np.empty(MOST, np.int64), np.empty((MOST, chances.shape[0]))
        reward = np.zeros(len(COMPONENTS))
        for a in range(actions):
            if bits[x] >> a & 1 == 0:
                continue
            count = enumerate_events(m, price, chances, before, a, listed, each, weight, reward, found, mass)
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
