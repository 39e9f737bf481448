"""What a policy is worth, exactly: its value, where it spends its time, and what it earns there.

Discounted (each consent block's linear system; occupancy is the transposed one, most consents first,
opt-outs flowing into smaller blocks) and over H days (backward induction with the same backups).
Which policy is best is `solver.py`'s question. M consent patterns, S kernel states, A actions, R
reward components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from envs.arrays import Array, Floats
from envs.compiled import compiled, parallel
from envs.scenario.schema import COMPONENT, COMPONENTS
from envs.solve.kernel import Kernel, start_distribution
from envs.solve.linear import arrive, bicgstab, gather_rows
from envs.solve.sweeps import (
    Priced,
    as_probabilities,
    averaged,
    block_of,
    check_legal,
    consent_positions,
    discount_of,
    levels_of,
    priced,
    q_values,
    tolerance_of,
)


@parallel
def _evaluate_blocks(
    blocks: Any, model: Priced, tolerance: float, policy: Any, values: Any, arrived_all: Any
) -> None:
    """Exact values of a policy (M, S, A) on consent blocks of one size."""
    states, actions = model.gain.shape
    for n in numba.prange(len(blocks)):
        m = blocks[n]
        legal = model.bits & model.permits[model.consents[m]]
        smaller = np.zeros((model.smaller.shape[1], states + 1))
        for c in range(model.smaller.shape[1]):
            without = model.smaller[m, c]
            if without >= 0:
                smaller[c] = arrived_all[without]
                values[m] = values[without]
        block = block_of(model, legal, model.consents[m], smaller)
        b = np.empty(states)
        start, columns, row = gather_rows(
            model.indptr, model.indices, model.data, actions, policy[n], block.stay
        )
        averaged(policy[n], block.constant, b)
        bicgstab(
            start,
            columns,
            row,
            model.arrive_to,
            model.arrive_p,
            model.discount,
            b,
            values[m],
            tolerance,
            False,
        )
        arrive(model.arrive_to, model.arrive_p, values[m], arrived_all[m])


@dataclass(frozen=True)
class PolicyValue:
    """The exact value of a policy from d0."""

    value: float  # under the weights
    components: Floats  # (R,) unweighted, discounted
    values: Floats  # (M, S)
    occupancy: Floats  # (M, S) discounted visits from d0


def policy_values(kernel: Kernel, policy: Array, weights: Floats, discount: float | None = None) -> Floats:
    """(M, S) exact values of a policy."""
    model = priced(kernel, weights, discount)
    values = np.zeros((len(kernel.consents), kernel.states))
    arrived = np.zeros((len(kernel.consents), kernel.states + 1))
    for level in levels_of(kernel):
        probabilities = as_probabilities(kernel, policy, level)
        _evaluate_blocks(level, model, tolerance_of(model), probabilities, values, arrived)
    return values


def evaluate_policy(
    kernel: Kernel, policy: Array, weights: Floats, discount: float | None = None
) -> PolicyValue:
    """Exact value, components and occupancy of a policy from d0.

    `policy` holds action numbers (M, S) or probabilities (M, S, A); raises `ValueError` when it
    puts weight on an illegal action.
    """
    check_legal(kernel, policy)
    values = policy_values(kernel, policy, weights, discount)
    visits = occupancy(kernel, policy, discount)
    return PolicyValue(
        value=float((start_distribution(kernel) * values).sum()),
        components=components_of(kernel, policy, visits),
        values=values,
        occupancy=visits,
    )


def leaving(kernel: Kernel, m: int) -> Floats:
    """(S, A) probability of an opt-out that takes a consent held in pattern number `m`."""
    channel = np.asarray(kernel.journey.rules.action_channel)
    held = (channel >= 0) & (int(kernel.consents[m]) >> np.maximum(channel, 0) & 1 == 1)
    return np.where(held, kernel.opt_out, 0.0)


def occupancy(
    kernel: Kernel, policy: Array, discount: float | None = None, tolerance: float = 1e-13
) -> Floats:
    """(M, S) expected discounted visits to living states; sums to at most 1 / (1 − γ).

    `tolerance` is of each consent pattern's linear system, relative to its largest inflow.
    """
    rate = discount_of(kernel, discount)
    inflow, out = start_distribution(kernel), np.zeros((len(kernel.consents), kernel.states))
    positions, channel = consent_positions(kernel), np.asarray(kernel.journey.rules.action_channel)
    rows = (kernel.indptr, kernel.indices, kernel.data, kernel.actions)
    for level in reversed(levels_of(kernel)):
        for m in level:
            pi = as_probabilities(kernel, policy, np.array([m]))[0]
            leave = leaving(kernel, m)
            start, columns, weights = gather_rows(*rows, pi, 1.0 - leave)
            visits = inflow[m].copy()
            scale = max(float(np.abs(inflow[m]).max()), 1e-300)
            system = (start, columns, weights, kernel.arrive_to, kernel.arrive_p, rate)
            if inflow[m].any():
                bicgstab(*system, inflow[m], visits, tolerance * scale, True)
            out[m] = visits
            for c in np.flatnonzero(positions[m] >= 0):
                moved = pi * np.where(channel == c, leave, 0.0)
                if moved.any():
                    flow = gather_rows(*rows, moved, np.ones_like(moved))
                    _flow(*flow, kernel.arrive_to, kernel.arrive_p, rate, visits, inflow[positions[m, c]])
    return out


@compiled
def _flow(
    start: Any, columns: Any, weights: Any, to: Any, p: Any, discount: float, visits: Any, out: Any
) -> None:
    """Add γ (G M)ᵀ visits to `out`."""
    for x in range(len(visits)):
        for k in range(start[x], start[x + 1]):
            y = columns[k]
            if y < len(visits):
                for n in range(to.shape[1]):
                    out[to[y, n]] += discount * p[y, n] * weights[k] * visits[x]


def components_of(kernel: Kernel, policy: Array, visits: Floats) -> Floats:
    """(R,) unweighted discounted components a policy earns from d0."""
    total = np.zeros(len(COMPONENTS))
    for m in range(len(kernel.consents)):
        used = np.flatnonzero(visits[m] > 0)
        pi = as_probabilities(kernel, policy, np.array([m]))[0][used]
        share = pi * visits[m][used][:, None]
        total += np.einsum("xa,xar->r", share, kernel.reward[used])
        total[COMPONENT.opt_out] -= float((share * leaving(kernel, m)[used] * kernel.opt_out_cost).sum())
    return total


def action_occupancy(kernel: Kernel, policy: Array, visits: Floats) -> Floats:
    """(M, S, A) discounted visits by action."""
    every = np.arange(len(kernel.consents))
    return as_probabilities(kernel, policy, every) * visits[:, :, None]


def solve_horizon(kernel: Kernel, weights: Floats, days: int, discount: float | None = None) -> Floats:
    """(M, S) best expected reward of `days` days."""
    values = np.zeros((len(kernel.consents), kernel.states))
    for _ in range(days):
        values = np.array([q_values(kernel, values, weights, m, discount).max(1) for m in range(len(values))])
    return values


def evaluate_horizon(
    kernel: Kernel, policy: Array, weights: Floats, days: int, discount: float | None = None
) -> float:
    """Expected reward of `days` days from d0 under a stationary policy."""
    values = np.zeros((len(kernel.consents), kernel.states))
    for _ in range(days):
        values = np.array([_mean(kernel, policy, values, weights, m, discount) for m in range(len(values))])
    return float((start_distribution(kernel) * values).sum())


def _mean(
    kernel: Kernel, policy: Array, values: Floats, weights: Floats, m: int, discount: float | None
) -> Floats:
    q = q_values(kernel, values, weights, m, discount)
    pi = as_probabilities(kernel, policy, np.array([m]))[0]
    return (pi * np.where(pi > 0, q, 0.0)).sum(1)
