"""One decision, one reward: estimators within one wave. Leaves out what a decision does later.

N rows, A actions. Assumptions: the recorded propensity μ(a|x) is that of the sampler really
used; wherever the target would act, μ > 0 (overlap); rows of different customers are independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.arrays import Floats, Ints
from training.ope.estimate import Contributions


def importance_weights(target: Floats, actions: Ints, propensity: Floats) -> Floats:
    """ρ = π(a|x) / μ(a|x), (N,); target probabilities are (N, A)."""
    chosen = np.take_along_axis(np.asarray(target), np.asarray(actions)[:, None], axis=1)[:, 0]
    return chosen / np.asarray(propensity, dtype=np.float64)


def ipw(target: Floats, actions: Ints, propensity: Floats, rewards: Floats) -> Contributions:
    """Inverse propensity weighting: mean of ρ·r. Unbiased.

    Horvitz and Thompson (1952); Precup, Sutton, Singh (2000).
    """
    rho = importance_weights(target, actions, propensity)
    return Contributions("ipw", rho * rewards, (rho,))


def snips(target: Floats, actions: Ints, propensity: Floats, rewards: Floats) -> Contributions:
    """Self-normalised IPW: Σρr / Σρ. Bias of order 1/N, far less variance.

    Swaminathan and Joachims (2015). Contributions are linearised (delta method): V + ρ(r − V) / mean ρ.
    """
    rho = importance_weights(target, actions, propensity)
    total = float(rho.sum())
    value = float(np.sum(rho * rewards)) / total if total > 0.0 else float("nan")
    spread = rho * (rewards - value) / (total / len(rho)) if total > 0.0 else np.zeros(len(rho))
    return Contributions("snips", value + spread, (rho,))


def doubly_robust(
    target: Floats, actions: Ints, propensity: Floats, rewards: Floats, q: Floats
) -> Contributions:
    """Doubly robust: mean of Σ_a π(a|x) q̂(x,a) + ρ (r − q̂(x,a)), q̂ (N, A) fitted elsewhere.

    Dudík, Langford, Li (2011). Unbiased with right propensities whatever q̂ is, if a row's q̂
    comes from other customers (`regression.cross_fit`, Chernozhukov et al., 2018); a good q̂
    only narrows the interval. One q̂ serves every target.
    """
    rho = importance_weights(target, actions, propensity)
    fitted = np.take_along_axis(q, np.asarray(actions)[:, None], axis=1)[:, 0]
    values = np.sum(target * q, axis=1) + rho * (rewards - fitted)
    return Contributions("dr", values, (rho,))


def pooled(parts: list[Contributions], customer_of: Sequence[Ints], customers: int) -> Contributions:
    """Several waves as one mean over waves: contributions are added up a customer, then scaled.

    `customer_of[w]` numbers the rows of wave w. A customer absent from a wave contributes the
    wave's nothing; weights stay one array over all rows.
    """
    totals = np.zeros(customers)
    for part, rows in zip(parts, customer_of, strict=True):
        np.add.at(totals, rows, np.asarray(part.values) * (customers / len(rows)))
    weights = np.concatenate([np.ravel(w) for part in parts for w in part.weights])
    return Contributions(parts[0].method, totals / len(parts), (weights,))
