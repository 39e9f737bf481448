"""The off-policy comparison of one log: every policy, every estimator, paired differences.

Within one decision: IPW and its doubly robust form, reward up to the next decision, each
decision and pooled. Over the whole journey: fitted Q evaluation (a point, in the fitted
model), made doubly robust by marginal weights (with an interval, or refused).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.arrays import Floats, Ints
from training.ope.estimate import Contributions, difference, judge
from training.ope.fqe import fitted_q
from training.ope.marginal import marginal_weights, marginalised_dr
from training.ope.panel import Panel
from training.ope.products import pdis
from training.ope.regression import OutcomeModel, cross_fit, folds
from training.ope.single import doubly_robust, ipw, pooled


@dataclass(frozen=True)
class Evaluated:
    """Contributions of one policy; `waves` by decision, the rest over customers."""

    name: str
    waves: list[Contributions]
    wave_ipw: Contributions
    wave_dr: Contributions
    journey: Contributions
    product: Contributions
    fitted: float  # fitted Q evaluation: no interval


@dataclass(frozen=True)
class Settings:
    """How to fit; the seed only cuts the folds."""

    model: OutcomeModel
    fold_count: int = 5
    seed: int = 0


def evaluate_targets(panel: Panel, targets: dict[str, Floats], settings: Settings) -> list[Evaluated]:
    """All estimators of every target policy (N, T, A), on the same folds."""
    fold_of = folds(len(panel.actions), settings.fold_count, np.random.default_rng(settings.seed))
    waves = [_wave(panel, t, settings.model, fold_of) for t in range(panel.actions.shape[1])]
    kept = [wave for wave in waves if len(wave.rows)]
    return [_evaluated(panel, name, target, kept, settings, fold_of) for name, target in targets.items()]


@dataclass(frozen=True)
class _Wave:
    """The rows that had a choice at one decision, and what their reward was fitted to be."""

    t: int
    rows: Ints
    q: Floats  # (rows, A), the same for every target


def _wave(panel: Panel, t: int, model: OutcomeModel, fold_of: Ints) -> _Wave:
    rows = np.flatnonzero(panel.present[:, t] & (panel.legal[:, t].sum(axis=1) > 1))
    if not len(rows):
        return _Wave(t, rows, np.zeros((0, panel.count)))
    seen = (panel.features[rows, t], panel.actions[rows, t], panel.rewards[rows, t])
    return _Wave(t, rows, cross_fit(model, *seen, panel.count, fold_of[rows]))


def _evaluated(
    panel: Panel, name: str, target: Floats, kept: list[_Wave], settings: Settings, fold_of: Ints
) -> Evaluated:
    n, waves, robust = len(panel.actions), [], []
    for wave in kept:
        at = wave.rows, wave.t
        logged = (target[at], panel.actions[at], panel.propensity[at], panel.rewards[at])
        waves.append(ipw(*logged))
        robust.append(doubly_robust(*logged, wave.q))
    rows_of = [wave.rows for wave in kept]
    fitted = fitted_q(panel, target, settings.model, fold_of)
    weights = marginal_weights(panel, target, fold_of)
    return Evaluated(
        name=name,
        waves=waves,
        wave_ipw=pooled(waves, rows_of, n),
        wave_dr=pooled(robust, rows_of, n),
        journey=marginalised_dr(panel, target, fitted, weights),
        product=pdis(panel, target),
        fitted=fitted.value,
    )


def evaluate_logged(panel: Panel) -> Evaluated:
    """The policy that wrote the log: plain means, weights all 1."""
    n = len(panel.actions)
    returns = panel.returns()
    waves, rows_of = [], []
    for t in range(panel.actions.shape[1]):
        rows = np.flatnonzero(panel.present[:, t] & (panel.legal[:, t].sum(axis=1) > 1))
        if len(rows):
            waves.append(Contributions("mean", panel.rewards[rows, t], (np.ones(len(rows)),)))
            rows_of.append(rows)
    wave = pooled(waves, rows_of, n)
    columns = tuple(np.ones(int(here.sum())) for here in panel.present.T if here.any())
    whole = Contributions("mean", returns, columns)
    return Evaluated("logged", waves, wave, wave, whole, whole, float(returns.mean()))


@dataclass(frozen=True)
class Interval:
    """How intervals over customers are made; the same resamples for every figure."""

    level: float = 0.95
    bootstrap: int = 0  # resamples; 0: normal
    seed: int = 0

    def of(self, parts: Contributions) -> dict[str, object]:
        """The judged figure, or its refusal."""
        if not self.bootstrap:
            return judge(parts, level=self.level).document()
        rng = np.random.default_rng(self.seed)
        result = judge(parts, level=self.level, interval="bootstrap", rng=rng, resamples=self.bootstrap)
        return result.document()


def document(policies: list[Evaluated], interval: Interval) -> dict[str, Any]:
    """Every figure of `policies`; the first one's paired differences to each of the others."""
    first = policies[0]
    return {
        "interval": {"level": interval.level, "method": "bootstrap" if interval.bootstrap else "normal"},
        "policies": {p.name: _figures(p, interval) for p in policies},
        "differences": {f"{first.name} - {p.name}": _paired(first, p, interval) for p in policies[1:]},
    }


def _figures(p: Evaluated, interval: Interval) -> dict[str, object]:
    return {
        "by_decision": [interval.of(wave) for wave in p.waves],
        "one_decision_ipw": interval.of(p.wave_ipw),
        "one_decision_dr": interval.of(p.wave_dr),
        "journey_fitted_q": {"mean": p.fitted, "label": FITTED},
        "journey_marginalised_dr": interval.of(p.journey),
        "journey_products": interval.of(p.product),
    }


FITTED = "in the fitted model, no interval"


def _paired(a: Evaluated, b: Evaluated, interval: Interval) -> dict[str, object]:
    pairs = {
        "one_decision_ipw": (a.wave_ipw, b.wave_ipw),
        "one_decision_dr": (a.wave_dr, b.wave_dr),
        "journey_marginalised_dr": (a.journey, b.journey),
    }
    out: dict[str, object] = {name: interval.of(difference(x, y)) for name, (x, y) in pairs.items()}
    out["by_decision"] = [interval.of(difference(x, y)) for x, y in zip(a.waves, b.waves, strict=True)]
    out["journey_fitted_q"] = {"mean": a.fitted - b.fitted, "label": FITTED}
    return out
