"""Pareto k̂: how heavy the tail of importance weights is. Leaves out smoothing the weights.

Vehtari, Simpson, Gelman, Yao, Gabry (2024), "Pareto smoothed importance sampling"; the
generalised Pareto fit is Zhang and Stephens (2009), "A new and efficient estimation method
for the generalized Pareto distribution". Above 0.7 an importance-sampling mean and its
standard error cannot be trusted at any sample size that one will have.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from envs.arrays import Floats

MINIMUM_TAIL = 5
ATOM = 0.1  # of the tail sharing the largest weight: the weights are bounded, and the bound was seen
_PRIOR_COUNT, _PRIOR_SHAPE = 10.0, 0.5  # the weak prior of Vehtari et al., appendix G


def pareto_k(weights: npt.ArrayLike) -> float:
    """Tail index of positive weights (n,); 0 where the largest one is common, inf where too few.

    Zeros are rows outside the target's support: they are no part of the tail. Discrete weights
    (constant propensities, few states) end in an atom; a Pareto fit to ties means nothing.
    """
    positive = np.sort(np.asarray(weights, dtype=np.float64).ravel())
    positive = positive[positive > 0.0]
    tail = int(min(math.ceil(0.2 * len(positive)), math.ceil(3.0 * math.sqrt(len(positive)))))
    if tail < MINIMUM_TAIL or len(positive) <= tail:
        return math.inf
    cutoff = positive[-tail - 1]
    exceedances = positive[-tail:] - cutoff
    if np.sum(positive >= (1.0 - 1e-9) * positive[-1]) >= max(ATOM * tail, MINIMUM_TAIL):
        return 0.0
    exceedances = exceedances[exceedances > 1e-12 * float(positive[-1])]
    return generalised_pareto_shape(exceedances)


def generalised_pareto_shape(exceedances: Floats) -> float:
    """Shape k of the generalised Pareto distribution fitted to positive values (n,)."""
    x = np.sort(np.asarray(exceedances, dtype=np.float64))
    n = len(x)
    if n < MINIMUM_TAIL:
        return math.inf
    points = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4.0 + 0.5) - 1]
    grid = 1.0 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    theta = 1.0 / x[-1] + grid / (3.0 * quartile)
    theta = theta[theta != 0.0]
    shape = np.mean(np.log1p(-theta[:, None] * x[None, :]), axis=1)
    likelihood = n * (np.log(-theta / shape) - shape - 1.0)
    weight = np.exp(likelihood - likelihood.max())
    best = float(np.sum(theta * weight) / weight.sum())
    k = float(np.mean(np.log1p(-best * x)))
    return (n * k + _PRIOR_COUNT * _PRIOR_SHAPE) / (n + _PRIOR_COUNT)
