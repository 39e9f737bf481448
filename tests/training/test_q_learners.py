"""Learners of Q never look at an illegal action, go on bit for bit, and read a log as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.deciders import deciders
from envs.errors import Interrupted
from envs.scenario import Scenario
from envs.simulate_log import Span, write_simulated_log
from training.checkpoint import Unsaved, read_state, write_state
from training.fitted_q import FittedQ, state_values
from training.judge import bounds, references, value_of
from training.learner import Learned, Point, Problem, Table
from training.learners import bandit, dqn, from_log
from training.learners.ppo import greedy_value
from training.log_transitions import ENDED, simulated
from training.log_transitions import from_log as read_transitions
from training.network import PolicyNetwork
from training.q_learning import conservative_gap, double_target

MIXTURE = "business_rules:0.5+random_legal:0.5"
SMALL_DQN = dqn.Settings(samples=3_200, customers=64, batch=64, updates=2, judged_every=1000)
SMALL_LOG = from_log.Settings(
    members=2, customers=300, days=10, iterations=6, steps=5, batch=64, judged_every=1000
)


class Stopped(Unsaved):
    """A report that interrupts at its `last` offer, and later gives that state back from its file."""

    def __init__(self, path: Path, last: int) -> None:
        super().__init__()
        self._path, self._left = path, last

    def saved(self) -> dict[str, Any] | None:
        return read_state(self._path) if self._path.exists() else None

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
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
    assert torch.equal(state_values(lied, legal), state_values(q, legal))
    wait = torch.zeros(1000, dtype=torch.long)
    assert torch.equal(conservative_gap(lied[0], wait, legal), conservative_gap(q[0], wait, legal))


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


def test_the_conservative_gap_is_the_soft_maximum_less_the_taken_action() -> None:
    q, legal = torch.tensor([[1.0, 1.0, 8.0]]), torch.tensor([[True, True, False]])
    got = conservative_gap(q, torch.tensor([1]), legal)
    assert float(got[0]) == pytest.approx(np.log(2.0))


def test_a_simulated_log_gives_the_same_transitions_from_its_file_as_from_memory(
    keen: Problem, tiny: Scenario, tmp_path: Path
) -> None:
    journey, path = keen.journey, tmp_path / "log.parquet"
    write_simulated_log(path, [(journey, deciders(MIXTURE)(journey))], Span(80, 25, 5), MIXTURE)
    file = read_transitions(path, journey, keen.weights)
    memory = simulated(journey, keen.weights, MIXTURE, customers=80, days=25, seed=5)
    assert len(file) > 500
    assert (file.next == ENDED).sum() > 0, "somebody churned"
    for name in ("observations", "legal", "at", "action", "next", "customer"):
        np.testing.assert_array_equal(getattr(file, name), getattr(memory, name), err_msg=name)
    np.testing.assert_allclose(file.reward, memory.reward, rtol=1e-5, atol=1e-5)


def test_a_logs_last_day_is_left_out_and_every_other_day_is_followed(keen: Problem) -> None:
    log = simulated(keen.journey, keen.weights, MIXTURE, customers=200, days=12, seed=1)
    days = np.bincount(log.customer)
    assert days.max() == 11
    last = np.append(log.customer[1:] != log.customer[:-1], True)
    ended = log.next == ENDED
    assert not ended[~last].any(), "a churn is a customer's last day"
    # who did not churn is still there on the last day, whose decision nobody follows up
    np.testing.assert_array_equal(days[log.customer[last & ~ended]], 11)
    assert log.legal[log.at, log.action].all()


def test_a_dqn_learns_the_journey(keen: Problem) -> None:
    learned = dqn.learn(keen, dqn.Settings(samples=128_000, customers=128, batch=256), Unsaved())
    assert network_score(keen, learned) >= 0.97
    assert learned.samples >= 128_000
    assert value_of(keen, learned.shown_beside["potential_greedy"]) <= keen.solution.start_value(keen.kernel)


def test_a_log_alone_teaches_most_of_the_journey(keen: Problem) -> None:
    settings = from_log.Settings(customers=4_000, days=30, iterations=30, steps=20, batch=256)
    assert network_score(keen, from_log.learn(keen, settings, Unsaved())) >= 0.7


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


def test_an_interrupted_learner_from_a_log_ends_with_the_same_weights(keen: Problem, tmp_path: Path) -> None:
    whole = weights(from_log.learn(keen, SMALL_LOG, Unsaved()))
    with pytest.raises(Interrupted):
        from_log.learn(keen, SMALL_LOG, Stopped(tmp_path / "c.pt", 3))
    resumed = weights(from_log.learn(keen, SMALL_LOG, Stopped(tmp_path / "c.pt", -1)))
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_exported_network_is_the_mean_of_its_members(keen: Problem) -> None:
    log = simulated(keen.journey, keen.weights, MIXTURE, customers=100, days=8, seed=2)
    fitted = FittedQ(log, keen.journey.encoding.sizes, SMALL_LOG, 0.9, seed=0)
    fitted.iterate(0.0)
    with torch.no_grad():
        mean = torch.stack([member.gaps(fitted.ones) for member in fitted.members]).mean(dim=0)
        got = fitted.network().logits(torch.from_numpy(log.observations))
    np.testing.assert_allclose(got.numpy(), mean.numpy(), atol=1e-5)


def test_the_bandit_that_is_learned_is_the_baseline_of_that_name(keen: Problem) -> None:
    learned = bandit.learn(keen, bandit.Settings(), Unsaved())
    assert isinstance(learned.policy, Table)
    assert value_of(keen, learned.policy.actions) == pytest.approx(references(keen).baselines["bandit"])


def test_a_bandit_paid_by_the_model_is_myopic_where_its_features_suffice(keen: Problem) -> None:
    points: list[Point] = []
    settings = bandit.Settings(rewards="expected", optimism=0.0, ridge=1e-3)
    learned = bandit.learn(keen, settings, Unsaved(points.append))
    assert isinstance(learned.policy, Table)
    assert points[-1].samples == settings.customers * settings.days
    assert value_of(keen, learned.policy.actions) <= keen.solution.start_value(keen.kernel)
