"""Mean purchase values by stage and offer, clusters held at a pattern they share.

A cluster has its own scale; how far its stages may leave the pooled pattern is estimated from
the clusters' own scatter (DerSimonian and Laird, 1986), so a few purchases borrow, many do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from training.fit.cells import Cells

LEAST_SPREAD = 0.05  # of a cluster's stages around the pattern, in logs
CV_UNKNOWN = 0.5


@dataclass(frozen=True)
class Values:
    """One cluster: a_stage · b_offer, and the coefficient of variation."""

    stage: Floats  # (L,)
    offer: Floats  # (1 + K,)
    cv: float


def fit_values(cells: list[Cells], stages: int, offers: int) -> list[Values]:
    """Values of each cluster; all 0 where nobody bought."""
    shape = (stages, offers)
    counts = [group.purchases[0].reshape(shape).astype(np.float64) for group in cells]
    totals = [group.value[0].reshape(shape) for group in cells]
    squares = [group.value_squared[0].reshape(shape) for group in cells]
    base, multiplier = _common_pattern(counts, totals)
    pattern = np.outer(base, multiplier)
    scales = [_ratio(total.sum(), (n * pattern).sum(), 1.0) for n, total in zip(counts, totals, strict=True)]
    cv = _variation(counts, squares, [scale * pattern for scale in scales])
    held = cv**2 / _spread(counts, totals, scales, pattern, cv) ** 2
    whole = sum(counts)
    share = whole / np.maximum(whole.sum(axis=1, keepdims=True), 1.0)
    out = []
    for n, total, square, scale in zip(counts, totals, squares, scales, strict=True):
        mine = scale * pattern
        a, b = product_means(n + held * share, total + held * share * mine, mine[:, 0])
        own = _variation([n], [square], [np.outer(a, b)]) if n.sum() > 1 else cv
        out.append(Values(a, b, own))
    return out


def _common_pattern(counts: list[Floats], totals: list[Floats]) -> tuple[Floats, Floats]:
    """Stage and offer pattern of all clusters, each on its own scale (alternating fixed points)."""
    scales = np.ones(len(counts))
    a: Floats = np.zeros(counts[0].shape[0])
    b: Floats = np.ones(counts[0].shape[1])
    total: Floats = np.asarray(sum(totals))
    for _ in range(20):
        n: Floats = np.asarray(sum(scale * count for scale, count in zip(scales, counts, strict=True)))
        a, b = product_means(n, total, np.full(len(a), np.nan))
        pattern = np.outer(a, b)
        scales = np.array(
            [_ratio(t.sum(), (n * pattern).sum(), 1.0) for n, t in zip(counts, totals, strict=True)]
        )
    return a, b


def _variation(counts: list[Floats], squares: list[Floats], means: list[Floats]) -> float:
    """Coefficient of variation around these means."""
    n = sum(count.sum() for count in counts)
    if n < 2:
        return CV_UNKNOWN
    second = sum(
        np.divide(square, mean**2, out=np.zeros_like(square), where=mean > 0).sum()
        for square, mean in zip(squares, means, strict=True)
    )
    return float(np.sqrt(max(second / n - 1.0, 1e-4)))


def _spread(
    counts: list[Floats], totals: list[Floats], scales: list[float], pattern: Floats, cv: float
) -> float:
    """Standard deviation of the clusters' stages around the pattern, in logs."""
    squares, weights = [], []
    for n, total, scale in zip(counts, totals, scales, strict=True):
        expected = (n * scale * pattern).sum(axis=1)
        bought = n.sum(axis=1) >= 5
        if bought.any():
            weight = n.sum(axis=1)[bought] / cv**2
            squares.append(weight * np.log(total.sum(axis=1)[bought] / expected[bought]) ** 2)
            weights.append(weight)
    if not weights:
        return LEAST_SPREAD
    w = np.concatenate(weights)
    free = max(len(w) - len(pattern) - len(counts) + 1, 1)
    excess = float(np.concatenate(squares).sum()) - free
    variance = excess / max(float(w.sum() - (w**2).sum() / w.sum()), 1e-9)
    return float(np.sqrt(max(variance, LEAST_SPREAD**2)))


def _ratio(value: float, by: float, empty: float) -> float:
    return float(value / by) if by > 0 else empty


def product_means(n: Floats, total: Floats, empty: Floats) -> tuple[Floats, Floats]:
    """m_{stage, offer} = a_stage · b_offer, b_0 = 1: the Poisson quasi-likelihood's fixed point."""
    overall = total.sum() / max(n.sum(), 1e-12)
    a = np.where(np.isfinite(empty), empty, overall)
    b = np.ones(n.shape[1])
    for _ in range(50):
        expected = n @ b
        a = np.where(expected > 0, total.sum(axis=1) / np.maximum(expected, 1e-12), a)
        weight = a @ n
        b = np.where(weight > 0, total.sum(axis=0) / np.maximum(weight, 1e-12), b)
        if n[:, 0].sum() > 0 and b[0] > 0:
            a, b = a * b[0], b / b[0]
    return a, np.clip(b, 1e-6, 1e6)
