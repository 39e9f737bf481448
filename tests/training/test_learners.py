"""Each learner reaches what it promises, on a scenario small enough to retrain in a test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.policy.policy import NetworkPolicy
from envs.solve.relaxation import greedy_policy
from training.checkpoint import Unsaved
from training.judging.export import export
from training.judging.judge import answers
from training.learner import Learned, Point, Problem, Table
from training.learners import distilled, planner, ppo, tuned


def finite(point: Point) -> None:
    """Nothing that is told is a NaN."""
    assert np.isfinite(list(point.metrics.values())).all()


quiet = Unsaved(finite)


def score(problem: Problem, learned: Learned) -> float:
    """Score of the exported file."""
    exported = export(problem, learned, 0.05, 0.01)
    assert exported.entry.score is not None
    return exported.entry.score


def test_the_planner_is_optimal(wary: Problem) -> None:
    learned = planner.learn(wary, planner.Settings(), quiet)
    assert score(wary, learned) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["keen", "wary"])
def test_the_distilled_network_is_nearly_optimal(name: str, request: pytest.FixtureRequest) -> None:
    problem: Problem = request.getfixturevalue(name)
    learned = distilled.learn(problem, distilled.Settings(steps=400), quiet)
    assert score(problem, learned) >= 0.999


def test_ppo_learns_the_journey(keen: Problem) -> None:
    settings = ppo.Settings(samples=300_000, customers=128)
    learned = ppo.learn(keen, settings, quiet)
    assert score(keen, learned) >= 0.97
    assert learned.samples >= settings.samples


def test_the_same_seed_gives_the_same_network(keen: Problem) -> None:
    settings = ppo.Settings(samples=8_192, customers=128, steps=16, batch=512)
    files = []
    for _ in range(2):
        learned = ppo.learn(keen, settings, quiet)
        assert learned.correction is not None
        files.append([p.detach().numpy().copy() for p in learned.correction.policy.parameters()])
    for one, other in zip(*files, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_potentials_own_policy_is_shown_beside_what_was_learned(keen: Problem) -> None:
    settings = ppo.Settings(samples=4_096, customers=64, steps=16, batch=256)
    learned = ppo.learn(keen, settings, quiet)
    assert keen.value_of(learned.shown_beside["potential_greedy"]) <= keen.solution.start_value(keen.kernel)
    unshaped = ppo.learn(keen, settings.model_copy(update={"shaping": "none", "prior": "none"}), quiet)
    assert not unshaped.shown_beside


def test_a_learned_file_never_chooses_an_illegal_action(keen: Problem) -> None:
    settings = ppo.Settings(samples=4_096, customers=64, steps=16, batch=256, prior="none")
    exported = export(keen, ppo.learn(keen, settings, quiet), 0.05, 0.01)
    actions = answers(keen, NetworkPolicy(exported.content, keen.journey, "file"))[0].ravel()
    assert keen.legal[np.arange(keen.states), actions].all()


def test_what_was_learned_is_never_worse_than_its_prior(wary: Problem) -> None:
    settings = ppo.Settings(samples=16_384, customers=64, steps=16, batch=256)
    learned = ppo.learn(wary, settings, quiet)
    assert isinstance(learned.policy, Table)
    value = wary.value_of(learned.policy.actions)
    assert value >= wary.value_of(learned.shown_beside["potential_greedy"])
    assert value >= wary.value_of(learned.shown_beside["whole_step"])


def test_before_the_first_update_the_policy_is_its_prior(keen: Problem) -> None:
    settings = ppo.Settings(customers=64, steps=16, batch=256)
    model: Any = ppo.agent(keen, settings, ppo.own_prior(keen, settings))
    with torch.no_grad():  # no correction at all
        model.policy.action_net.weight.zero_()
    phi = ppo.shaping_potential(keen, ppo.Settings())
    assert phi is not None
    greedy = greedy_policy(keen.kernel, keen.weights, phi)
    network = ppo.served_network(keen, model, ppo.Settings())
    value = ppo.greedy_value(keen, network, model.env.prior)
    assert value == pytest.approx(keen.value_of(greedy), abs=1e-12)


def test_fine_tuning_is_never_worse_than_its_teacher(wary: Problem) -> None:
    small = ppo.Settings(samples=8_192, customers=64, steps=16, batch=256, learning_rate=3e-2)
    settings = tuned.Settings(teacher=distilled.Settings(steps=1), ppo=small)
    learned = tuned.learn(wary, settings, quiet)
    assert isinstance(learned.policy, Table)
    taught = wary.value_of(learned.shown_beside["teacher"])
    assert taught < wary.solution.start_value(wary.kernel)  # a single step teaches something wrong
    assert wary.value_of(learned.policy.actions) >= taught
