"""From per-customer contributions to a number with an interval, or a printed refusal.

Customers are the independent unit: an estimate is the mean of one contribution a customer,
its interval normal or bootstrapped over customers, and two policies are compared by the
difference of their contributions (paired). The gate is here and nowhere else: below an
effective sample size of 100, or with Pareto k̂ of the weights above 0.7, no interval is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from envs.arrays import Floats
from envs.errors import GateError
from training.ope.pareto import pareto_k

MINIMUM_EFFECTIVE_SAMPLE = 100.0
MAXIMUM_PARETO_K = 0.7


@dataclass(frozen=True)
class Contributions:
    """N customers' parts of an estimate, and the importance weights behind them."""

    method: str
    values: Floats  # (N,) their mean is the estimate
    weights: tuple[Floats, ...] = ()  # arrays of weights, each gated by itself (one a decision, say)


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval. `low` and `high` hold with probability `level`."""

    mean: float
    low: float
    high: float
    effective_sample_size: float
    method: str
    pareto_k: float
    level: float = 0.95
    customers: int = 0

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {"refused": False, **_finite(asdict(self))}


@dataclass(frozen=True)
class Refusal:
    """No interval: the weights cannot carry one. The reason names the figure."""

    reason: str
    effective_sample_size: float
    method: str
    pareto_k: float

    def __str__(self) -> str:
        return f"refused: {self.reason}"

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {"refused": True, **_finite(asdict(self))}


def _finite(fields: Mapping[str, object]) -> dict[str, object]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}


def effective_sample_size(weights: npt.ArrayLike) -> float:
    """(Σw)² / Σw² (Kish, 1965); 0 without weight."""
    w = np.asarray(weights, dtype=np.float64)
    square = float(np.sum(w * w))
    return float(np.sum(w)) ** 2 / square if square > 0.0 else 0.0


def judge(
    parts: Contributions,
    *,
    level: float = 0.95,
    interval: Literal["normal", "bootstrap"] = "normal",
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
) -> Estimate | Refusal:
    """Mean and interval over customers, unless the weights fail the gate.

    The effective sample is the worst of the weight arrays; the number of customers bounds it.
    """
    values = np.asarray(parts.values, dtype=np.float64)
    n = len(values)
    size = min([float(n)] + [effective_sample_size(w) for w in parts.weights])
    k = max([0.0] + [pareto_k(w) for w in parts.weights])
    if size < MINIMUM_EFFECTIVE_SAMPLE:
        reason = f"effective sample size {size:.0f} is below {MINIMUM_EFFECTIVE_SAMPLE:.0f}"
        return Refusal(reason, size, parts.method, k)
    if k > MAXIMUM_PARETO_K:
        return Refusal(f"Pareto k of the weights {k:.2f} is above {MAXIMUM_PARETO_K}", size, parts.method, k)
    mean = float(values.mean())
    if interval == "bootstrap":
        low, high = _bootstrap(values, level, resamples, rng)
    else:
        error = float(values.std(ddof=1)) / math.sqrt(n)
        z = NormalDist().inv_cdf(0.5 + level / 2.0)
        low, high = mean - z * error, mean + z * error
    return Estimate(mean, low, high, size, parts.method, k, level, n)


def _bootstrap(
    values: Floats, level: float, resamples: int, rng: np.random.Generator | None
) -> tuple[float, float]:
    """Percentile interval over resampled customers (Efron, 1979); counts, so memory stays O(N)."""
    if rng is None:
        raise ValueError("a bootstrap needs its generator")
    n = len(values)
    means = np.array([rng.choice(values, size=n).mean() for _ in range(resamples)])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def difference(first: Contributions, second: Contributions) -> Contributions:
    """First minus second, customer by customer.

    Both sets of weights must pass the gate, and so must |ρ₁ − ρ₂| where both weight the same
    rows: what the policies share cancels, so the difference rests on where they differ.
    """
    if len(first.values) != len(second.values):
        raise ValueError("a paired difference needs the same customers")
    method = first.method if first.method == second.method else f"{first.method} - {second.method}"
    pairs = list(zip(first.weights, second.weights, strict=False))
    same = len(first.weights) == len(second.weights) and all(np.shape(a) == np.shape(b) for a, b in pairs)
    weights = first.weights + second.weights
    if same:
        gaps = [np.abs(np.asarray(a) - np.asarray(b)) for a, b in pairs]
        # where the policies agree, nothing is estimated
        weights = weights + tuple(gap for gap in gaps if gap.any()) if any(g.any() for g in gaps) else ()
    return Contributions(method, first.values - second.values, weights)


def require(result: Estimate | Refusal) -> Estimate:
    """The estimate; raises `GateError` with the figure where it was refused."""
    if isinstance(result, Refusal):
        raise GateError(f"{result.method}: {result.reason}")
    return result
