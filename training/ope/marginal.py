"""Doubly robust evaluation over all decisions, with weights marginalised to the current state.

    w_0 = 1,  w_{t+1}(s') = E_μ[w_t(s) ρ_t(s, a) | s_{t+1} = s']
    V = E[ v_0 + Σ_t γ^t w_t(s_t) ρ_t (r_t + γ v_{t+1}(s_{t+1}) − q_t(s_t, a_t)) ]

Weights: Xie, Ma, Wang (2019), "MIS"; the estimator: Kallus, Uehara (2020), "Double
reinforcement learning" (the Markov form). Consistent where either the weights or q are
right. A marginal weight depends on the state alone, so its variance grows linearly, not
exponentially, in the number of decisions; it assumes that `cells` is a Markov state.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats, Ints, Mask
from training.ope.estimate import Contributions
from training.ope.fqe import FittedValues
from training.ope.panel import Panel


def marginal_weights(panel: Panel, target: Floats, fold_of: Ints, prior: float = 5.0) -> Floats:
    """(N, T) ŵ_t(s_t), cell means of the other folds, shrunk to 1 by `prior` pseudo-rows.

    Calibrated a decision so that the mean weight is preserved; 0 where absent.
    """
    rho = panel.ratios(target)
    n, t_max = rho.shape
    out = np.zeros((n, t_max))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        weight = np.where(panel.present[:, 0], 1.0, 0.0)
        out[held, 0] = weight[held]
        for t in range(1, t_max):
            carried = weight * rho[:, t - 1]
            weight = _by_cell(panel.cells[:, t], carried, panel.present[:, t], ~held, prior)
            out[held, t] = weight[held]
    return out


def _by_cell(cells: Ints, carried: Floats, present: Mask, rows: Mask, prior: float) -> Floats:
    """(N,) mean of the carried weight in the row's cell, estimated on `rows` only."""
    fit = rows & present
    if not fit.any():
        return np.zeros(len(cells))
    size = int(cells.max()) + 1
    mean = float(carried[fit].mean())
    sums = np.bincount(cells[fit], carried[fit], size) + prior * mean
    weight = (sums / (np.bincount(cells[fit], minlength=size) + prior))[cells]
    level = float(weight[fit].mean())
    return np.where(present, weight * (mean / level if level > 0.0 else 0.0), 0.0)


def marginalised_dr(panel: Panel, target: Floats, fitted: FittedValues, weights: Floats) -> Contributions:
    """Doubly robust contributions from fitted values and marginal weights (both out of fold)."""
    omega = weights * panel.ratios(target)
    t_max = omega.shape[1]
    values = fitted.v[:, 0].copy()
    for t in range(t_max):
        chosen = np.take_along_axis(fitted.q[:, t], panel.actions[:, t, None], axis=1)[:, 0]
        surprise = panel.rewards[:, t] + panel.discount * fitted.v[:, t + 1] - chosen
        here = panel.present[:, t]
        values += panel.discount**t * np.where(here, omega[:, t] * surprise, 0.0)
    columns = tuple(omega[panel.present[:, t], t] for t in range(t_max) if panel.present[:, t].any())
    return Contributions("marginalised dr", values, columns)


def marginalised_is(panel: Panel, target: Floats, weights: Floats) -> Contributions:
    """The same weights without a value model: Σ_t γ^t w_t ρ_t r_t. Xie, Ma, Wang (2019)."""
    omega = weights * panel.ratios(target)
    factors = panel.discount ** np.arange(omega.shape[1])
    values = np.sum(np.where(panel.present, omega * panel.rewards, 0.0) * factors, axis=1)
    columns = tuple(omega[panel.present[:, t], t] for t in range(omega.shape[1]))
    return Contributions("marginalised is", values, columns)
