"""Finite horizons: backward induction over H days, for the optimum and for any policy.

Same kernel, same backups as the discounted solver; `discount` defaults to the scenario's, 1
gives the plain sum. Values are (M, S) with H days to go.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.kernel import Kernel, start_distribution
from envs.solver import as_probabilities, q_values


def solve_horizon(kernel: Kernel, weights: Any, days: int, discount: float | None = None) -> Any:
    """(M, S) best expected reward of `days` days."""
    values = np.zeros((len(kernel.consents), kernel.states))
    for _ in range(days):
        values = np.array([q_values(kernel, values, weights, m, discount).max(1) for m in range(len(values))])
    return values


def evaluate_horizon(
    kernel: Kernel, policy: Any, weights: Any, days: int, discount: float | None = None
) -> float:
    """Expected reward of `days` days from d0 under a stationary policy."""
    values = np.zeros((len(kernel.consents), kernel.states))
    for _ in range(days):
        values = np.array([_mean(kernel, policy, values, weights, m, discount) for m in range(len(values))])
    return float((start_distribution(kernel) * values).sum())


def _mean(kernel: Kernel, policy: Any, values: Any, weights: Any, m: int, discount: float | None) -> Any:
    q = q_values(kernel, values, weights, m, discount)
    pi = as_probabilities(kernel, policy, np.array([m]))[0]
    return (pi * np.where(pi > 0, q, 0.0)).sum(1)
