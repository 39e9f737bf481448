"""Values the solver computes against averages the simulator earns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.arrays import Floats, Ints
from envs.day.masks import unpack
from envs.journey.journey import Journey
from envs.scenario.schema import COMPONENTS
from envs.simulate.simulator import Simulator
from envs.solve.baselines import random_legal
from envs.solve.evaluation import evaluate_horizon, evaluate_policy
from envs.solve.kernel import Kernel
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import q_values

KernelOf = Callable[[str], Kernel]


class Chart:
    """Looks simulated states up in a solver's tables."""

    def __init__(self, kernel: Kernel) -> None:
        self.journey: Journey = kernel.journey
        self.block = np.full(2 ** len(kernel.journey.scenario.channels), -1)
        self.block[kernel.consents] = np.arange(len(kernel.consents))
        self.strides = np.asarray(kernel.journey.rules.strides)
        self.states = kernel.states

    def places(self, states: Any) -> tuple[Any, Any, Any]:
        """(N,) block, (N,) kernel index, (N,) alive; churned point at state 0."""
        rows = states.astype(np.int64)
        alive = rows[:, 0] != self.journey.rules.churned
        return self.block[rows[:, 5]], np.where(alive, (rows * self.strides).sum(1), 0), alive


def drawn(probabilities: Floats, rng: np.random.Generator) -> Ints:
    """(N,) actions from (N, A)."""
    reached = probabilities.cumsum(1) > rng.random((len(probabilities), 1)) * probabilities.sum(
        1, keepdims=True
    )
    actions: Ints = reached.argmax(1)
    return actions


def residuals(
    kernel: Kernel, values: Any, policy: Any, baseline: Any, seed: int, customers: int, days: int
) -> dict[str, Any]:
    """r + γ V(x') − `baseline`(x, a) of every day lived under `policy`, by stage.

    Given the past each has mean 0 when the tables are right, so they are uncorrelated, even
    those of one customer, and their mean is judged by its own standard error.
    """
    journey, chart = kernel.journey, Chart(kernel)
    simulator, rng = Simulator(journey, customers, seed), np.random.default_rng(seed)
    weights = journey.weights()
    out: list[list[Any]] = [[] for _ in journey.scenario.stages]
    for _ in range(days):
        m, x, alive = chart.places(simulator.states)
        stages = simulator.states[:, 0].copy()
        chances = np.where(alive[:, None], policy[m, x], np.eye(kernel.actions)[0])
        actions = drawn(chances, rng)
        rewards = simulator.step(actions).rewards.astype(np.float64) @ weights
        after_m, after_x, living = chart.places(simulator.states)
        ahead = np.where(living, values[after_m, after_x], 0.0)
        gap = rewards + journey.scenario.discount * ahead - baseline[m, x, actions]
        for stage in range(len(out) - 1):
            out[stage].append(gap[stages == stage])
    names = [s.name for s in journey.scenario.stages]
    return {name: np.concatenate(gaps) for name, gaps in zip(names[:-1], out[:-1], strict=True)}


def assert_mean_zero(gaps: dict[str, Any]) -> None:
    for stage, gap in gaps.items():
        assert len(gap) > 2_000, stage
        error = gap.std() / np.sqrt(len(gap))
        # 4.5 standard errors: 7e-6 a stage for a right table
        assert abs(gap.mean()) < 4.5 * error, (stage, gap.mean() / error)


@pytest.mark.parametrize("seed", [101, 202])
def test_a_day_under_the_optimum_earns_what_the_optimum_promises(
    seed: int, tiny_kernel: Kernel, tiny_optimum: Solution
) -> None:
    best = np.eye(tiny_kernel.actions)[tiny_optimum.actions]
    promised = np.repeat(tiny_optimum.values[:, :, None], tiny_kernel.actions, axis=2)
    assert_mean_zero(residuals(tiny_kernel, tiny_optimum.values, best, promised, seed, 3_000, 25))


def assert_promises_kept(kernel: Kernel) -> None:
    """r + γ V*(x') has mean Q*(x, a) under any legal action a."""
    weights = kernel.journey.weights()
    values = solve(kernel, weights).values
    q = np.array([q_values(kernel, values, weights, m) for m in range(len(values))])
    assert_mean_zero(residuals(kernel, values, random_legal(kernel), q, 303, 4_000, 12))


def test_a_day_under_any_action_earns_what_its_value_promises(tiny_kernel: Kernel) -> None:
    assert_promises_kept(tiny_kernel)


@pytest.mark.parametrize("name", ["capped", "gapped", "seasonal"])
def test_promises_are_kept_with_every_component_in_play(name: str, kernel_of: KernelOf) -> None:
    assert_promises_kept(kernel_of(name))


def test_a_wrong_table_is_found_out(tiny_kernel: Kernel, tiny_optimum: Solution) -> None:
    """The same test fails on values of another discount: it has the power to."""
    wrong = solve(tiny_kernel, tiny_kernel.journey.weights(), 0.7).values
    best = np.eye(tiny_kernel.actions)[tiny_optimum.actions]
    promised = np.repeat(wrong[:, :, None], tiny_kernel.actions, axis=2)
    with pytest.raises(AssertionError):
        assert_mean_zero(residuals(tiny_kernel, wrong, best, promised, 101, 3_000, 25))


def lived(kernel: Kernel, policy: Any, days: int, customers: int, seed: int, discount: float) -> Floats:
    """(N, R) discounted components of each customer's first days."""
    chart, rng = Chart(kernel), np.random.default_rng(seed)
    simulator = Simulator(kernel.journey, customers, seed)
    total = np.zeros((customers, len(COMPONENTS)))
    for day in range(days):
        m, x, alive = chart.places(simulator.states)
        chances = np.where(alive[:, None], policy[m, x], np.eye(kernel.actions)[0])
        assert (chances[~unpack(simulator.legal, kernel.actions)] == 0.0).all()
        total = total + discount**day * simulator.step(drawn(chances, rng)).rewards.astype(np.float64)
    return total


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_the_exact_value_of_a_season_lies_in_the_simulations_interval(
    discount: float, tiny_kernel: Kernel
) -> None:
    weights, policy = tiny_kernel.journey.weights(), random_legal(tiny_kernel)
    exact = evaluate_horizon(tiny_kernel, policy, weights, 30, discount)
    earned = lived(tiny_kernel, policy, 30, 20_000, 7, discount) @ weights
    half = 2.576 * earned.std() / np.sqrt(len(earned))  # 99 %
    assert abs(earned.mean() - exact) < half
    assert half < 0.1 * abs(exact) + 0.1


def test_the_exact_discounted_components_lie_in_the_simulations_interval(
    tiny_kernel: Kernel, tiny_optimum: Solution
) -> None:
    weights, best = tiny_kernel.journey.weights(), np.eye(tiny_kernel.actions)[tiny_optimum.actions]
    exact = evaluate_policy(tiny_kernel, tiny_optimum.actions, weights)
    # 0.9^110 = 9e-6 of a value of a few euros is left out
    earned = lived(tiny_kernel, best, 110, 6_000, 8, 0.9)
    error = earned.std(0) / np.sqrt(len(earned))
    # ten intervals together at 99 %: each at 99.9 %, 3.29 standard errors
    assert (np.abs(earned.mean(0) - exact.components) < 3.29 * error + 1e-4).all()
    totals = earned @ weights
    assert abs(totals.mean() - exact.value) < 3.29 * totals.std() / np.sqrt(len(totals)) + 1e-4
