"""The regression against closed forms and against a maximiser that knows no Newton."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from training.fit.logistic import fit_logistic


def test_a_saturated_model_gives_the_log_odds_of_each_cell() -> None:
    X = np.array([[1.0, 0.0], [1.0, 1.0]])
    fit = fit_logistic(X, np.array([400.0, 100.0]), np.array([100.0, 20.0]), np.zeros(2) + 1e-12, np.zeros(2))
    assert fit.beta == pytest.approx([np.log(100 / 300), np.log(20 / 80) - np.log(100 / 300)], abs=1e-9)
    # the standard error of a log odds is sqrt(1/y + 1/(n-y)) (Woolf, 1955)
    rows = np.array([[1.0, 1.0], [0.0, 1.0]])
    mean, error = fit.combined(rows)
    assert mean[0] == pytest.approx(np.log(20 / 80))
    assert error[0] == pytest.approx(np.sqrt(1 / 20 + 1 / 80), rel=1e-6)
    assert error[1] == pytest.approx(np.sqrt(1 / 20 + 1 / 80 + 1 / 100 + 1 / 300), rel=1e-6)


def test_newton_finds_what_a_general_maximiser_finds() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(60), rng.normal(size=(60, 3))])
    trials = rng.integers(1, 50, size=60).astype(float)
    events = rng.binomial(trials.astype(int), 0.2).astype(float)
    penalty, centre = np.array([0.01, 1.0, 4.0, 1.0]), np.array([0.0, 0.3, -0.2, 0.0])

    def loss(beta: np.ndarray) -> float:
        eta = X @ beta
        likelihood = (events * eta - trials * np.logaddexp(0, eta)).sum()
        return float(-likelihood + 0.5 * (penalty * (beta - centre) ** 2).sum())

    found = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    assert fit_logistic(X, trials, events, penalty, centre).beta == pytest.approx(found, abs=1e-5)


def test_without_data_a_coefficient_stays_at_its_centre() -> None:
    X = np.array([[1.0, 0.0]])  # the second term is in no cell
    fit = fit_logistic(X, np.array([50.0]), np.array([10.0]), np.array([1e-6, 2.0]), np.array([0.0, -0.7]))
    assert fit.beta[1] == -0.7
    assert fit.covariance[1, 1] == pytest.approx(0.5)  # all that is known is the ridge


def test_separated_data_stays_finite() -> None:
    X = np.array([[1.0, 0.0], [1.0, 1.0]])
    fit = fit_logistic(X, np.array([1e6, 1e6]), np.array([0.0, 1e6]), np.array([0.05, 1.0]), np.zeros(2))
    assert np.isfinite(fit.beta).all()
    p = 1 / (1 + np.exp(-(X @ fit.beta)))
    assert p[0] < 1e-3
    assert p[1] > 1 - 1e-3


def test_a_stronger_ridge_never_moves_further_from_the_centre() -> None:
    X, n, y = np.ones((1, 1)), np.array([200.0]), np.array([30.0])
    distances = [
        abs(fit_logistic(X, n, y, np.array([strength]), np.array([-1.0])).beta[0] + 1.0)
        for strength in (0.01, 1.0, 100.0, 10_000.0)
    ]
    assert distances == sorted(distances, reverse=True)


def test_a_start_near_the_maximum_ends_there_too_and_sooner() -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(80), rng.normal(size=(80, 4))])
    trials = rng.integers(50, 500, size=80).astype(float)
    events = rng.binomial(trials.astype(int), 0.1).astype(float)
    strong, weak, centre = np.full(5, 3.0), np.full(5, 1.0), np.full(5, 0.4)
    nearby = fit_logistic(X, trials, events, strong, centre)
    cold = fit_logistic(X, trials, events, weak, centre)
    warm = fit_logistic(X, trials, events, weak, centre, start=nearby.beta)
    np.testing.assert_allclose(warm.beta, cold.beta, atol=1e-6)
    assert warm.iterations < cold.iterations
