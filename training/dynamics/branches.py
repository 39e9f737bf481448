"""Every course a day can take under learned chances: expected rewards and next states.

The learned twin of `envs/day/branches.py`: an outcome's chance is learned, what it does to a state and
what it is worth come from the rules and prices. N states, A actions, C·S rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse

from envs.compiled import compiled
from envs.day.day import (
    NONE,
    OUT_OPT_OUT,
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
from envs.day.states import GONE, StateRows, row_of, state_of
from envs.journey.packed import PURCHASE_TO
from training.dynamics.model import DayModel

BLOCK = 256  # states enumerated at a time
MOST = 96  # courses of one (state, action): 24 outcomes, each with at most four moves
_RARE = 1e-12  # courses less likely are left out


@compiled
def _split(chance: float, can: bool) -> tuple[float, float]:
    """Chances of no and yes."""
    return (1.0 - chance, chance) if can else (1.0, 0.0)


@compiled
def _courses(
    m: Any, price: Any, weights: Any, states: int, row: int, action: int, opt_out: float, response: float,
    resolution: float, purchase: Any, redemption: float, stage: Any, value: float, outcome: Any,
    reward: Any, to: Any, mass: Any,
) -> tuple[int, float]:  # fmt: skip
    """Fill `to` and `mass` with a day's courses; how many, and the expected weighted reward."""
    before = state_of(m, states, row)
    answers, leaves, settles, held = possible(m, before, action)
    ruled = m[m[PURCHASE_TO] + before.stage] >= 0
    responding, leaving = _split(response, answers >= 0), _split(opt_out, leaves >= 0)
    resolving, redeeming = _split(resolution, settles >= 0), _split(redemption, held >= 0)
    outcome[:] = NONE
    count, expected = 0, 0.0
    for code in range(32):
        r, o, s, b, d = code & 1, code >> 1 & 1, code >> 2 & 1, code >> 3 & 1, code >> 4 & 1
        if d == 1 and b == 0:
            continue
        p = responding[r] * leaving[o] * resolving[s] * (purchase[r] if b else 1.0 - purchase[r])
        if b == 1:
            p *= redeeming[d]
        if p < _RARE:
            continue
        outcome[OUT_RESPONSE] = answers if r else NONE
        outcome[OUT_OPT_OUT] = leaves if o else NONE
        outcome[OUT_RESOLUTION] = settles if s else NONE
        outcome[OUT_PURCHASE] = 1 if b else NONE
        outcome[OUT_REDEMPTION] = held if d else NONE
        stays = 1.0 if b == 1 and ruled else 1.0 - stage[r].sum()
        for way in range(-1, 0 if b == 1 and ruled else stage.shape[1]):
            q = p * (stays if way < 0 else stage[r, way])
            if q < _RARE:
                continue
            outcome[OUT_STAGE] = way
            reward[:] = 0.0
            after = play_day(m, price, before, action, outcome, value, reward)
            for k in range(len(weights)):
                expected += q * weights[k] * reward[k]
            to[count], mass[count] = row_of(m, states, after), q
            count += 1
    return count, expected


@compiled
def _enumerate(
    m: Any, price: Any, weights: Any, states: int, rows: Any, legal: Any, chances: Any, rewards: Any,
    cell: Any, to: Any, mass: Any,
) -> int:  # fmt: skip
    """The legal actions' courses of a block of states, one after the other; how many."""
    response, opt_out, resolution, purchase, redemption, stage, value = chances
    outcome, reward, end = np.empty(OUTCOMES, np.int64), np.empty(len(weights)), 0
    for n in range(len(rows)):
        for a in range(legal.shape[1]):
            if legal[n, a]:
                count, rewards[n, a] = _courses(
                    m, price, weights, states, rows[n], a, opt_out[n, a], response[n, a], resolution[n, a],
                    purchase[n, a], redemption[n, a], stage[n, a], value[n, a], outcome, reward,
                    to[end:], mass[end:],
                )  # fmt: skip
                cell[end : end + count] = n * legal.shape[1] + a
                end += count
    return end


@compiled
def _requests(
    m: Any, price: Any, weights: Any, states: int, rows: Any, channels: Any, to: Any, worth: Any
) -> None:
    """Where a request on each channel leads (N, Q), and what it is worth."""
    reward = np.empty(len(weights))
    for n in range(len(rows)):
        state = state_of(m, states, rows[n])
        for k in range(len(channels)):
            reward[:] = 0.0
            to[n, k] = row_of(m, states, ask(m, price, state, channels[k], reward))
            worth[n, k] = 0.0
            for r in range(len(weights)):
                worth[n, k] += weights[r] * reward[r]


@dataclass(frozen=True)
class Branches:
    """What a day brings in N states."""

    rewards: Any  # (N, A) expected, 0 where illegal
    to: Any  # (T,) rows that can follow, ascending
    chances: Any  # (N·A, T) sparse; a row sums to the share that does not churn


def branches(
    space: StateRows, model: DayModel, weights: Any, rows: Any, observations: Any, legal: Any
) -> Branches:
    """The days of states `rows` (N,)."""
    packed, weights = space.journey.packed[0], np.asarray(weights, dtype=np.float64)
    actions, rewards = legal.shape[1], np.zeros(legal.shape)
    buffers = [np.empty(BLOCK * actions * MOST, dtype) for dtype in (np.int64, np.int64, np.float64)]
    parts = []
    for low in range(0, len(rows), BLOCK):
        some = slice(low, low + BLOCK)
        chances = tuple(np.ascontiguousarray(c) for c in model.chances(rows[some], observations[some]))
        count = _enumerate(
            packed.machine, packed.price, weights, space.states, rows[some], legal[some], chances,
            rewards[some], *buffers,
        )  # fmt: skip
        cell, to, mass = (buffer[:count].copy() for buffer in buffers)
        lives = to != GONE
        parts.append((cell[lives] + low * actions, to[lives], mass[lives]))
    cell, to, mass = (np.concatenate(part) for part in zip(*parts, strict=True))
    closed, column = np.unique(to, return_inverse=True)
    days = sparse.csr_matrix((mass, (cell, column)), shape=(len(rows) * actions, len(closed)))
    following, arrivals, worth = _arrivals(space, model, weights, closed)
    rewards += (days @ worth).reshape(rewards.shape) * legal
    return Branches(rewards, following, (days @ arrivals).tocsr())


def _arrivals(space: StateRows, model: DayModel, weights: Any, closed: Any) -> tuple[Any, Any, Any]:
    """From the close to the next decision: rows (T,), chances (Y, T), expected reward (Y,)."""
    packed, channels = space.journey.packed[0], np.array([c for c, _ in model.requests], dtype=np.int64)
    shape = (len(closed), len(channels))
    to, worth = np.empty(shape, dtype=np.int64), np.empty(shape)
    _requests(packed.machine, packed.price, weights, space.states, closed, channels, to, worth)
    asked = model.request_chances(space.describe(closed)[0])
    everywhere = np.concatenate([closed[:, None], to], axis=1)
    following, column = np.unique(everywhere, return_inverse=True)
    chances = np.concatenate([1.0 - asked.sum(axis=1, keepdims=True), asked], axis=1)
    start = np.repeat(np.arange(len(closed)), everywhere.shape[1])
    matrix = sparse.csr_matrix(
        (chances.ravel(), (start, column.ravel())), shape=(len(closed), len(following))
    )
    return following, matrix, (asked * worth).sum(axis=1)


def joined(parts: list[Branches]) -> Branches:
    """The days of several groups of states, one group after the other."""
    following = np.unique(np.concatenate([part.to for part in parts]))
    moved = []
    for part in parts:
        chances = part.chances
        column = np.searchsorted(following, part.to)[chances.indices]
        shape = (chances.shape[0], len(following))
        moved.append(sparse.csr_matrix((chances.data, column, chances.indptr), shape=shape))
    return Branches(np.concatenate([part.rewards for part in parts]), following, sparse.vstack(moved, "csr"))
