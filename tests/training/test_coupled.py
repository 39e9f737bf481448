"""Learning from samples alone: the same luck for every action, and nothing of the solver."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import training.coupled_sampling as coupled_sampling
import training.learner
import training.learners.ppo as ppo_module
from envs.errors import Interrupted
from envs.kernel import start_distribution
from envs.solver import q_values
from training.checkpoint import Checkpoint, Identity, Unsaved
from training.coupled_sampling import CHUNK_DAYS, Counted, CoupledSampler
from training.empirical import Empirical, empirical
from training.learner import Problem
from training.learners import coupled, ppo
from training.network import PolicyNetwork
from training.smoothing import smooth_rewards

JOB = Identity("run", "scenario", "keen", "lifetime_value", 0)
STAGES = [
    coupled.Stage(days=400_000, explore=0.5, improvements=2),
    coupled.Stage(days=600_000, explore=0.3, improvements=2),
]
SMALL = coupled.Settings(stages=STAGES, customers=256, steps=20, reward_steps=20)


def sampler_of(problem: Problem) -> CoupledSampler:
    return CoupledSampler(problem.journey, problem.weights, problem.kernel.states, 512, 13, problem.seed)


def lived(problem: Problem, chunks: int, explore: float = 0.5, sampler: CoupledSampler | None = None) -> Any:
    """The sampler after so many chunks under the best policy."""
    sampler = sampler or sampler_of(problem)
    chosen = np.zeros((sampler.patterns, problem.kernel.states), dtype=np.int8)
    chosen[problem.kernel.consents] = problem.solution.actions
    for _ in range(chunks):
        sampler.live(chosen.ravel(), explore)
    return sampler


def same(one: Counted, other: Counted) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Counted))


def rows_of(problem: Problem, model: Empirical) -> Any:
    """(U,) the visited states among the problem's."""
    consent, state = np.divmod(model.rows, problem.kernel.states)
    return np.searchsorted(problem.kernel.consents, consent) * problem.kernel.states + state


def test_the_counted_journey_values_a_policy_as_the_model_does(keen: Problem) -> None:
    model = empirical(lived(keen, 200).counted(), keen.journey.scenario.discount)
    at = rows_of(keen, model)
    values = model.evaluate(keen.solution.actions.ravel()[at], model.rewards)
    start = start_distribution(keen.kernel).ravel()
    assert start[at].sum() == pytest.approx(1.0)
    exact = keen.solution.start_value(keen.kernel)
    assert float(start[at] @ values) == pytest.approx(exact, rel=0.01)


def test_every_legal_action_of_a_visited_state_is_tried_at_every_visit_and_no_other(keen: Problem) -> None:
    counted = lived(keen, 20, explore=1.0).counted()
    tried = np.zeros(counted.earned.shape, dtype=np.int64)
    np.add.at(tried, (counted.row, counted.action), counted.count)
    model = empirical(counted, keen.journey.scenario.discount)
    assert len(model.rows) > 100
    legal = keen.legal[rows_of(keen, model)]
    np.testing.assert_array_equal(tried[model.rows], legal * counted.visits[model.rows][:, None])
    assert counted.visits.sum() == 20 * CHUNK_DAYS * 512


def test_a_table_that_grows_forgets_nothing(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lived(keen, 5).counted()
    monkeypatch.setattr(coupled_sampling, "CAPACITY", 8)
    assert same(lived(keen, 5).counted(), whole)


def test_shards_count_the_same_one_after_the_other(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lived(keen, 5).counted()
    monkeypatch.setattr(coupled_sampling, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
    assert same(lived(keen, 5).counted(), whole)


def test_a_sampler_goes_on_from_what_it_kept(keen: Problem) -> None:
    half = lived(keen, 3)
    other = sampler_of(keen)
    other.restore(half.state())
    assert same(lived(keen, 2, sampler=other).counted(), lived(keen, 5).counted())
    assert other.tried == other.counted().count.sum()


def test_smoothed_rewards_are_nearer_to_the_expected_ones_than_the_counted(keen: Problem) -> None:
    model = empirical(lived(keen, 10).counted(), keen.journey.scenario.discount)
    at = rows_of(keen, model)
    exact = np.concatenate([
        q_values(keen.kernel, np.zeros((keen.blocks, keen.kernel.states)), keen.weights, m)
        for m in range(keen.blocks)
    ])[at]  # fmt: skip
    legal, size = keen.legal[at], keen.journey.encoding.sizes
    smoothed = smooth_rewards(
        size, keen.observations[at], model.rewards, legal, model.visits, hidden=[32, 32], steps=1000,
        batch=256, learning_rate=4e-3, seed=0,
    )  # fmt: skip

    def error(rewards: Any) -> float:
        off = np.where(legal, rewards - np.where(legal, exact, 0.0), 0.0)
        return float((model.visits[:, None] * off**2).sum())

    assert error(smoothed) < 0.5 * error(model.rewards)


def test_nothing_is_asked_of_the_solver(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("planned")

    monkeypatch.setattr(training.learner, "solve", refuse)
    monkeypatch.setattr(ppo_module, "expected_rewards", refuse)
    monkeypatch.setattr(ppo_module, "potential", refuse)
    fresh = Problem(keen.journey, "lifetime_value", 0)
    coupled.learn(fresh, SMALL, Unsaved())
    samples = {"rewards": "sampled", "shaping": "none", "prior": "none"}
    settings = {"samples": 4_096, "customers": 64, "steps": 16, "batch": 256}
    ppo.learn(fresh, ppo.Settings.model_validate(samples | settings), Unsaved())


@pytest.mark.parametrize("stop", [5, 21, 22, 30, 53])
def test_resumed_the_network_is_the_one_never_interrupted(keen: Problem, tmp_path: Any, stop: int) -> None:
    whole = coupled.learn(keen, SMALL, Unsaved()).policy
    offers = iter(range(1_000))
    stopped = Checkpoint(tmp_path / "c.pt", JOB, wanted=lambda: next(offers) == stop)
    with pytest.raises(Interrupted):
        coupled.learn(keen, SMALL, stopped)
    again = coupled.learn(keen, SMALL, Checkpoint(tmp_path / "c.pt", JOB)).policy
    assert isinstance(whole, PolicyNetwork)
    assert isinstance(again, PolicyNetwork)
    for one, other in zip(whole.policy.parameters(), again.policy.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
