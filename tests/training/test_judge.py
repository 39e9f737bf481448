"""The judge measures the file that is served, exactly, against fair references."""

from __future__ import annotations

import numpy as np
import pytest

from envs.policy.bundle import Parity
from envs.policy.policy import TablePolicy, check_parity
from envs.simulate.simulator import Simulator
from envs.solve.references import References
from training.judging.bandit import linear_bandit
from training.judging.export import export, to_npz
from training.judging.judge import judge, references
from training.learner import Learned, Problem, Table


def as_file(problem: Problem, actions: np.ndarray) -> TablePolicy:
    """A policy that went through its file."""
    values = problem.solution.values
    return TablePolicy(to_npz(problem, Table(actions, values)), problem.journey, "file")


@pytest.fixture(scope="module")
def known(keen: Problem) -> References:
    """What `keen` is measured against."""
    return references(keen)


def test_the_planner_scores_one_and_service_only_zero(keen: Problem, known: References) -> None:
    best = judge(keen, as_file(keen, keen.solution.actions), known, 0.05, 0.0)
    idle = judge(keen, as_file(keen, keen.service_only), known, 0.0, 0.0)
    assert best.score == pytest.approx(1.0, abs=1e-6)
    assert best.edge == pytest.approx(1.0, abs=1e-6)
    assert best.agreement == 1.0
    assert idle.score == pytest.approx(0.0, abs=1e-9)


def test_components_add_up_to_the_value(keen: Problem, known: References) -> None:
    verdict = judge(keen, as_file(keen, keen.solution.actions), known, 0.05, 0.0)
    assert sum(verdict.components.values()) == pytest.approx(verdict.value, rel=1e-6)


def test_the_exact_value_lies_in_the_interval_of_a_simulation(keen: Problem) -> None:
    simulator = Simulator(keen.journey, 40_000, seed=11)
    policy, discount = as_file(keen, keen.solution.actions), keen.journey.scenario.discount
    total, factor = np.zeros(40_000), 1.0
    legal = np.ones((40_000, len(keen.journey.actions)), dtype=bool)
    alive = np.ones(40_000, dtype=bool)
    for _ in range(150):
        chosen = policy.evaluate(simulator.observations, legal)[0].argmax(axis=1)
        outcomes = simulator.step(chosen)
        total += factor * alive * (outcomes.rewards @ keen.weights)
        alive &= ~outcomes.churned
        factor *= discount
    error = total.std() / np.sqrt(len(total))
    assert abs(total.mean() - keen.value_of(keen.solution.actions)) < 2.58 * error


def test_exploration_costs_something_but_never_more_than_allowed(wary: Problem) -> None:
    known = references(wary)
    regret = 0.05 * known.room
    verdict = judge(wary, as_file(wary, wary.solution.actions), known, 0.2, regret)
    days = 1.0 / (1.0 - wary.journey.scenario.discount)
    assert verdict.value_served <= verdict.value
    assert verdict.value - verdict.value_served <= 0.2 * regret * days


def test_the_bandit_is_legal_and_beats_random(keen: Problem, known: References) -> None:
    assert keen.value_of(linear_bandit(keen)) == pytest.approx(known.baselines["bandit"])
    assert known.baselines["bandit"] > known.baselines["random_legal"]
    assert known.best[1] <= known.optimum + 1e-9


def test_an_exported_table_reports_its_own_errors(keen: Problem) -> None:
    exported = export(keen, Learned(Table(keen.solution.actions, keen.solution.values)), 0.05, 0.01)
    assert exported.entry.value_error < 1e-5
    assert exported.entry.score == pytest.approx(1.0, abs=1e-6)
    policy = TablePolicy(exported.content, keen.journey, "file")
    check_parity(policy, Parity.model_validate(exported.entry.parity.model_dump()), "file")
