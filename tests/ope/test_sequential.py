"""Claims about several decisions: exact truth from a small Markov decision process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.ope.conftest import Chain, at_states
from training.ope.estimate import Refusal, judge, require
from training.ope.fqe import FittedValues, fitted_q
from training.ope.marginal import marginal_weights, marginalised_dr, marginalised_is
from training.ope.panel import Panel
from training.ope.products import pdis, weighted_pdis
from training.ope.regression import TableModel, folds

TABLE = TableModel(cells=4)


def estimate_dr(panel: Panel, target: Any, seed: int = 0) -> Any:
    fold_of = folds(len(panel.actions), 2, np.random.default_rng(seed))
    fitted = fitted_q(panel, target, TABLE, fold_of)
    return marginalised_dr(panel, target, fitted, marginal_weights(panel, target, fold_of))


def test_fitted_q_evaluation_finds_the_exact_value(chain: Chain, behavior: Any, target: Any) -> None:
    panel = chain.log(behavior, 20_000, np.random.default_rng(1))
    fold_of = folds(20_000, 2, np.random.default_rng(0))
    found = fitted_q(panel, at_states(target, panel), TABLE, fold_of).value
    # unit reward noise over 5 decisions and weights of a few: standard error below 0.03
    assert found == pytest.approx(chain.value(target), abs=0.1)


def test_marginal_weights_are_the_ratio_of_state_visits(chain: Chain, behavior: Any, target: Any) -> None:
    panel = chain.log(behavior, 40_000, np.random.default_rng(2))
    fold_of = folds(40_000, 2, np.random.default_rng(0))
    weights = marginal_weights(panel, at_states(target, panel), fold_of)
    visits = {}
    for name, policy in (("target", target), ("behavior", behavior)):
        state = chain.start
        for _ in range(3):
            state = np.einsum("s,sa,sak->k", state, policy, chain.moves)
        visits[name] = state
    exact = (visits["target"] / visits["behavior"])[panel.cells[:, 3]]
    assert np.abs(weights[:, 3] - exact).max() < 0.1


def test_interval_over_all_decisions_covers_the_truth(chain: Chain, behavior: Any, target: Any) -> None:
    truth, rng, covered, runs = chain.value(target), np.random.default_rng(3), 0, 150
    for _ in range(runs):
        panel = chain.log(behavior, 1500, rng)
        result = require(judge(estimate_dr(panel, at_states(target, panel))))
        covered += result.low <= truth <= result.high
    # 95 % nominal; 3.3 binomial standard errors of 150 runs are 5.9 points
    assert covered / runs == pytest.approx(0.95, abs=0.059)


def test_right_weights_repair_a_wrong_value_model(chain: Chain, behavior: Any, target: Any) -> None:
    panel = chain.log(behavior, 20_000, np.random.default_rng(4))
    probabilities = at_states(target, panel)
    fold_of = folds(20_000, 2, np.random.default_rng(0))
    wrong = FittedValues(np.full((20_000, 5, 3), 9.0), np.zeros((20_000, 6)))
    weights = marginal_weights(panel, probabilities, fold_of)
    spoiled = marginalised_dr(panel, probabilities, replace(wrong, q=wrong.q * 0.0), weights)
    assert spoiled.values.mean() == pytest.approx(chain.value(target), abs=0.15)
    alone = marginalised_is(panel, probabilities, weights)
    assert alone.values.mean() == pytest.approx(spoiled.values.mean())


def test_right_value_model_repairs_wrong_weights(chain: Chain, behavior: Any, target: Any) -> None:
    panel = chain.log(behavior, 20_000, np.random.default_rng(5))
    probabilities = at_states(target, panel)
    fold_of = folds(20_000, 2, np.random.default_rng(0))
    fitted = fitted_q(panel, probabilities, TABLE, fold_of)
    wrong = np.random.default_rng(6).uniform(0.0, 2.0, size=(20_000, 5))
    parts = marginalised_dr(panel, probabilities, fitted, wrong)
    assert parts.values.mean() == pytest.approx(chain.value(target), abs=0.15)


def test_customers_who_leave_early_are_counted_without_later_rewards(chain: Chain, behavior: Any) -> None:
    panel = chain.log(behavior, 5000, np.random.default_rng(7))
    present = panel.present.copy()
    present[panel.cells[:, 1] == 0, 2:] = False
    shorter = replace(panel, present=present)
    parts = estimate_dr(shorter, at_states(behavior, shorter))
    assert parts.values.mean() == pytest.approx(shorter.returns().mean(), abs=0.1)
    assert shorter.returns().mean() < panel.returns().mean()


def test_product_weights_follow_the_formula() -> None:
    panel = Panel(
        features=np.zeros((2, 2, 1)),
        cells=np.zeros((2, 2), int),
        actions=np.array([[0, 1], [1, 1]]),
        propensity=np.array([[0.5, 0.25], [0.5, 0.5]]),
        rewards=np.array([[1.0, 2.0], [3.0, 4.0]]),
        legal=np.ones((2, 2, 2), bool),
        present=np.ones((2, 2), bool),
        discount=0.9,
    )
    target = np.full((2, 2, 2), [0.4, 0.6])
    # by hand: (0.4/0.5)·1 + 0.9·(0.8·0.6/0.25)·2 and (0.6/0.5)·3 + 0.9·(1.2·0.6/0.5)·4
    by_hand = np.array([0.8 + 0.9 * 1.92 * 2, 1.2 * 3 + 0.9 * 1.44 * 4])
    np.testing.assert_allclose(pdis(panel, target).values, by_hand)
    weighted = (0.8 * 1 + 1.2 * 3) / 2.0 + 0.9 * (1.92 * 2 + 1.44 * 4) / 3.36
    assert weighted_pdis(panel, target).values.mean() == pytest.approx(weighted)


def test_one_offer_of_ten_in_six_waves_is_refused_by_every_weighting() -> None:
    rng = np.random.default_rng(9)
    shape = (5000, 6)
    actions = np.where(rng.random(shape) < 0.25, 0, rng.integers(1, 11, shape))
    last = np.concatenate([np.zeros((5000, 1), int), actions[:, :-1]], axis=1)
    panel = Panel(
        features=last[:, :, None].astype(float),
        cells=last,
        actions=actions,
        propensity=np.where(actions == 0, 0.25, 0.075),
        rewards=rng.normal(10.0, 5.0, shape),
        legal=np.ones((*shape, 11), bool),
        present=np.ones(shape, bool),
    )
    target = np.zeros((*shape, 11))
    target[:, :, 8] = 1.0
    fold_of = folds(5000, 2, rng)
    fitted = fitted_q(panel, target, TableModel(cells=11), fold_of)
    products = judge(pdis(panel, target))
    marginal = judge(marginalised_dr(panel, target, fitted, marginal_weights(panel, target, fold_of)))
    assert isinstance(products, Refusal)
    assert products.effective_sample_size < 2
    assert isinstance(marginal, Refusal)


def test_an_action_logged_with_propensity_zero_is_an_error(chain: Chain, behavior: Any) -> None:
    panel = chain.log(behavior, 10, np.random.default_rng(10))
    with pytest.raises(ValueError, match="propensity 0"):
        replace(panel, propensity=np.zeros_like(panel.propensity))
