"""Fitted Q evaluation: the value of a policy by regression, backwards from the last decision.

    q_T = 0,  q_t(s, a) = E[r_t + γ v_{t+1}(s_{t+1}) | s, a],  v_t(s) = Σ_a π(a|s) q_t(s, a)

Le, Voloshin, Yue (2019); Duan, Jia, Wang (2020). No importance weights: as good as the
regression. Assumes the state carries what matters and every (s, a) the target visits was
seen or lies between what was seen. Point values only: `marginal.py` makes them doubly
robust and gives the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask
from training.ope.panel import Panel
from training.ope.regression import Fitted, OutcomeModel


@dataclass(frozen=True)
class FittedValues:
    """Out-of-fold action values and state values of a target policy."""

    q: Floats  # (N, T, A)
    v: Floats  # (N, T + 1), 0 where absent and after the last decision

    @property
    def value(self) -> float:
        """Mean value of the first state: the direct estimate."""
        return float(self.v[:, 0].mean())


def fitted_q(panel: Panel, target: Floats, model: OutcomeModel, fold_of: Ints) -> FittedValues:
    """Cross-fitted over customers: each row's values come from models that never saw it.

    `target` (N, T, A), `fold_of` (N,).
    """
    n, t_max = panel.actions.shape
    q, v = np.zeros((n, t_max, panel.count)), np.zeros((n, t_max + 1))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        models = _backward(panel, target, model, ~held)
        for t, fitted in enumerate(models):
            rows = held & panel.present[:, t]
            if fitted is None or not rows.any():
                continue
            q[rows, t] = fitted.predict(panel.features[rows, t])
            v[rows, t] = np.sum(target[rows, t] * q[rows, t], axis=1)
    return FittedValues(q, v)


def _backward(panel: Panel, target: Floats, model: OutcomeModel, rows: Mask) -> list[Fitted | None]:
    """One fitted mean a decision, from the last to the first."""
    t_max = panel.actions.shape[1]
    models: list[Fitted | None] = [None] * t_max
    following = np.zeros(len(panel.actions))
    for t in reversed(range(t_max)):
        here = rows & panel.present[:, t]
        if not here.any():
            following = np.zeros(len(following))
            continue
        goal = panel.rewards[here, t] + panel.discount * following[here]
        fitted = model.fit(panel.features[here, t], panel.actions[here, t], goal, panel.count)
        models[t] = fitted
        following = np.zeros(len(following))
        following[here] = np.sum(target[here, t] * fitted.predict(panel.features[here, t]), axis=1)
    return models
