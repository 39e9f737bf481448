"""Intervals over seeds: against hand-computed values, full enumeration, and their own coverage."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import trim_mean

from training.judging.seeds import interquartile_mean, interval, paired_difference, share_at_least


def test_the_middle_half_is_averaged_and_an_outlier_does_not_count() -> None:
    assert interquartile_mean([7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 3.5  # of 2, 3, 4, 5
    assert interquartile_mean([0.9, 0.8, 1.0, -1e9]) == pytest.approx(0.85)
    assert interquartile_mean([0.2, 0.4, 0.9]) == pytest.approx(0.5)  # below four nothing is dropped


def test_tasks_are_pooled_before_the_ends_are_dropped_as_in_the_paper() -> None:
    scores = np.random.default_rng(3).random((4, 5))
    expected = trim_mean(scores, proportiontocut=0.25, axis=None)
    assert interquartile_mean(scores.tolist()) == pytest.approx(float(expected), abs=1e-15)


def test_the_bootstrap_agrees_with_all_resamples_written_out() -> None:
    values = [0.10, 0.37, 0.52, 0.90]
    every = sorted(np.mean(sorted(draw)[1:3]) for draw in product(values, repeat=4))
    estimate = interval(values, resamples=40_000)
    # a bootstrap quantile's rank is off by less than 5 deviations of a binomial share
    off = 5.0 * np.sqrt(0.025 * 0.975 / 40_000)
    for end, share in ((estimate.low, 0.025), (estimate.high, 0.975)):
        low, high = np.quantile(every, [share - off, share + off])
        assert low - 1e-12 <= end <= high + 1e-12
    assert estimate.mean == pytest.approx(0.445)


def test_differences_between_tasks_do_not_widen_the_interval() -> None:
    apart = interval([[0.2, 0.2, 0.2], [0.9, 0.9, 0.9]])
    assert [apart.low, apart.high] == pytest.approx([apart.mean, apart.mean])
    together = interval([0.2, 0.2, 0.2, 0.9, 0.9, 0.9])
    assert together.high - together.low > 0.3


def test_the_same_seed_gives_the_same_interval_and_tasks_may_have_different_numbers_of_seeds() -> None:
    random = np.random.default_rng(7)
    values = [random.random(9).tolist(), random.random(6).tolist()]
    assert interval(values, seed=1) == interval(values, seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)
    assert interval(values, level=0.5).high < interval(values, level=0.99).high


def test_a_paired_difference_by_hand() -> None:
    # differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, t(2) at 0.975 is 4.302653
    estimate = paired_difference([0.6, 0.9, 0.5], [0.5, 0.7, 0.2])
    half = 4.302653 * 0.1 / 3**0.5
    assert estimate.mean == pytest.approx(0.2)
    assert [estimate.low, estimate.high] == pytest.approx([0.2 - half, 0.2 + half], abs=1e-6)


def test_a_95_percent_paired_interval_covers_the_truth_95_times_in_a_hundred() -> None:
    random = np.random.default_rng(5)
    shared, noise = random.normal(size=(3_000, 5)), random.normal(size=(3_000, 5))
    covered = 0
    for luck, extra in zip(shared, noise, strict=True):
        estimate = paired_difference((luck + 0.3 + extra).tolist(), luck.tolist())
        covered += estimate.low <= 0.3 <= estimate.high
    assert abs(covered / 3_000 - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / 3_000)


def test_the_share_of_seeds_that_pass_counts_a_score_on_the_threshold() -> None:
    assert share_at_least([0.99, 0.98, 1.0, 0.5], 0.99) == 0.5


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [[0.5], []]])
def test_no_figure_is_made_of_missing_scores(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite scores"):
        interquartile_mean(values)
    with pytest.raises(ValueError, match="two seeds"):
        paired_difference([0.5], [0.4])
