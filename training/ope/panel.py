"""Logged journeys as arrays: N customers, T decisions, what was seen, done and earned.

The common input of all sequential estimators. Leaves out how a log becomes a panel
(`log_panel.py`) and where target probabilities come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask


@dataclass(frozen=True)
class Panel:
    """T decisions of N customers; rows after a journey's end are absent.

    `rewards[:, t]` is everything earned from decision t up to the next one.
    """

    features: Floats  # (N, T, F) known before the decision
    cells: Ints  # (N, T) number of the discrete state, for marginalised weights
    actions: Ints  # (N, T) as assigned
    propensity: Floats  # (N, T) of that action under the logging policy
    rewards: Floats  # (N, T)
    legal: Mask  # (N, T, A)
    present: Mask  # (N, T)
    discount: float = 1.0  # a decision

    def __post_init__(self) -> None:
        n, t = self.actions.shape
        shapes = (self.cells.shape, self.propensity.shape, self.rewards.shape, self.present.shape)
        if any(shape != (n, t) for shape in shapes) or self.legal.shape[:2] != (n, t):
            raise ValueError(f"panel arrays disagree: (N, T) = {(n, t)}, got {shapes}")
        if np.any(self.propensity[self.present] <= 0.0):
            raise ValueError("a logged action with propensity 0 was never taken")

    @property
    def count(self) -> int:
        """A, the number of actions."""
        return int(self.legal.shape[2])

    def returns(self) -> Floats:
        """(N,) discounted sum of rewards: the logged policy's value, customer by customer."""
        factors = self.discount ** np.arange(self.rewards.shape[1])
        out: Floats = np.sum(np.where(self.present, self.rewards, 0.0) * factors, axis=1)
        return out

    def ratios(self, target: Floats) -> Floats:
        """(N, T) ρ = π(a|s) / μ(a|s); 0 where absent."""
        chosen = np.take_along_axis(target, self.actions[:, :, None], axis=2)[:, :, 0]
        return np.where(self.present, chosen / np.where(self.present, self.propensity, 1.0), 0.0)
