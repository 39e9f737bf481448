"""Claims about one decision: known truth in real and synthetic logs, parity with hand formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.support.data import hillstrom, open_bandit
from tests.ope.conftest import needs_data
from training.ope.estimate import judge, require
from training.ope.regression import RidgeModel, cross_fit, folds
from training.ope.single import doubly_robust, ipw, pooled, snips

ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")


def biased_hillstrom(seed: int) -> tuple[Any, Any, Any, Any]:
    """Customers kept so that recent buyers were mostly mailed men's: features, arm, μ, visit.

    The arms were drawn a third each, so keeping arm a with probability μ(a|x) / max μ leaves
    μ(a|x) as the logging policy.
    """
    rng = np.random.default_rng(seed)
    frame = hillstrom()
    arm = frame["segment"].map({name: i for i, name in enumerate(ARMS)}).to_numpy()
    table = np.array([[0.5, 0.1, 0.4], [0.1, 0.6, 0.3]])
    logging = table[(frame["recency"] <= 4).to_numpy().astype(int)]
    kept = rng.random(len(frame)) < logging[np.arange(len(frame)), arm] / logging.max(axis=1)
    features = frame[["mens", "womens", "newbie", "recency"]].to_numpy(dtype=float)
    return features[kept], arm[kept], logging[kept, arm[kept]], frame["visit"].to_numpy(dtype=float)[kept]


@needs_data
@pytest.mark.parametrize("arm", [0, 1, 2])
def test_biased_subsample_of_a_randomised_test_gives_back_the_arm_means(arm: int) -> None:
    frame = hillstrom()
    truth = float(frame.loc[frame["segment"] == ARMS[arm], "visit"].mean())
    features, arms, propensity, visit = biased_hillstrom(seed=1)
    target = np.tile(np.eye(3)[arm], (len(arms), 1))
    fold_of = folds(len(arms), 2, np.random.default_rng(0))
    q = cross_fit(RidgeModel(), features, arms, visit, 3, fold_of)
    for parts in (
        ipw(target, arms, propensity, visit),
        snips(target, arms, propensity, visit),
        doubly_robust(target, arms, propensity, visit, q),
    ):
        result = require(judge(parts))
        error = (result.high - result.low) / 3.92
        assert abs(result.mean - truth) < 3.5 * error, parts.method


@needs_data
def test_unweighted_mean_of_the_biased_subsample_is_wrong() -> None:
    frame = hillstrom()
    truth = float(frame.loc[frame["segment"] == "Mens E-Mail", "visit"].mean())
    _, arms, _, visit = biased_hillstrom(seed=1)
    naive = visit[arms == 1]
    assert abs(naive.mean() - truth) > 3.5 * naive.std() / np.sqrt(len(naive))


@needs_data
@pytest.mark.parametrize("policy", ["random", "bts"])
def test_open_bandit_estimates_equal_the_formulas_written_out(policy: str) -> None:
    frame = open_bandit(policy)
    chosen = list(range(40))
    item = frame["item_id"].to_numpy()
    click, propensity = frame["click"].to_numpy(dtype=float), frame["propensity_score"].to_numpy()
    target = np.zeros((len(frame), 80))
    target[:, chosen] = 1.0 / len(chosen)
    weights = [(1.0 / len(chosen) if i in chosen else 0.0) / p for i, p in zip(item, propensity, strict=True)]
    total = sum(w * r for w, r in zip(weights, click, strict=True))
    plain, normalised = (method(target, item, propensity, click) for method in (ipw, snips))
    assert plain.values.mean() == pytest.approx(total / len(frame), rel=1e-12)
    assert normalised.values.mean() == pytest.approx(total / sum(weights), rel=1e-9)


def bandit(n: int, rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Features, action, propensity, skewed reward; the mean of action 1 at x is 1 + x."""
    x = rng.normal(size=n)
    propensity_of_one = 0.15 + 0.5 / (1 + np.exp(-x))
    action = (rng.random(n) < propensity_of_one).astype(np.int64)
    propensity = np.where(action == 1, propensity_of_one, 1 - propensity_of_one)
    reward = action * (1 + x) + rng.exponential(1.0, n) - 1.0
    return x[:, None], action, propensity, reward


@pytest.mark.parametrize("method", ["ipw", "snips", "dr"])
def test_interval_covers_the_truth_as_often_as_it_says(method: str) -> None:
    rng = np.random.default_rng(20)
    runs, covered = 400, 0
    for _ in range(runs):
        x, action, propensity, reward = bandit(400, rng)
        target = np.tile([0.0, 1.0], (len(x), 1))
        if method == "dr":
            q = cross_fit(RidgeModel(penalties=(1.0,)), x, action, reward, 2, np.arange(len(x)) % 2)
            parts = doubly_robust(target, action, propensity, reward, q)
        else:
            parts = {"ipw": ipw, "snips": snips}[method](target, action, propensity, reward)
        result = require(judge(parts))
        covered += result.low <= 1.0 <= result.high
    # 95 % nominal; 3.3 binomial standard errors of 400 runs are 3.6 points
    assert covered / runs == pytest.approx(0.95, abs=0.036)


def test_doubly_robust_interval_is_narrower_than_ipw() -> None:
    x, action, propensity, reward = bandit(4000, np.random.default_rng(21))
    target = np.tile([0.0, 1.0], (len(x), 1))
    plain = require(judge(ipw(target, action, propensity, reward)))
    q = cross_fit(RidgeModel(), x, action, reward, 2, np.arange(len(x)) % 2)
    robust = require(judge(doubly_robust(target, action, propensity, reward, q)))
    assert robust.high - robust.low < 0.9 * (plain.high - plain.low)


def test_pooling_waves_is_the_mean_over_waves_with_customers_as_units() -> None:
    first = ipw(np.eye(2)[[0, 0, 0]], np.zeros(3, int), np.ones(3), np.array([1.0, 2.0, 3.0]))
    second = ipw(np.eye(2)[[0, 0]], np.zeros(2, int), np.ones(2), np.array([10.0, 20.0]))
    both = pooled([first, second], [np.arange(3), np.array([0, 2])], 3)
    assert both.values.mean() == pytest.approx((2.0 + 15.0) / 2)
    assert both.weights[0].shape == (5,)
