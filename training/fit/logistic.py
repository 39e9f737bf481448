"""Penalised logistic regression on aggregated cells, by Newton's method.

Maximises Σ y log p + (n − y) log(1 − p) − ½ Σ λ (β − centre)², p = σ(Xβ): the ridge pulls
each coefficient towards its own centre (0, or the estimate pooled over clusters). The
posterior covariance is the inverse of the penalised information (Laplace).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from threadpoolctl import threadpool_limits

from envs.arrays import Array, Floats
from envs.journey.logits import sigmoid

MOST_STEPS = 60


@dataclass(frozen=True)
class Estimate:
    """Coefficients β (P,) and their covariance (P, P)."""

    beta: Floats
    information: Floats  # (P, P) minus the second derivative of the objective
    iterations: int

    @cached_property
    def covariance(self) -> Floats:
        """(P, P); most estimates are compared and never asked."""
        with threadpool_limits(1):  # the same on any number of threads
            return np.linalg.inv(self.information)

    def combined(self, rows: Floats) -> tuple[Floats, Floats]:
        """Means and standard errors of linear combinations, `rows` (R, P)."""
        variance = np.einsum("rp,pq,rq->r", rows, self.covariance, rows)
        return rows @ self.beta, np.sqrt(np.maximum(variance, 0.0))


def fit_logistic(
    X: Floats,
    trials: Array,
    events: Array,
    penalty: Floats,
    centre: Floats,
    tolerance: float = 1e-8,
    start: Floats | None = None,
) -> Estimate:
    """Newton with step halving; X (M, P), trials and events (M,), penalty and centre (P,).

    `start` (P,) is where it begins, the centre if nothing nearer is known. It ends with the step
    that promises a gain below `tolerance` of the objective.
    """
    beta = np.array(centre if start is None else start, dtype=np.float64)
    value = _objective(X, trials, events, penalty, centre, beta)
    iterations, promised = 0, np.inf
    while iterations < MOST_STEPS and promised >= tolerance * (1.0 + abs(value)):
        iterations += 1
        p = sigmoid(X @ beta)
        gradient = X.T @ (events - trials * p) - penalty * (beta - centre)
        step = np.linalg.solve(_information(X, trials, p, penalty), gradient)
        promised = 0.5 * float(gradient @ step)
        scale = 1.0
        while scale > 1e-6:
            candidate = beta + scale * step
            reached = _objective(X, trials, events, penalty, centre, candidate)
            if reached >= value:
                break
            scale *= 0.5
        else:
            break
        beta, value = candidate, reached
    return Estimate(beta, _information(X, trials, sigmoid(X @ beta), penalty), iterations)


def _information(X: Floats, trials: Array, p: Floats, penalty: Floats) -> Floats:
    root = X * np.sqrt(trials * p * (1.0 - p))[:, None]
    out = root.T @ root  # of a matrix with itself: half the work
    out[np.diag_indices_from(out)] += penalty
    return out


def _objective(
    X: Floats, trials: Array, events: Array, penalty: Floats, centre: Floats, beta: Floats
) -> float:
    eta = X @ beta
    # log σ(η) = −log(1 + e^−η), written so that neither end overflows
    likelihood = events @ eta - trials @ np.logaddexp(0.0, eta)
    return float(likelihood - 0.5 * (penalty * (beta - centre) ** 2).sum())
