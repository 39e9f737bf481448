"""The journey as it was counted: transition frequencies of visited states, and values on them.

A policy's value is found on the frequencies themselves, with no maximum over noisy values in it:
a maximum would prefer whatever was overrated by luck, day after day. Transitions into states that
were never visited are left out, and the others share their weight. U visited states, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import bicgstab

from training.coupled_sampling import Counted

TOLERANCE = 1e-8  # of a policy's linear system, relative to its rewards; the counts are far noisier
STEPS = 5000  # of the linear solver


@dataclass(frozen=True)
class Empirical:
    """What is known of the visited states."""

    rows: Any  # (U,) int64 consent · S + state
    visits: Any  # (U,) float64
    rewards: Any  # (U, A) mean of what was earned; 0 where never tried
    transitions: Any  # (U·A, U) sparse frequencies; a row sums to the share that did not churn
    discount: float

    def backup(self, values: Any) -> Any:
        """(U, A) γ times the mean of `values` (U,) after an action."""
        following: Any = self.transitions @ values
        return self.discount * following.reshape(self.rewards.shape)

    def evaluate(self, actions: Any, rewards: Any) -> Any:
        """(U,) value of always choosing `actions` (U,) when they earn `rewards` (U, A)."""
        states = np.arange(len(self.rows))
        chain = self.transitions[states * self.rewards.shape[1] + actions]
        system = sparse.identity(len(states), format="csr") - self.discount * chain
        values, _ = bicgstab(system, rewards[states, actions], rtol=TOLERANCE, maxiter=STEPS)
        return values


def empirical(counted: Counted, discount: float) -> Empirical:
    """Frequencies from counts."""
    rows = np.flatnonzero(counted.visits)
    index = np.full(len(counted.visits) + 1, -1)  # the last: a churn, or never visited
    index[rows] = np.arange(len(rows))
    actions = counted.earned.shape[1]
    cell, there = index[counted.row] * actions + counted.action, index[counted.following]
    known, churned = there >= 0, counted.following < 0
    size = len(rows) * actions
    total = np.bincount(cell[known | churned], counted.count[known | churned], minlength=size)
    transitions = sparse.csr_matrix(
        (counted.count[known] / total[cell[known]], (cell[known], there[known])), shape=(size, len(rows))
    )
    visits = counted.visits[rows].astype(np.float64)
    return Empirical(rows, visits, counted.earned[rows] / visits[:, None], transitions, discount)
