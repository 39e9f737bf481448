"""The exact optimum and the exact value of any policy, discounted and finite-horizon.

Policy iteration with BiCGSTAB for each policy's linear system, consent as the outer index:
consents only fall, so blocks are solved from the fewest consents up, each warm-started from a
subset. A policy that will be improved again is not worth an exact value: early ones are
evaluated to a share of the Bellman error, the last one exactly. M consent patterns, S kernel
states, A actions, R reward components. The bound printed with a value is γ/(1−γ) · max|TV − V|
(Puterman 1994, §6.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from envs.compiled import compiled, parallel
from envs.kernel import Kernel, start_distribution
from envs.linear import arrive, bicgstab, gather_rows
from envs.masks import unpack
from envs.scenario import COMPONENT

TOLERANCE = 1e-12  # of a linear system, relative to the largest reward / (1 − γ)
SWEEPS = 60  # policy improvements; a handful suffice
EARLY = 0.01  # of the Bellman error: how far a policy that is not yet the last is evaluated


@compiled
def _constants(
    indptr: Any, indices: Any, data: Any, gain: Any, opt_out: Any, cost: Any, channel: Any,
    legal: Any, consent: int, smaller: Any, discount: float, constant: Any, stay: Any,
) -> None:  # fmt: skip
    """constant (S, A): reward plus the value after an opt-out; stay (S, A): P(no opt-out).

    `smaller` (C, S + 1) holds the arrived values of the block without channel c.
    """
    actions = gain.shape[1]
    for x in range(gain.shape[0]):
        for a in range(actions):
            constant[x, a], stay[x, a] = gain[x, a], 1.0
            c = channel[a]
            if c >= 0 and consent >> c & 1 == 1 and opt_out[x, a] > 0.0 and legal[x] >> a & 1 == 1:
                total = 0.0
                for k in range(indptr[x * actions + a], indptr[x * actions + a + 1]):
                    total += data[k] * smaller[c, indices[k]]
                constant[x, a] += opt_out[x, a] * (discount * total - cost[a])
                stay[x, a] = 1.0 - opt_out[x, a]


@compiled
def _backup(
    indptr: Any, indices: Any, data: Any, constant: Any, stay: Any, arrived: Any, discount: float,
    x: int, a: int,
) -> float:  # fmt: skip
    """Q(x, a) from arrived values."""
    actions = constant.shape[1]
    total = 0.0
    for k in range(indptr[x * actions + a], indptr[x * actions + a + 1]):
        total += data[k] * arrived[indices[k]]
    return constant[x, a] + discount * stay[x, a] * total


@compiled
def _improve(
    indptr: Any, indices: Any, data: Any, constant: Any, stay: Any, legal: Any, arrived: Any,
    discount: float, values: Any, policy: Any, slack: float,
) -> tuple[int, float]:  # fmt: skip
    """Greedy policy in place (the first best action); returns changes and max(TV − V)."""
    changes, gain = 0, 0.0
    for x in range(len(values)):
        best, choice = -np.inf, -1
        kept = -np.inf
        for a in range(constant.shape[1]):
            if legal[x] >> a & 1 == 0:
                continue
            q = _backup(indptr, indices, data, constant, stay, arrived, discount, x, a)
            if a == policy[x]:
                kept = q
            if q > best:
                best, choice = q, a
        gain = max(gain, abs(best - values[x]))
        if best > kept + slack:
            policy[x] = choice
            changes += 1
    return changes, gain


@compiled
def _one_hot(policy: Any, out: Any) -> None:
    out[:] = 0.0
    for x in range(len(policy)):
        out[x, policy[x]] = 1.0


@compiled
def _select(policy: Any, constant: Any, out: Any) -> None:
    for x in range(len(out)):
        total = 0.0
        for a in range(policy.shape[1]):
            if policy[x, a] > 0.0:
                total += policy[x, a] * constant[x, a]
        out[x] = total


@parallel
def _optimise_blocks(
    blocks: Any, indptr: Any, indices: Any, data: Any, to: Any, p: Any, gain: Any, opt_out: Any,
    cost: Any, channel: Any, bits: Any, consents: Any, permits: Any, position: Any, discount: float,
    tolerance: float, early: float, values: Any, chosen: Any, residuals: Any, arrived_all: Any,
) -> None:  # fmt: skip
    """Policy iteration on consent blocks of one size; they depend on smaller ones only."""
    states, actions = gain.shape
    channels = position.shape[1]
    for n in numba.prange(len(blocks)):
        m = blocks[n]
        consent = consents[m]
        legal = bits & permits[consent]
        smaller = np.zeros((channels, states + 1))
        policy = np.zeros(states, np.int8)
        guess = np.zeros(states)
        for c in range(channels):
            if position[m, c] >= 0:
                smaller[c] = arrived_all[position[m, c]]
                policy[:] = chosen[position[m, c]]
                guess[:] = values[position[m, c]]
        constant, stay = np.empty((states, actions)), np.empty((states, actions))
        _constants(
            indptr, indices, data, gain, opt_out, cost, channel, legal, consent, smaller, discount,
            constant, stay,
        )  # fmt: skip
        arrived, weights, b = np.empty(states + 1), np.zeros((states, actions)), np.empty(states)
        accuracy = np.inf  # to which `guess` is the value of `policy`
        for _ in range(SWEEPS):
            arrive(to, p, guess, arrived)
            changes, residual = _improve(
                indptr, indices, data, constant, stay, legal, arrived, discount, guess, policy, tolerance
            )
            residuals[m] = residual
            if changes == 0 and accuracy <= tolerance:
                break
            accuracy = tolerance if changes == 0 else max(tolerance, early * residual)
            _one_hot(policy, weights)
            start, columns, row = gather_rows(indptr, indices, data, actions, weights, stay)
            _select(weights, constant, b)
            bicgstab(start, columns, row, to, p, discount, b, guess, accuracy, False)
        values[m], chosen[m] = guess, policy
        arrive(to, p, guess, arrived_all[m])


@parallel
def _evaluate_blocks(
    blocks: Any, indptr: Any, indices: Any, data: Any, to: Any, p: Any, gain: Any, opt_out: Any,
    cost: Any, channel: Any, bits: Any, consents: Any, permits: Any, position: Any, discount: float,
    tolerance: float, policy: Any, values: Any, arrived_all: Any,
) -> None:  # fmt: skip
    """Exact values of a policy (M, S, A) on consent blocks of one size."""
    states, actions = gain.shape
    for n in numba.prange(len(blocks)):
        m = blocks[n]
        legal = bits & permits[consents[m]]
        smaller = np.zeros((position.shape[1], states + 1))
        for c in range(position.shape[1]):
            if position[m, c] >= 0:
                smaller[c] = arrived_all[position[m, c]]
                values[m] = values[position[m, c]]
        constant, stay = np.empty((states, actions)), np.empty((states, actions))
        _constants(
            indptr, indices, data, gain, opt_out, cost, channel, legal, consents[m], smaller, discount,
            constant, stay,
        )  # fmt: skip
        b = np.empty(states)
        start, columns, row = gather_rows(indptr, indices, data, actions, policy[n], stay)
        _select(policy[n], constant, b)
        bicgstab(start, columns, row, to, p, discount, b, values[m], tolerance, False)
        arrive(to, p, values[m], arrived_all[m])


@dataclass(frozen=True)
class Solution:
    """The optimum of a kernel under reward weights."""

    values: Any  # (M, S) V*
    actions: Any  # (M, S) int8 greedy actions, ties to the lowest number
    bound: float  # largest error of `values`

    def start_value(self, kernel: Kernel) -> float:
        """V* at the start distribution."""
        return float((start_distribution(kernel) * self.values).sum())


@dataclass(frozen=True)
class PolicyValue:
    """The exact value of a policy from d0."""

    value: float  # under the weights
    components: Any  # (R,) unweighted, discounted
    values: Any  # (M, S)
    occupancy: Any  # (M, S) discounted visits from d0


def discount_of(kernel: Kernel, discount: float | None) -> float:
    """The scenario's discount a day unless another is given."""
    return kernel.journey.scenario.discount if discount is None else discount


def gain_of(kernel: Kernel, weights: Any) -> Any:
    """(S, A) expected reward a day under the weights, before the cost of an opt-out."""
    return kernel.reward @ np.asarray(weights, dtype=np.float64)


def consent_positions(kernel: Kernel) -> Any:
    """(M, C): the block without channel c, or -1 where it is not granted or cannot fall."""
    number = {int(c): m for m, c in enumerate(kernel.consents)}
    channels = len(kernel.journey.scenario.channels)
    out = np.full((len(kernel.consents), channels), -1, dtype=np.int64)
    for m, pattern in enumerate(kernel.consents.tolist()):
        for c in range(channels):
            if pattern >> c & 1:
                out[m, c] = number.get(pattern & ~(1 << c), -1)
    return out


def levels_of(kernel: Kernel) -> list[Any]:
    """Block numbers grouped by how many consents they hold, fewest first."""
    counts = np.array([int(c).bit_count() for c in kernel.consents])
    return [np.flatnonzero(counts == n) for n in sorted(set(counts.tolist()))]


def model_arrays(kernel: Kernel, gain: Any, weights: Any) -> tuple[Any, ...]:
    """The arrays every compiled sweep takes, in their order."""
    rules = kernel.journey.rules
    cost = kernel.opt_out_cost * float(np.asarray(weights)[COMPONENT.opt_out])
    return (
        kernel.indptr, kernel.indices, kernel.data, kernel.arrive_to, kernel.arrive_p, gain,
        np.ascontiguousarray(kernel.opt_out), cost, np.asarray(rules.action_channel), kernel.bits,
        kernel.consents, np.asarray(rules.consent_permits), consent_positions(kernel),
    )  # fmt: skip


def _tolerance(gain: Any, discount: float) -> float:
    return TOLERANCE * max(float(np.abs(gain).max()), 1e-9) / (1.0 - discount)


def solve(kernel: Kernel, weights: Any, discount: float | None = None, early: float = EARLY) -> Solution:
    """V* and a greedy policy, discounted, infinite horizon.

    `early` moves the values by less than their bound; 0 evaluates every policy exactly.
    """
    rate, gain = discount_of(kernel, discount), gain_of(kernel, weights)
    blocks, states = len(kernel.consents), kernel.states
    values, chosen = np.zeros((blocks, states)), np.zeros((blocks, states), np.int8)
    residuals, arrived = np.zeros(blocks), np.zeros((blocks, states + 1))
    arrays = model_arrays(kernel, gain, weights)
    for level in levels_of(kernel):
        _optimise_blocks(
            level, *arrays, rate, _tolerance(gain, rate), early, values, chosen, residuals, arrived
        )
    return Solution(values, chosen, float(residuals.max()) * rate / (1.0 - rate))


def q_values(kernel: Kernel, values: Any, weights: Any, m: int, discount: float | None = None) -> Any:
    """(S, A) Q of values (M, S) under consent pattern number `m`; −inf where illegal."""
    rate = discount_of(kernel, discount)
    arrays = model_arrays(kernel, gain_of(kernel, weights), weights)
    out = np.empty((kernel.states, kernel.actions))
    _q_block(m, *arrays, rate, np.ascontiguousarray(values), out)
    return out


@compiled
def _q_block(
    m: int, indptr: Any, indices: Any, data: Any, to: Any, p: Any, gain: Any, opt_out: Any, cost: Any,
    channel: Any, bits: Any, consents: Any, permits: Any, position: Any, discount: float,
    values: Any, out: Any,
) -> None:  # fmt: skip
    states, actions = gain.shape
    legal = bits & permits[consents[m]]
    smaller, arrived = np.zeros((position.shape[1], states + 1)), np.empty(states + 1)
    for c in range(position.shape[1]):
        if position[m, c] >= 0:
            arrive(to, p, values[position[m, c]], smaller[c])
    constant, stay = np.empty((states, actions)), np.empty((states, actions))
    _constants(
        indptr, indices, data, gain, opt_out, cost, channel, legal, consents[m], smaller, discount,
        constant, stay,
    )  # fmt: skip
    arrive(to, p, values[m], arrived)
    for x in range(states):
        for a in range(actions):
            out[x, a] = -np.inf
            if legal[x] >> a & 1 == 1:
                out[x, a] = _backup(indptr, indices, data, constant, stay, arrived, discount, x, a)


def as_probabilities(kernel: Kernel, policy: Any, blocks: Any) -> Any:
    """(len(blocks), S, A) probabilities of int actions (M, S) or probabilities (M, S, A)."""
    if policy.ndim == 3:
        return np.ascontiguousarray(policy[blocks], dtype=np.float64)
    return np.eye(kernel.actions)[policy[blocks]]


def policy_values(kernel: Kernel, policy: Any, weights: Any, discount: float | None = None) -> Any:
    """(M, S) exact values of a policy."""
    rate, gain = discount_of(kernel, discount), gain_of(kernel, weights)
    values = np.zeros((len(kernel.consents), kernel.states))
    arrived = np.zeros((len(kernel.consents), kernel.states + 1))
    arrays = model_arrays(kernel, gain, weights)
    for level in levels_of(kernel):
        _evaluate_blocks(
            level, *arrays, rate, _tolerance(gain, rate), as_probabilities(kernel, policy, level),
            values, arrived,
        )  # fmt: skip
    return values


def evaluate_policy(kernel: Kernel, policy: Any, weights: Any, discount: float | None = None) -> PolicyValue:
    """Exact value, components and occupancy of a policy from d0.

    `policy` holds action numbers (M, S) or probabilities (M, S, A); raises `ValueError` when it
    puts weight on an illegal action.
    """
    from envs.occupancy import components_of, occupancy  # occupancy builds on this module

    check_legal(kernel, policy)
    values = policy_values(kernel, policy, weights, discount)
    visits = occupancy(kernel, policy, discount)
    return PolicyValue(
        value=float((start_distribution(kernel) * values).sum()),
        components=components_of(kernel, policy, visits),
        values=values,
        occupancy=visits,
    )


def check_legal(kernel: Kernel, policy: Any) -> None:
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
