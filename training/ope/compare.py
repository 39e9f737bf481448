"""The off-policy comparison of one log: every policy, every estimator, paired differences.

Within one decision: IPW and its doubly robust form, reward up to the next decision, each
decision and pooled. Over the whole journey: fitted Q evaluation (a point, in the fitted
model), made doubly robust by marginal weights (with an interval, or refused).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.ope.estimate import Contributions, Estimate, Refusal, difference, judge
from training.ope.fqe import fitted_q
from training.ope.marginal import marginal_weights, marginalised_dr
from training.ope.panel import Panel
from training.ope.products import pdis
from training.ope.regression import OutcomeModel, folds
from training.ope.single import doubly_robust, ipw, pooled

Result = Estimate | Refusal


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
    """How to estimate; the generator only cuts folds and resamples customers."""

    model: OutcomeModel
    fold_count: int = 5
    seed: int = 0
    level: float = 0.95


def evaluate_target(panel: Panel, name: str, target: Any, settings: Settings) -> Evaluated:
    """All estimators of one target policy (N, T, A)."""
    n, t_max = panel.actions.shape
    fold_of = folds(n, settings.fold_count, np.random.default_rng(settings.seed))
    waves, robust, rows_of = [], [], []
    for t in range(t_max):
        rows = np.flatnonzero(panel.present[:, t] & (panel.legal[:, t].sum(axis=1) > 1))
        if not len(rows):
            continue
        logged = (target[rows, t], panel.actions[rows, t], panel.propensity[rows, t], panel.rewards[rows, t])
        waves.append(ipw(*logged))
        robust.append(doubly_robust(*logged, panel.features[rows, t], settings.model, fold_of[rows]))
        rows_of.append(rows)
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
    ones, returns = np.ones(n), panel.returns()
    waves, rows_of = [], []
    for t in range(panel.actions.shape[1]):
        rows = np.flatnonzero(panel.present[:, t] & (panel.legal[:, t].sum(axis=1) > 1))
        if len(rows):
            waves.append(Contributions("mean", panel.rewards[rows, t], (np.ones(len(rows)),)))
            rows_of.append(rows)
    wave = pooled(waves, rows_of, n)
    whole = Contributions("mean", returns, (ones,))
    return Evaluated("logged", waves, wave, wave, whole, whole, float(returns.mean()))


def document(policies: list[Evaluated], level: float = 0.95) -> dict[str, Any]:
    """Every figure of `policies`; the first one's paired differences to each of the others."""
    first = policies[0]
    return {
        "policies": {p.name: _figures(p, level) for p in policies},
        "differences": {f"{first.name} - {p.name}": _paired(first, p, level) for p in policies[1:]},
    }


def _figures(p: Evaluated, level: float) -> dict[str, Any]:
    return {
        "by_decision": [judge(w, level=level).document() for w in p.waves],
        "one_decision_ipw": judge(p.wave_ipw, level=level).document(),
        "one_decision_dr": judge(p.wave_dr, level=level).document(),
        "journey_fitted_q": {"mean": p.fitted, "label": "in the fitted model, no interval"},
        "journey_marginalised_dr": judge(p.journey, level=level).document(),
        "journey_products": judge(p.product, level=level).document(),
    }


def _paired(a: Evaluated, b: Evaluated, level: float) -> dict[str, Any]:
    pairs = {
        "one_decision_ipw": (a.wave_ipw, b.wave_ipw),
        "one_decision_dr": (a.wave_dr, b.wave_dr),
        "journey_marginalised_dr": (a.journey, b.journey),
    }
    out = {name: judge(difference(x, y), level=level).document() for name, (x, y) in pairs.items()}
    out["journey_fitted_q"] = {"mean": a.fitted - b.fitted, "label": "in the fitted model, no interval"}
    return out
