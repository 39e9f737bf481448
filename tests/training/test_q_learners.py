"""Learners of Q never look at an illegal action and go on bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import Interrupted
from training.checkpoint import Unsaved, read_state, write_state
from training.judging.judge import bounds, references
from training.learner import Learned, Point, Problem, Table
from training.learners import bandit, dqn
from training.learners.ppo import greedy_value
from training.network import PolicyNetwork
from training.parts.q_learning import double_target

SMALL_DQN = dqn.Settings(samples=3_200, customers=64, batch=64, updates=2, judged_every=1000)


class Stopped(Unsaved):
    """A report that interrupts at its `last` offer, and later gives that state back from its file."""

    def __init__(self, path: Path, last: int) -> None:
        super().__init__()
        self._path, self._left = path, last

    def saved(self) -> dict[str, Any] | None:
        return read_state(self._path) if self._path.exists() else None

    def offer(self, state: Callable[[], Mapping[str, object]]) -> None:
        self._left -= 1
        if self._left == 0:
            write_state(self._path, state())
            raise Interrupted("stopped")


def weights(learned: Learned) -> list[Any]:
    assert isinstance(learned.policy, PolicyNetwork)
    return [p.detach().numpy().copy() for p in learned.policy.policy.parameters()]


def network_score(problem: Problem, learned: Learned) -> float:
    assert isinstance(learned.policy, PolicyNetwork)
    score = bounds(problem).score(greedy_value(problem, learned.policy))
    assert score is not None
    return score


@pytest.fixture
def day() -> dict[str, Any]:
    """A thousand rows of six actions, some of them legal, wait always."""
    random = np.random.default_rng(3)
    legal = random.random((1000, 6)) < 0.4
    legal[:, 0] = True
    q = torch.from_numpy(random.normal(size=(3, 1000, 6)).astype(np.float32))
    r = torch.from_numpy(random.normal(size=1000).astype(np.float32))
    discount = torch.from_numpy(np.where(random.random(1000) < 0.1, 0.0, 0.97).astype(np.float32))
    return {"q": q, "legal": torch.from_numpy(legal), "r": r, "discount": discount}


@pytest.mark.parametrize("absurd", [1e6, np.inf, np.nan])
def test_what_is_said_of_illegal_actions_changes_no_target_bit(day: dict[str, Any], absurd: float) -> None:
    q, legal = day["q"], day["legal"]
    lied = torch.where(legal, q, torch.tensor(absurd))
    honest = double_target(day["r"], day["discount"], q[0], q[1], legal)
    assert torch.equal(double_target(day["r"], day["discount"], lied[0], lied[1], legal), honest)


def test_what_is_said_of_legal_actions_does_change_targets(day: dict[str, Any]) -> None:
    q = day["q"]
    honest = double_target(day["r"], day["discount"], q[0], q[1], day["legal"])
    assert not torch.equal(double_target(day["r"], day["discount"], q[0], q[1] + 1.0, day["legal"]), honest)


def test_a_double_target_values_the_selectors_legal_choice_by_the_other_network() -> None:
    selector = torch.tensor([[1.0, 5.0, 9.0], [1.0, 5.0, 9.0], [0.0, 0.0, 0.0]])
    value = torch.tensor([[10.0, 20.0, 90.0], [10.0, 20.0, 30.0], [7.0, 7.0, 7.0]])
    legal = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    got = double_target(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.5, 0.0]), selector, value, legal)
    assert got.tolist() == [11.0, 16.0, 1.0]


def test_a_dqn_learns_the_journey(keen: Problem) -> None:
    learned = dqn.learn(keen, dqn.Settings(samples=128_000, customers=128, batch=256), Unsaved())
    assert network_score(keen, learned) >= 0.97
    assert learned.samples >= 128_000
    assert keen.value_of(learned.shown_beside["potential_greedy"]) <= keen.solution.start_value(keen.kernel)


@pytest.mark.parametrize("offers", [1, 37])
def test_an_interrupted_dqn_ends_with_the_weights_of_an_uninterrupted_one(
    keen: Problem, tmp_path: Path, offers: int
) -> None:
    whole = weights(dqn.learn(keen, SMALL_DQN, Unsaved()))
    with pytest.raises(Interrupted):
        dqn.learn(keen, SMALL_DQN, Stopped(tmp_path / "c.pt", offers))
    resumed = weights(dqn.learn(keen, SMALL_DQN, Stopped(tmp_path / "c.pt", -1)))
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_bandit_that_is_learned_is_the_baseline_of_that_name(keen: Problem) -> None:
    learned = bandit.learn(keen, bandit.Settings(), Unsaved())
    assert isinstance(learned.policy, Table)
    assert keen.value_of(learned.policy.actions) == pytest.approx(references(keen).baselines["bandit"])


def test_a_bandit_paid_by_the_model_is_myopic_where_its_features_suffice(keen: Problem) -> None:
    points: list[Point] = []
    settings = bandit.Settings(rewards="expected", optimism=0.0, ridge=1e-3)
    learned = bandit.learn(keen, settings, Unsaved(points.append))
    assert isinstance(learned.policy, Table)
    assert points[-1].samples == settings.customers * settings.days
    assert keen.value_of(learned.policy.actions) <= keen.solution.start_value(keen.kernel)
