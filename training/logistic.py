"""Penalised logistic regression on aggregated cells, by Newton's method.

Maximises Σ y log p + (n − y) log(1 − p) − ½ Σ λ (β − centre)², p = σ(Xβ): the ridge pulls
each coefficient towards its own centre (0, or the estimate pooled over clusters). The
posterior covariance is the inverse of the penalised information (Laplace).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.parameters import sigmoid

MOST_STEPS = 60


@dataclass(frozen=True)
class Estimate:
    """Coefficients β (P,) and their covariance (P, P)."""

    beta: Any
    covariance: Any
    iterations: int

    def combined(self, rows: Any) -> tuple[Any, Any]:
        """Means and standard errors of linear combinations, `rows` (R, P)."""
        variance = np.einsum("rp,pq,rq->r", rows, self.covariance, rows)
        return rows @ self.beta, np.sqrt(np.maximum(variance, 0.0))


def fit_logistic(
    X: Any, trials: Any, events: Any, penalty: Any, centre: Any, tolerance: float = 1e-8
) -> Estimate:
    """Newton with step halving; X (M, P), trials and events (M,), penalty and centre (P,)."""
    beta = np.array(centre, dtype=np.float64)
    value = _objective(X, trials, events, penalty, centre, beta)
    iterations = 0
    while iterations < MOST_STEPS:
        iterations += 1
        p = sigmoid(X @ beta)
        gradient = X.T @ (events - trials * p) - penalty * (beta - centre)
        step = np.linalg.solve(_information(X, trials, p, penalty), gradient)
        scale = 1.0
        while scale > 1e-6:
            candidate = beta + scale * step
            reached = _objective(X, trials, events, penalty, centre, candidate)
            if reached >= value:
                break
            scale *= 0.5
        else:
            break
        beta, gain, value = candidate, reached - value, reached
        if gain < tolerance * (1.0 + abs(value)):
            break
    return Estimate(beta, np.linalg.inv(_information(X, trials, sigmoid(X @ beta), penalty)), iterations)


def _information(X: Any, trials: Any, p: Any, penalty: Any) -> Any:
    """Minus the second derivative of the objective."""
    return (X * (trials * p * (1.0 - p))[:, None]).T @ X + np.diag(penalty)


def _objective(X: Any, trials: Any, events: Any, penalty: Any, centre: Any, beta: Any) -> float:
    eta = X @ beta
    # log σ(η) = −log(1 + e^−η), written so that neither end overflows
    likelihood = events @ eta - trials @ np.logaddexp(0.0, eta)
    return float(likelihood - 0.5 * (penalty * (beta - centre) ** 2).sum())
