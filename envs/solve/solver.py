"""The exact optimum of a kernel, discounted, infinite horizon.

Policy iteration with BiCGSTAB for each policy's linear system, consent as the outer index:
consents only fall, so blocks are solved from the fewest consents up, each warm-started from a
subset. A policy that will be improved again is not worth an exact value: early ones are
evaluated to a share of the Bellman error, the last one exactly. M consent patterns, S kernel
states, A actions. The bound printed with a value is γ/(1−γ) · max|TV − V| (Puterman 1994, §6.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled, parallel
from envs.solve.kernel import Kernel, start_distribution
from envs.solve.linear import arrive, bicgstab, gather_rows
from envs.solve.sweeps import (
    Block,
    Priced,
    averaged,
    backup,
    block_of,
    levels_of,
    one_hot,
    priced,
    tolerance_of,
)

SWEEPS = 60  # policy improvements; a handful suffice
EARLY = 0.01  # of the Bellman error: how far a policy that is not yet the last is evaluated


@compiled
def _improve(
    model: Priced, block: Block, legal: Any, arrived: Any, values: Any, policy: Any, slack: float
) -> tuple[int, float]:
    """Greedy policy in place (the first best action); returns changes and max(TV − V)."""
    changes, gain = 0, 0.0
    for x in range(len(values)):
        best, choice = -np.inf, -1
        kept = -np.inf
        for a in range(block.constant.shape[1]):
            if legal[x] >> a & 1 == 0:
                continue
            q = backup(model, block, arrived, x, a)
            if a == policy[x]:
                kept = q
            if q > best:
                best, choice = q, a
        gain = max(gain, abs(best - values[x]))
        if best > kept + slack:
            policy[x] = choice
            changes += 1
    return changes, gain


@parallel
def _optimise_blocks(
    blocks: Any, model: Priced, tolerance: float, early: float, values: Any, chosen: Any, residuals: Any,
    arrived_all: Any,
) -> None:  # fmt: skip
    """Policy iteration on consent blocks of one size; they depend on smaller ones only."""
    states, actions = model.gain.shape
    channels = model.smaller.shape[1]
    for n in numba.prange(len(blocks)):
        m = blocks[n]
        legal = model.bits & model.permits[model.consents[m]]
        smaller = np.zeros((channels, states + 1))
        policy = np.zeros(states, np.int8)
        guess = np.zeros(states)
        for c in range(channels):
            without = model.smaller[m, c]
            if without >= 0:
                smaller[c] = arrived_all[without]
                policy[:] = chosen[without]
                guess[:] = values[without]
        block = block_of(model, legal, model.consents[m], smaller)
        arrived, weights, b = np.empty(states + 1), np.zeros((states, actions)), np.empty(states)
        accuracy = np.inf  # to which `guess` is the value of `policy`
        for _ in range(SWEEPS):
            arrive(model.arrive_to, model.arrive_p, guess, arrived)
            changes, residual = _improve(model, block, legal, arrived, guess, policy, tolerance)
            residuals[m] = residual
            if changes == 0 and accuracy <= tolerance:
                break
            accuracy = tolerance if changes == 0 else max(tolerance, early * residual)
            one_hot(policy, weights)
            start, columns, row = gather_rows(
                model.indptr, model.indices, model.data, actions, weights, block.stay
            )
            averaged(weights, block.constant, b)
            bicgstab(
                start,
                columns,
                row,
                model.arrive_to,
                model.arrive_p,
                model.discount,
                b,
                guess,
                accuracy,
                False,
            )
        values[m], chosen[m] = guess, policy
        arrive(model.arrive_to, model.arrive_p, guess, arrived_all[m])


@dataclass(frozen=True, repr=False)
class Solution:
    """The optimum of a kernel under reward weights."""

    values: Floats  # (M, S) V*
    actions: Ints  # (M, S) int8 greedy actions, ties to the lowest number
    bound: float  # largest error of `values`

    def __repr__(self) -> str:
        blocks, states = self.values.shape
        low, high = float(self.values.min()), float(self.values.max())
        size, values = f"{blocks} × {states:,} states", f"V* {low:.4g} to {high:.4g}"
        return f"Solution({size}: {values}, error at most {self.bound:.1e})"

    def start_value(self, kernel: Kernel) -> float:
        """V* at the start distribution."""
        return float((start_distribution(kernel) * self.values).sum())


def solve(kernel: Kernel, weights: Floats, discount: float | None = None, early: float = EARLY) -> Solution:
    """V* and a greedy policy, discounted, infinite horizon.

    `early` moves the values by less than their bound; 0 evaluates every policy exactly.
    """
    model, blocks, states = priced(kernel, weights, discount), len(kernel.consents), kernel.states
    values, chosen = np.zeros((blocks, states)), np.zeros((blocks, states), np.int8)
    residuals, arrived = np.zeros(blocks), np.zeros((blocks, states + 1))
    for level in levels_of(kernel):
        _optimise_blocks(level, model, tolerance_of(model), early, values, chosen, residuals, arrived)
    return Solution(values, chosen, float(residuals.max()) * model.discount / (1.0 - model.discount))
