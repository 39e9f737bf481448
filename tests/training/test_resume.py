"""An interrupted learner goes on to the weights of one that was never interrupted."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import ConfigError, Interrupted
from training.checkpoint import Checkpoint, Identity, read_state
from training.learner import Learned, Problem, Table
from training.learners import ppo

JOB = Identity("run", "scenario", "keen", "lifetime_value", 0)
SETTINGS = ppo.Settings(samples=16_000, customers=100, steps=16, batch=400, epochs=2, judged_every=3)
UPDATES = 10
POINTS = sorted(np.random.default_rng(0).choice(np.arange(1, UPDATES), 5, replace=False).tolist())


def learn(problem: Problem, report: Checkpoint, settings: ppo.Settings = SETTINGS) -> Learned:
    """Learn from wherever the report's file says, whatever others have drawn meanwhile."""
    torch.rand(7)
    np.random.default_rng().random()
    return ppo.learn(problem, settings, report)


def interrupted(problem: Problem, path: Path, updates: int, settings: ppo.Settings = SETTINGS) -> Checkpoint:
    """A run that is stopped when it has made this many updates."""
    offers = itertools.count()
    report = Checkpoint(path, JOB, wanted=lambda: next(offers) == updates)
    with pytest.raises(Interrupted):
        learn(problem, report, settings)
    return report


def weights(learned: Learned) -> list[Any]:
    """The policy trunk, of the policy or of its prior's correction."""
    network = learned.correction if isinstance(learned.policy, Table) else learned.policy
    assert network is not None
    return [p.detach().numpy().copy() for p in network.policy.parameters()]


@pytest.fixture(scope="module")
def whole(keen: Problem) -> tuple[Learned, Checkpoint]:
    """The run that nobody interrupts."""
    report = Checkpoint(None, JOB)
    return ppo.learn(keen, SETTINGS, report), report


@pytest.mark.parametrize("updates", POINTS)
def test_resumed_at_a_random_point_the_weights_are_identical(
    keen: Problem, whole: tuple[Learned, Checkpoint], tmp_path: Path, updates: int
) -> None:
    stopped = interrupted(keen, tmp_path / "c.pt", updates)
    before = read_state(tmp_path / "c.pt")["seconds"]
    assert len(stopped.curve) == -(-updates // SETTINGS.judged_every)
    again = Checkpoint(tmp_path / "c.pt", JOB)
    learned = learn(keen, again)
    for one, other in zip(weights(whole[0]), weights(learned), strict=True):
        np.testing.assert_array_equal(one, other)
    assert learned.samples == whole[0].samples == SETTINGS.samples
    assert [(p.samples, p.share, p.metrics) for p in again.curve] == [
        (p.samples, p.share, p.metrics) for p in whole[1].curve
    ]
    assert again.seconds > before > 0.0
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(again.curve))


def test_interrupted_after_every_update_the_weights_are_identical(
    keen: Problem, whole: tuple[Learned, Checkpoint], tmp_path: Path
) -> None:
    for updates in range(3):  # the first offer of a resumed run is where it was stopped
        interrupted(keen, tmp_path / "c.pt", 1 if updates else 0)
    learned = learn(keen, Checkpoint(tmp_path / "c.pt", JOB))
    for one, other in zip(weights(whole[0]), weights(learned), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sampled_rewards_resume_as_well(keen: Problem, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"rewards": "sampled", "samples": 8_000})
    straight = ppo.learn(keen, settings, Checkpoint(None, JOB))
    interrupted(keen, tmp_path / "c.pt", 2, settings)
    resumed = learn(keen, Checkpoint(tmp_path / "c.pt", JOB), settings)
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_of_another_cluster_is_refused(keen: Problem, wary: Problem, tmp_path: Path) -> None:
    interrupted(keen, tmp_path / "c.pt", 1)
    other = Identity("run", "scenario", "wary", "lifetime_value", 0)
    with pytest.raises(ConfigError, match="another cluster"):
        learn(wary, Checkpoint(tmp_path / "c.pt", other))
