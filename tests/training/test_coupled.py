"""Learning from samples alone: the same luck for every action, and nothing of the solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import training.learner
import training.learners.ppo as ppo_module
from envs.errors import Interrupted
from envs.kernel import start_distribution
from training.checkpoint import Checkpoint, Identity, Unsaved
from training.coupled_sampling import CoupledSampler
from training.learner import Problem
from training.learners import coupled, ppo
from training.network import PolicyNetwork

JOB = Identity("run", "scenario", "keen", "lifetime_value", 0)
SMALL = coupled.Settings(visits=400_000, customers=256, steps=20)


def lived(problem: Problem, chunks: int, explore: float = 0.3, epochs: int = 1) -> CoupledSampler:
    """A sampler after some chunks, with a new epoch after each share of them."""
    sampler = CoupledSampler(problem.journey, problem.weights, problem.kernel.states, 512, 13, problem.seed)
    for chunk in range(chunks):
        if chunk in [chunks // 2**k for k in range(1, epochs)]:
            sampler.new_epoch()
        sampler.live(explore)
    return sampler


def test_the_sampled_values_come_near_the_optimum(keen: Problem) -> None:
    sampler = lived(keen, 400, epochs=5)  # 5 million visits
    values = sampler.arrays["values"][keen.kernel.consents]
    start = float((start_distribution(keen.kernel) * values).sum())
    assert start == pytest.approx(keen.solution.start_value(keen.kernel), rel=0.05)


def test_only_legal_actions_are_ever_tried(keen: Problem) -> None:
    sampler = lived(keen, 40, explore=1.0)
    q = sampler.arrays["q"][keen.kernel.consents].reshape(keen.states, -1)
    assert (q[~keen.legal] == 0.0).all()
    seen = sampler.arrays["visits"][keen.kernel.consents].ravel() > 50
    assert seen.sum() > 100
    assert (q[seen][keen.legal[seen]] != 0.0).all()


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


def test_resumed_the_network_is_the_one_never_interrupted(keen: Problem, tmp_path: Any) -> None:
    whole = coupled.learn(keen, SMALL, Unsaved()).policy
    offers = iter(range(1_000))
    stopped = Checkpoint(tmp_path / "c.pt", JOB, wanted=lambda: next(offers) == 37)
    with pytest.raises(Interrupted):
        coupled.learn(keen, SMALL, stopped)
    again = coupled.learn(keen, SMALL, Checkpoint(tmp_path / "c.pt", JOB)).policy
    assert isinstance(whole, PolicyNetwork)
    assert isinstance(again, PolicyNetwork)
    for one, other in zip(whole.policy.parameters(), again.policy.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
