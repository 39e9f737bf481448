"""Every course a day can take under learned chances: expected rewards and next states.

The learned twin of `envs/day/branches.py`: what can happen, and in which order, is `envs/day/outcomes.py`'s,
the chances are learned, what an outcome does to a state and is worth come from the rules and prices.
N states, A actions, C·S rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse

from envs.arrays import Floats, Ints, Mask
from envs.compiled import compiled
from envs.day.branches import BUFFERS
from envs.day.day import NONE, OUT_STAGE, ask, play_close, play_contact, play_events
from envs.day.outcomes import DayChances, Listed, begins, outcomes_of, room
from envs.day.states import GONE, StateRows, row_of, state_of
from envs.journey.state import State
from training.dynamics.model import DayModel

BLOCK = 256  # states enumerated at a time
MOST = 96  # courses of one (state, action): 24 outcomes, each with at most four moves
_RARE = 1e-12  # courses less likely are left out


@compiled
def _ways(stage: Any, listed: Listed) -> int:
    """The learned moves (2, stages), and staying; how many there are."""
    targets, moves, ways = listed.targets, listed.moves, 0
    first, second = 0.0, 0.0
    for target in range(stage.shape[1]):
        first, second = first + stage[0, target], second + stage[1, target]
        if stage[0, target] > 0.0 or stage[1, target] > 0.0:
            targets[ways], moves[0, ways], moves[1, ways] = target, stage[0, target], stage[1, target]
            ways += 1
    targets[ways], moves[0, ways], moves[1, ways] = NONE, 1.0 - first, 1.0 - second
    return ways + 1


@compiled
def _courses(
    m: Any, price: Any, weights: Any, states: int, before: State, action: int, likely: DayChances,
    listed: Listed, buffers: Any, to: Any, mass: Any,
) -> tuple[int, float]:  # fmt: skip
    """Fill `to` and `mass` with a day's courses; how many, and the expected weighted reward."""
    contact, events, reward = buffers[0], buffers[1], buffers[2]
    count, expected = 0, 0.0
    contact[:] = 0.0
    touched = play_contact(m, price, before, action, contact)
    rows, chances, state = listed.rows, listed.chance, touched
    for n in range(outcomes_of(m, before, action, likely, listed)):
        if begins(rows, n):
            events[:] = contact
            state = play_events(m, price, touched, rows[n], likely.value, events)
        p = chances[n]
        if p < _RARE:
            continue
        for k in range(len(weights)):
            reward[k] = events[k]
        after = play_close(m, price, state, rows[n, OUT_STAGE], reward)
        for k in range(len(weights)):
            expected += p * weights[k] * reward[k]
        to[count], mass[count] = row_of(m, states, after), p
        count += 1
    return count, expected


@compiled
def _enumerate(
    m: Any, price: Any, weights: Any, states: int, rows: Any, legal: Any, chances: Any, rewards: Any,
    cell: Any, to: Any, mass: Any,
) -> int:  # fmt: skip
    """The legal actions' courses of a block of states, one after the other; how many."""
    response, opt_out, resolution, purchase, redemption, stage, value = chances
    listed, buffers, end = room(stage.shape[3] + 1), np.empty((BUFFERS, len(weights))), 0
    for n in range(len(rows)):
        before = state_of(m, states, rows[n])
        for a in range(legal.shape[1]):
            if legal[n, a]:
                likely = DayChances(
                    response[n, a], opt_out[n, a], resolution[n, a], (purchase[n, a, 0], purchase[n, a, 1]),
                    redemption[n, a], value[n, a], _ways(stage[n, a], listed), listed.targets, listed.moves,
                )  # fmt: skip
                count, rewards[n, a] = _courses(
                    m, price, weights, states, before, a, likely, listed, buffers, to[end:], mass[end:]
                )
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

    rewards: Floats  # (N, A) expected, 0 where illegal
    to: Ints  # (T,) rows that can follow, ascending
    chances: sparse.csr_matrix  # (N·A, T) sparse; a row sums to the share that does not churn


def branches(
    space: StateRows, model: DayModel, weights: Floats, rows: Ints, observations: Floats, legal: Mask
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


def _arrivals(
    space: StateRows, model: DayModel, weights: Floats, closed: Ints
) -> tuple[Ints, sparse.csr_matrix, Floats]:
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
