"""One backup: what an action is worth today, given what tomorrow's states are worth.

    Q(x, a) = r(x, a) + γ · (1 − o(x, a)) · Σ_y P(y | x, a) · V̄(y)
              + o(x, a) · (γ · Σ_y P(y | x, a) · V̄⁻(y) − cost of the opt-out)

y are afterstates, V̄ their values once the day's request has arrived, o the chance of an opt-out and
V̄⁻ the values of the block without the action's channel. Optimum, evaluation and horizons all sweep
with it; which policy is swept with is theirs. M consent patterns, S kernel states, A actions, C
channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.compiled import compiled
from envs.day.masks import unpack
from envs.scenario.schema import COMPONENT
from envs.solve.kernel import Kernel
from envs.solve.linear import arrive

TOLERANCE = 1e-12  # of a linear system, relative to the largest reward / (1 − γ)


class Priced(NamedTuple):
    """A kernel under reward weights, as every compiled sweep takes it."""

    indptr: Ints  # (S × A + 1,) rows of afterstates
    indices: Ints  # afterstates, S is churned
    data: Floats  # their probabilities
    arrive_to: Ints  # (S, 1 + inbound channels) states after the inbound draw
    arrive_p: Floats  # same shape
    gain: Floats  # (S, A) expected reward before the cost of an opt-out
    opt_out: Floats  # (S, A) probability
    opt_out_cost: Floats  # (A,)
    channel: Ints  # (A,) of the action, -1 for wait
    bits: Ints  # (S,) actions legal under full consent
    consents: Ints  # (M,) patterns
    permits: Ints  # (2**C,) actions a pattern permits
    smaller: Ints  # (M, C) the block without channel c, or -1
    discount: float  # a day


class Block(NamedTuple):
    """One consent pattern's day but for tomorrow's values."""

    constant: Floats  # (S, A) reward plus the value after an opt-out
    stay: Floats  # (S, A) probability of no opt-out


@compiled
def block_of(model: Priced, legal: Any, consent: int, smaller: Any) -> Block:
    """A block from the arrived values (C, S + 1) of the blocks without channel c."""
    states, actions = model.gain.shape
    constant, stay = np.empty((states, actions)), np.empty((states, actions))
    for x in range(states):
        for a in range(actions):
            constant[x, a], stay[x, a] = model.gain[x, a], 1.0
            c, leaving = model.channel[a], model.opt_out[x, a]
            if c >= 0 and consent >> c & 1 == 1 and leaving > 0.0 and legal[x] >> a & 1 == 1:
                total = 0.0
                for k in range(model.indptr[x * actions + a], model.indptr[x * actions + a + 1]):
                    total += model.data[k] * smaller[c, model.indices[k]]
                constant[x, a] += leaving * (model.discount * total - model.opt_out_cost[a])
                stay[x, a] = 1.0 - leaving
    return Block(constant, stay)


@compiled
def backup(model: Priced, block: Block, arrived: Any, x: int, a: int) -> float:
    """Q(x, a) from arrived values (S + 1,)."""
    actions = block.constant.shape[1]
    total = 0.0
    for k in range(model.indptr[x * actions + a], model.indptr[x * actions + a + 1]):
        total += model.data[k] * arrived[model.indices[k]]
    return block.constant[x, a] + model.discount * block.stay[x, a] * total


@compiled
def one_hot(policy: Any, out: Any) -> None:
    """Actions (S,) as probabilities (S, A)."""
    out[:] = 0.0
    for x in range(len(policy)):
        out[x, policy[x]] = 1.0


@compiled
def averaged(policy: Any, constant: Any, out: Any) -> None:
    """out (S,) = Σ_a π(a | x) · constant(x, a)."""
    for x in range(len(out)):
        total = 0.0
        for a in range(policy.shape[1]):
            if policy[x, a] > 0.0:
                total += policy[x, a] * constant[x, a]
        out[x] = total


def discount_of(kernel: Kernel, discount: float | None) -> float:
    """The scenario's discount a day unless another is given."""
    return kernel.journey.scenario.discount if discount is None else discount


def gain_of(kernel: Kernel, weights: Floats) -> Floats:
    """(S, A) expected reward a day under the weights, before the cost of an opt-out."""
    return kernel.reward @ np.asarray(weights, dtype=np.float64)


def consent_positions(kernel: Kernel) -> Ints:
    """(M, C): the block without channel c, or -1 where it is not granted or cannot fall."""
    number = {int(c): m for m, c in enumerate(kernel.consents)}
    channels = len(kernel.journey.scenario.channels)
    out = np.full((len(kernel.consents), channels), -1, dtype=np.int64)
    for m, pattern in enumerate(kernel.consents.tolist()):
        for c in range(channels):
            if pattern >> c & 1:
                out[m, c] = number.get(pattern & ~(1 << c), -1)
    return out


def levels_of(kernel: Kernel) -> list[Ints]:
    """Block numbers grouped by how many consents they hold, fewest first."""
    counts = np.array([int(c).bit_count() for c in kernel.consents])
    return [np.flatnonzero(counts == n) for n in sorted(set(counts.tolist()))]


def priced(kernel: Kernel, weights: Floats, discount: float | None) -> Priced:
    """The kernel under these weights."""
    rules = kernel.journey.rules
    cost = kernel.opt_out_cost * float(np.asarray(weights)[COMPONENT.opt_out])
    return Priced(
        kernel.indptr, kernel.indices, kernel.data, kernel.arrive_to, kernel.arrive_p,
        gain_of(kernel, weights), np.ascontiguousarray(kernel.opt_out), cost,
        np.asarray(rules.action_channel), kernel.bits, kernel.consents,
        np.asarray(rules.consent_permits), consent_positions(kernel), discount_of(kernel, discount),
    )  # fmt: skip


def tolerance_of(model: Priced) -> float:
    """How exactly a linear system is to be solved, in objective units."""
    return TOLERANCE * max(float(np.abs(model.gain).max()), 1e-9) / (1.0 - model.discount)


def q_values(
    kernel: Kernel, values: Floats, weights: Floats, m: int, discount: float | None = None
) -> Floats:
    """(S, A) Q of values (M, S) under consent pattern number `m`; −inf where illegal."""
    out = np.empty((kernel.states, kernel.actions))
    _q_block(m, priced(kernel, weights, discount), np.ascontiguousarray(values), out)
    return out


@compiled
def _q_block(m: int, model: Priced, values: Any, out: Any) -> None:
    states, actions = model.gain.shape
    legal = model.bits & model.permits[model.consents[m]]
    smaller, arrived = np.zeros((model.smaller.shape[1], states + 1)), np.empty(states + 1)
    for c in range(model.smaller.shape[1]):
        if model.smaller[m, c] >= 0:
            arrive(model.arrive_to, model.arrive_p, values[model.smaller[m, c]], smaller[c])
    block = block_of(model, legal, model.consents[m], smaller)
    arrive(model.arrive_to, model.arrive_p, values[m], arrived)
    for x in range(states):
        for a in range(actions):
            out[x, a] = -np.inf
            if legal[x] >> a & 1 == 1:
                out[x, a] = backup(model, block, arrived, x, a)


def as_probabilities(kernel: Kernel, policy: Array, blocks: Ints) -> Floats:
    """(len(blocks), S, A) probabilities of int actions (M, S) or probabilities (M, S, A)."""
    if policy.ndim == 3:
        return np.ascontiguousarray(policy[blocks], dtype=np.float64)
    return np.eye(kernel.actions)[policy[blocks]]


def check_legal(kernel: Kernel, policy: Array) -> None:
    """Raise `ValueError` where a policy gives weight to an illegal action."""
    for m in range(len(kernel.consents)):
        legal = kernel.legal(m)
        if policy.ndim == 2:
            broken = legal >> policy[m].astype(np.int64) & 1 == 0
        else:
            broken = ((policy[m] > 0) & ~unpack(legal, kernel.actions)).any(1)
        if broken.any():
            x = int(np.flatnonzero(broken)[0])
            raise ValueError(f"illegal action in consent pattern {m}, state {x}")
