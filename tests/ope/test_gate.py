"""Claims about the gate: heavy or thin weights get a refusal, never an interval."""

from __future__ import annotations

import json

import numpy as np
import pytest

from envs.errors import GateError
from training.ope.estimate import (
    Contributions,
    Estimate,
    Refusal,
    difference,
    effective_sample_size,
    judge,
    require,
)
from training.ope.pareto import generalised_pareto_shape, pareto_k


def test_effective_sample_size_of_equal_weights_is_their_number() -> None:
    assert effective_sample_size(np.full(50, 3.0)) == pytest.approx(50)
    assert effective_sample_size([1.0, 3.0]) == pytest.approx(16 / 10)
    assert effective_sample_size(np.zeros(3)) == 0.0


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.5, 0.9])
def test_pareto_shape_is_recovered_from_draws_of_that_distribution(shape: float) -> None:
    # inverse of the generalised Pareto distribution function; s.e. of k is (1 + k) / sqrt(n)
    u = np.random.default_rng(1).random(4000)
    draws = ((1 - u) ** -shape - 1) / shape
    assert generalised_pareto_shape(draws) == pytest.approx(shape, abs=4 * (1 + shape) / np.sqrt(4000))


def test_weights_that_end_in_a_common_value_have_no_tail() -> None:
    assert pareto_k(np.repeat([0.0, 13.3], [900, 100])) == 0.0
    assert pareto_k(np.repeat([0.0, 0.1, 0.2, 13.3], [300, 300, 300, 100])) == 0.0


def test_a_rare_largest_weight_is_a_tail() -> None:
    assert pareto_k(np.repeat([0.1, 0.2, 50.0], [500, 500, 2])) > 0.7


def test_few_positive_weights_cannot_be_judged() -> None:
    assert pareto_k([0.0, 1.0, 2.0]) == np.inf


def test_small_effective_sample_is_refused_with_its_figure() -> None:
    result = judge(Contributions("ipw", np.ones(1000), (np.repeat([0.0, 10.0], [950, 50]),)))
    assert isinstance(result, Refusal)
    assert result.effective_sample_size == pytest.approx(50)
    assert "effective sample size 50 is below 100" in str(result)


def test_heavy_tail_is_refused_with_its_figure() -> None:
    u = np.random.default_rng(2).random(5000)
    weights = (1 - u) ** -0.9
    result = judge(Contributions("ipw", weights, (weights,)))
    assert isinstance(result, Refusal)
    assert result.pareto_k > 0.7


def test_every_weight_column_must_pass() -> None:
    good, bad = np.ones(1000), np.repeat([0.0, 1.0], [990, 10])
    assert isinstance(judge(Contributions("x", good, (good, bad))), Refusal)


def test_refusal_is_a_gate_error_where_an_estimate_is_required() -> None:
    with pytest.raises(GateError, match="effective sample size 1 ") as caught:
        require(judge(Contributions("ipw", np.ones(1))))
    assert caught.value.exit_code == 3


def test_paired_difference_removes_what_both_share() -> None:
    shared = np.random.default_rng(3).normal(0.0, 100.0, 400)
    ones = np.ones(400)
    better, worse = Contributions("a", shared + 2.0, (ones,)), Contributions("a", shared, (ones,))
    result = require(judge(difference(better, worse)))
    assert result.mean == pytest.approx(2.0)
    assert result.high - result.low == pytest.approx(0.0, abs=1e-9)


def test_difference_rests_on_the_rows_where_the_policies_differ() -> None:
    values, first, second = np.ones(1000), np.ones(1000), np.ones(1000)
    second[:50] = 3.0
    both = difference(Contributions("ipw", values, (first,)), Contributions("ipw", values, (second,)))
    refused = judge(both)
    assert isinstance(refused, Refusal)
    assert refused.effective_sample_size == pytest.approx(50)


def test_policies_that_agree_everywhere_differ_by_exactly_nothing() -> None:
    parts = Contributions("ipw", np.arange(500.0), (np.full(500, 2.0),))
    result = require(judge(difference(parts, parts)))
    assert (result.low, result.mean, result.high) == (0.0, 0.0, 0.0)


def test_bootstrap_and_normal_interval_agree_on_many_customers() -> None:
    values = np.random.default_rng(4).exponential(1.0, 2000)
    parts, rng = Contributions("mean", values), np.random.default_rng(5)
    normal, resampled = require(judge(parts)), require(judge(parts, interval="bootstrap", rng=rng))
    # the percentile ends have Monte Carlo error of about 5 % of the half width at 1,000 resamples
    width = normal.high - normal.low
    assert resampled.low == pytest.approx(normal.low, abs=0.1 * width)
    assert resampled.high == pytest.approx(normal.high, abs=0.1 * width)


def test_documents_are_strict_json() -> None:
    refused = judge(Contributions("ipw", np.ones(5), (np.zeros(5),)))
    estimate = Estimate(1.0, 0.5, 1.5, 200.0, "ipw", 0.1)
    for result in (refused, estimate):
        json.dumps(result.document(), allow_nan=False)
