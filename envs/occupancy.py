"""Where a policy spends its time: discounted occupancy from d0, and what it earns there.

The transposed system of the solver: blocks with the most consents first, opt-outs flowing
into the smaller ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled
from envs.kernel import Kernel, start_distribution
from envs.linear import bicgstab, gather_rows
from envs.scenario import COMPONENT, COMPONENTS
from envs.solver import as_probabilities, consent_positions, discount_of, levels_of


def leaving(kernel: Kernel, m: int) -> Any:
    """(S, A) probability of an opt-out that takes a consent held in pattern number `m`."""
    channel = np.asarray(kernel.journey.rules.action_channel)
    held = (channel >= 0) & (int(kernel.consents[m]) >> np.maximum(channel, 0) & 1 == 1)
    return np.where(held, kernel.opt_out, 0.0)


def occupancy(kernel: Kernel, policy: Any, discount: float | None = None, tolerance: float = 1e-13) -> Any:
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


def components_of(kernel: Kernel, policy: Any, visits: Any) -> Any:
    """(R,) unweighted discounted components a policy earns from d0."""
    total = np.zeros(len(COMPONENTS))
    for m in range(len(kernel.consents)):
        used = np.flatnonzero(visits[m] > 0)
        pi = as_probabilities(kernel, policy, np.array([m]))[0][used]
        share = pi * visits[m][used][:, None]
        total += np.einsum("xa,xar->r", share, kernel.reward[used])
        total[COMPONENT.opt_out] -= float((share * leaving(kernel, m)[used] * kernel.opt_out_cost).sum())
    return total


def action_occupancy(kernel: Kernel, policy: Any, visits: Any) -> Any:
    """(M, S, A) discounted visits by action."""
    every = np.arange(len(kernel.consents))
    return as_probabilities(kernel, policy, every) * visits[:, :, None]
