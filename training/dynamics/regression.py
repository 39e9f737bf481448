"""Odds and means learned from what happened: penalised regressions that find out what matters.

The log odds of an event (or the logarithm of a mean) are a sum over groups of coefficients: the
levels of each state component, the touchpoint, the channel, what happened earlier, and pairs of
these. Every group has a ridge of its own, found by the fixed point of the marginal
likelihood (MacKay, 1992) under a weak prior for large ones: a group that explains nothing is shrunk
away, without a held-out sample. Newton's method on C cells; m coefficients act in one, P exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from envs.arrays import Array, Floats, Ints, Mask
from envs.compiled import compiled
from training.dynamics.terms import Terms, fill_design, sum_everywhere

LOOSEST, TIGHTEST = 1e-3, 1e6  # ridges; what is held tightest is left out
LEVEL = 1e-6  # ridge of the level
DOUBT = 2.0  # coefficients that a group counts as having at 0, before anything is seen
ROUNDS = 20  # of ridges, with a Newton step between two
SETTLED = 0.05  # relative change of the ridges that matter
STEPS = 30  # of Newton, once the ridges stand
GAIN = 1e-9  # relative, at which it stops
FAR = 60.0  # the logarithm of no amount
NOTHING = 1e-6  # of the usual amount: what a mean is taken for where all amounts were 0


@compiled
def _sums(column: Any, value: Any, count: Any, theta: Any, out: Any) -> None:
    for i in range(len(count)):
        out[i] = 0.0
        for k in range(count[i]):
            out[i] += theta[column[i, k]] * value[i, k]


@compiled
def _moments(
    column: Any, value: Any, count: Any, slope: Any, curve: Any, gradient: Any, hessian: Any
) -> None:
    """Add X'slope and the lower triangle of X'diag(curve)X."""
    for i in range(len(count)):
        for j in range(count[i]):
            a, x = column[i, j], value[i, j]
            gradient[a] += slope[i] * x
            weight = curve[i] * x
            for k in range(j + 1):
                hessian[a, column[i, k]] += weight * value[i, k]


@dataclass(frozen=True)
class Cells:
    """C different (state, action, answered, earlier), and what came of them."""

    state: Ints  # (C,) int64 row of the observations
    action: Ints  # (C,) int64
    answered: Ints  # (C,) int64 action whose contact was answered; read where something happened earlier
    earlier: Ints  # (C,) int64 0 or 1
    trials: Floats  # (C,)
    total: Floats  # (C,) how often it happened; of amounts their sum


@dataclass(frozen=True)
class Odds:
    """What was learned of one event."""

    terms: Terms
    theta: Floats  # (P,) coefficients

    def linear(self, observations: Floats, action: Ints, answered: Ints, earlier: Ints) -> Floats:
        """(N, K) sums of coefficients for observations (N, F) and what is asked of them (N, K)."""
        terms, out = self.terms, np.empty(action.shape)
        sum_everywhere(terms.packed, observations, action, answered, earlier, self.theta, terms.columns, out)
        return out

    def chances(self, observations: Floats, action: Ints, answered: Ints, earlier: Ints) -> Floats:
        """(N, K) of the event."""
        found: Floats = expit(self.linear(observations, action, answered, earlier))
        return found

    def means(self, observations: Floats, action: Ints, answered: Ints, earlier: Ints) -> Floats:
        """(N, K) of amounts."""
        return np.exp(self.linear(observations, action, answered, earlier))


Likelihood = Callable[[Floats, Cells], tuple[float, Floats, Floats]]  # value, slope, curvature


def _logistic(eta: Floats, cells: Cells) -> tuple[float, Floats, Floats]:
    """Log-likelihood, its slope and its curvature, cell by cell."""
    p = expit(eta)
    likelihood = float(cells.total @ eta - cells.trials @ np.logaddexp(0.0, eta))
    return likelihood, cells.total - cells.trials * p, cells.trials * p * (1.0 - p)


def _gamma(eta: Floats, cells: Cells) -> tuple[float, Floats, Floats]:
    """The same for amounts with a constant coefficient of variation; trials counts them."""
    ratio = cells.total * np.exp(np.clip(-eta, -FAR, FAR))  # a step too far is undone, not an overflow
    return float(-(cells.trials * eta + ratio).sum()), ratio - cells.trials, ratio


def fit_chances(terms: Terms, observations: Floats, cells: Cells) -> Odds:
    """How likely the event is."""
    share = (cells.total.sum() + 0.5) / (cells.trials.sum() + 1.0)
    return _fit(terms, observations, cells, float(np.log(share / (1.0 - share))), _logistic)


def fit_means(terms: Terms, observations: Floats, cells: Cells, variation: float) -> Odds:
    """How large the amount is, somewhere above 0; `variation` is its variance over its squared mean."""
    usual = cells.total.sum() / cells.trials.sum()
    cells = replace(cells, total=np.maximum(cells.total, NOTHING * usual * cells.trials))
    level = float(np.log(usual))

    def scaled(eta: Floats, some: Cells) -> tuple[float, Floats, Floats]:
        value, slope, curve = _gamma(eta, some)
        return value / variation, slope / variation, curve / variation

    return _fit(terms, observations, cells, level, scaled)


def _fit(terms: Terms, observations: Floats, cells: Cells, level: float, likelihood: Likelihood) -> Odds:
    size = len(terms.group)
    design = (
        np.zeros((len(cells.state), terms.columns), dtype=np.int64),
        np.zeros((len(cells.state), terms.columns)),
        np.zeros(len(cells.state), dtype=np.int64),
    )
    where = cells.state, cells.action, cells.answered, cells.earlier
    fill_design(terms.packed, observations, *where, *design)
    used = np.zeros(size, dtype=bool)
    for k in range(terms.columns):
        used[design[0][k < design[2], k]] = True
    theta: Floats = np.zeros(size)
    theta[0] = level
    ridges = terms.first.copy()
    ridges[0] = LEVEL
    for _ in range(ROUNDS):
        theta, inverse = _newton(design, cells, theta, ridges[terms.group], used, likelihood, 1)
        before = ridges.copy()
        # what the data say of a group, in coefficients; the rest is the ridge's
        told = 1.0 - ridges[terms.group] * inverse
        degrees = np.bincount(terms.group, np.where(used, told, 0.0), minlength=len(ridges))
        squares = np.bincount(terms.group, theta**2, minlength=len(ridges))
        ridges = np.clip((degrees.clip(min=0.0) + DOUBT) / np.maximum(squares, 1e-12), LOOSEST, TIGHTEST)
        ridges[0] = LEVEL
        changed = np.abs(np.log(ridges / before))[before < 0.1 * TIGHTEST]
        if not len(changed) or changed.max() < SETTLED:
            break
    theta, _ = _newton(design, cells, theta, ridges[terms.group], used, likelihood, STEPS)
    return Odds(terms, theta)


def _newton(
    design: tuple[Array, ...], cells: Cells, theta: Floats, ridge: Floats, used: Mask, likelihood: Likelihood,
    steps: int,
) -> tuple[Floats, Floats]:  # fmt: skip
    """The maximum, and the diagonal of the inverse information there."""
    eta, size = np.empty(len(cells.state)), len(theta)
    kept = np.flatnonzero(used & (ridge < TIGHTEST))
    theta = np.where(used & (ridge < TIGHTEST), theta, 0.0)

    def at(where: Floats) -> tuple[float, Floats, Floats]:
        _sums(*design, where, eta)
        value, slope, curve = likelihood(eta, cells)
        return value - 0.5 * float((ridge * where**2).sum()), slope, curve

    value, slope, curve = at(theta)
    for _ in range(steps):
        gradient, hessian = np.zeros(size), np.zeros((size, size))
        _moments(*design, slope, curve, gradient, hessian)
        gradient = (gradient - ridge * theta)[kept]
        information = hessian[np.ix_(kept, kept)]
        information[np.diag_indices_from(information)] += ridge[kept]
        factor = cho_factor(information, lower=True)
        step = np.zeros(size)
        step[kept] = cho_solve(factor, gradient)
        scale, reached = 1.0, at(theta + step)
        while not reached[0] >= value and scale > 1e-6:  # also where it is no number
            scale *= 0.5
            reached = at(theta + scale * step)
        if not reached[0] >= value:
            break
        gain = reached[0] - value
        theta, (value, slope, curve) = theta + scale * step, reached
        if gain < GAIN * (1.0 + abs(value)):
            break
    inverse = np.zeros(size)
    inverse[kept] = np.diag(cho_solve(factor, np.eye(len(kept))))
    inverse[ridge >= TIGHTEST] = 1.0 / TIGHTEST
    return theta, inverse
