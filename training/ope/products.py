"""Product weights over a whole journey: only for logs of very few decisions.

The variance grows exponentially in the number of decisions: a policy that sends one given
offer of ten in six waves is followed by nobody. The gate says so; use `marginal.py` instead.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats
from training.ope.estimate import Contributions
from training.ope.panel import Panel


def pdis(panel: Panel, target: Floats) -> Contributions:
    """Per-decision importance sampling: Σ_t γ^t (Π_{k≤t} ρ_k) r_t. Unbiased.

    Precup, Sutton, Singh (2000). Needs overlap along the whole journey; `target` is (N, T, A).
    """
    rho = np.where(panel.present, panel.ratios(target), 1.0)
    weights = np.cumprod(rho, axis=1)
    factors = panel.discount ** np.arange(weights.shape[1])
    values = np.sum(np.where(panel.present, weights * panel.rewards, 0.0) * factors, axis=1)
    columns = tuple(weights[panel.present[:, t], t] for t in range(weights.shape[1]))
    return Contributions("pdis", values, columns)


def weighted_pdis(panel: Panel, target: Floats) -> Contributions:
    """Per-decision weights normalised a decision: Σ_t γ^t Σ_i w_it r_it / Σ_i w_it. Consistent.

    Thomas (2015), "CWPDIS". Contributions are linearised as in `single.snips`.
    """
    rho = np.where(panel.present, panel.ratios(target), 1.0)
    weights = np.where(panel.present, np.cumprod(rho, axis=1), 0.0)
    values = np.zeros(len(rho))
    for t in range(weights.shape[1]):
        w, here = weights[:, t], panel.present[:, t]
        total = float(w.sum())
        if total <= 0.0:
            continue
        mean = float(np.sum(w * np.where(here, panel.rewards[:, t], 0.0))) / total
        share = float(here.mean())
        linear = mean + np.where(here, w * (panel.rewards[:, t] - mean), 0.0) / (total / len(w))
        values += panel.discount**t * share * linear
    columns = tuple(weights[panel.present[:, t], t] for t in range(weights.shape[1]))
    return Contributions("weighted pdis", values, columns)
