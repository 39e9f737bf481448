"""What several seeds say together: interquartile mean, intervals, paired differences, passes.

The interquartile mean and its stratified bootstrap follow Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice", doi 10.48550/arXiv.2108.13264.
Seeds are the only randomness counted here: the scores themselves are exact. Knows no learner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from envs.arrays import Floats

TRIMMED = 0.25  # dropped from each end
RESAMPLES = 2_000  # the paper's number; the ends then move by about 0.3 % of rank

Scores = Sequence[float] | Sequence[Sequence[float]]
"""The scores of one task's seeds, or of several tasks (a cluster each), seed by seed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval over seeds."""

    mean: float
    low: float
    high: float


def interquartile_mean(values: Scores) -> float:
    """Mean of the middle half of all scores: ⌊n / 4⌋ dropped at each end, as the paper does it.

    Below four scores nothing is dropped. Raises ValueError where there is no finite score.
    """
    return float(_middle(np.concatenate(_strata(values))))


def interval(values: Scores, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Interquartile mean with a percentile interval from a stratified bootstrap.

    Every task's seeds are drawn anew among themselves, so the tasks' share in the figure is
    fixed and their differences do not widen the interval. It cannot see beyond the seeds
    there are: with fewer than about ten a task it is too narrow (three seeds: the chance that
    all draws are the same seed is 1/9), and a single seed gives no width at all.
    """
    strata = _strata(values)
    random = np.random.default_rng(seed)
    drawn = [s[random.integers(0, len(s), (resamples, len(s)))] for s in strata]
    middles = _middle(np.concatenate(drawn, axis=1))
    low, high = np.quantile(middles, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(interquartile_mean(values), float(low), float(high))


def paired_difference(ours: Sequence[float], theirs: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean of `ours − theirs` over the same seeds, with Student's interval.

    d̄ ± t(n − 1) · s / √n, s the sample deviation of the n differences; exact for normal
    differences at any n ≥ 2. A seed's luck that both share cancels.
    """
    (a,), (b,) = _strata(ours), _strata(theirs)
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"two scores a seed, at least two seeds: got {len(a)} and {len(b)}")
    difference = a - b
    mean = float(difference.mean())
    half = float(student.ppf((1.0 + level) / 2.0, len(a) - 1) * difference.std(ddof=1) / np.sqrt(len(a)))
    return Estimate(mean, mean - half, mean + half)


def share_at_least(values: Sequence[float], threshold: float) -> float:
    """Share of seeds whose score reaches the threshold; a score equal to it passes."""
    (scores,) = _strata(values)
    return float((scores >= threshold).mean())


def _middle(scores: Floats) -> Floats:
    """Trimmed means of the last axis."""
    dropped = int(TRIMMED * scores.shape[-1])
    out: Floats = np.sort(scores, axis=-1)[..., dropped : scores.shape[-1] - dropped].mean(axis=-1)
    return out


def _strata(values: Scores) -> list[Floats]:
    """One array a task; tasks may have different numbers of seeds."""
    rows = [values] if len(values) == 0 or np.ndim(values[0]) == 0 else values
    strata: list[Floats] = [np.asarray(row, dtype=np.float64) for row in rows]
    for scores in strata:
        if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
            raise ValueError(f"finite scores of at least one seed a task: got {scores.tolist()}")
    return strata
