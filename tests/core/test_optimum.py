"""What must hold of any optimum: no oracle but mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.journey.journey import compile_journey
from envs.scenario.behavior import Behavior
from envs.scenario.schema import COMPONENTS, Scenario
from envs.solve.baselines import baselines, myopic, random_legal, service_only
from envs.solve.evaluation import (
    action_occupancy,
    components_of,
    evaluate_horizon,
    evaluate_policy,
    occupancy,
    policy_values,
    solve_horizon,
)
from envs.solve.kernel import Kernel, build_kernel, legal_masks, start_distribution
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import q_values

KernelOf = Callable[[str], Kernel]
SLACK = 1e-7  # money: twice the solver's bound and rounding of values up to a few hundred


def changed(scenario: Scenario, **parts: dict[str, Any]) -> Scenario:
    """Every cluster with other odds ratios: `response={"fatigue": 1.0}`."""
    clusters = []
    for cluster in scenario.clusters:
        behavior: Behavior = cluster.behavior
        for part, update in parts.items():
            new = getattr(behavior, part).model_copy(update=update)
            behavior = behavior.model_copy(update={part: new})
        clusters.append(cluster.model_copy(update={"behavior": behavior}))
    return scenario.model_copy(update={"clusters": clusters})


def test_no_baseline_is_better_than_the_optimum_anywhere(tiny_kernel: Kernel, tiny_optimum: Solution) -> None:
    weights = tiny_kernel.journey.weights()
    for name, policy in baselines(tiny_kernel, weights).items():
        values = policy_values(tiny_kernel, policy, weights)
        assert (values <= tiny_optimum.values + SLACK).all(), name
        assert (values < tiny_optimum.values - SLACK).any(), name


def test_no_baseline_beats_the_optimum_with_every_component_in_play(kernel_of: KernelOf) -> None:
    kernel = kernel_of("seasonal")
    weights = kernel.journey.weights()
    best = solve(kernel, weights)
    for name, policy in baselines(kernel, weights).items():
        assert (policy_values(kernel, policy, weights) <= best.values + SLACK).all(), name
    assert policy_values(kernel, best.actions, weights) == pytest.approx(best.values, abs=SLACK)


def test_the_values_satisfy_the_bellman_equation(tiny_kernel: Kernel, tiny_optimum: Solution) -> None:
    weights = tiny_kernel.journey.weights()
    for m in range(len(tiny_kernel.consents)):
        best = q_values(tiny_kernel, tiny_optimum.values, weights, m).max(1)
        assert best == pytest.approx(tiny_optimum.values[m], abs=tiny_optimum.bound + 1e-12)


def test_with_no_tomorrow_the_optimum_is_myopic(tiny_kernel: Kernel) -> None:
    weights = tiny_kernel.journey.weights()
    nearly_none = 1e-9
    solution = solve(tiny_kernel, weights, nearly_none)
    # V is at most 50 a day here, so γ V < 1e-7 decides only where rewards are as close as that
    for m in range(len(tiny_kernel.consents)):
        today = q_values(tiny_kernel, np.zeros_like(solution.values), weights, m)
        top = np.sort(today, axis=1)
        clear = top[:, -1] - top[:, -2] > 1e-6
        assert clear.mean() > 0.9
        assert (solution.actions[m] == today.argmax(1))[clear].all()
        mine = myopic(tiny_kernel, weights, np.zeros_like(solution.actions))[m]
        assert (mine == today.argmax(1)).all()


@pytest.mark.parametrize("cluster", ["keen", "wary"])
def test_customers_who_never_tire_are_worth_no_less(cluster: str, tiny: Scenario) -> None:
    kernel = build_kernel(compile_journey(tiny, cluster))
    rested = changed(tiny, response={"fatigue": 1.0}, opt_out={"fatigue": 1.0}, churn={"fatigue": 1.0})
    tireless = build_kernel(compile_journey(rested, cluster))
    weights = kernel.journey.weights()
    gain = solve(tireless, weights).values - solve(kernel, weights).values
    assert (gain[start_distribution(kernel) > 0.0] > 0.001).any()
    assert (gain[start_distribution(kernel) > 0.0] >= -SLACK).all()


@pytest.mark.parametrize("cluster", ["keen", "wary"])
def test_nobody_who_never_tires_is_worth_less_where_leaving_is_the_worst_fate(
    cluster: str, tiny: Scenario
) -> None:
    """A prospect with an open request can be worth less than one who left: price leaving above that."""
    prices = tiny.prices.model_copy(update={"churn": 5.0})
    dear = tiny.model_copy(update={"prices": prices})
    rested = changed(dear, response={"fatigue": 1.0}, opt_out={"fatigue": 1.0}, churn={"fatigue": 1.0})
    kernel, tireless = (build_kernel(compile_journey(s, cluster)) for s in (dear, rested))
    weights = kernel.journey.weights()
    values = solve(kernel, weights).values
    assert values.min() > -5.0
    assert (solve(tireless, weights).values - values >= -SLACK).all()


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_weight_raised_never_lowers_its_own_component(component: str, tiny_kernel: Kernel) -> None:
    weights = tiny_kernel.journey.weights()
    place, earned = COMPONENTS.index(component), []
    for factor in (0.0, 0.5, 1.0, 3.0):
        raised = weights.copy()
        raised[place] *= factor
        policy = solve(tiny_kernel, raised).actions
        earned.append(evaluate_policy(tiny_kernel, policy, raised).components[place])
    # each policy is optimal up to SLACK for its weights, which differ by at least 0.5
    assert (np.diff(earned) >= -2.0 * SLACK / 0.5).all(), earned


def test_raising_a_weight_moves_the_optimum(tiny_kernel: Kernel) -> None:
    """The claim above would hold of a solver that ignored its weights."""
    moved = 0.0
    for place, component in enumerate(COMPONENTS):
        earned = []
        for factor in (0.0, 3.0):
            weights = tiny_kernel.journey.weights()
            weights[place] *= factor
            found = evaluate_policy(tiny_kernel, solve(tiny_kernel, weights).actions, weights)
            earned.append(found.components[place])
        moved = max(moved, earned[1] - earned[0])
        assert earned[1] >= earned[0] - SLACK, component
    assert moved > 0.1


@pytest.mark.parametrize("name", ["seasonal", "gapped"])
def test_evaluating_early_policies_roughly_gives_the_same_optimum(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    weights = kernel.journey.weights()
    rough, exact = (solve(kernel, weights, early=share) for share in (0.3, 0.0))
    assert np.abs(rough.values - exact.values).max() <= rough.bound + exact.bound
    assert policy_values(kernel, rough.actions, weights) == pytest.approx(exact.values, abs=SLACK)


@pytest.mark.parametrize("name", ["seasonal", "gapped"])
def test_forward_and_backward_values_agree(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    weights = kernel.journey.weights()
    best = solve(kernel, weights)
    found = evaluate_policy(kernel, best.actions, weights)
    assert found.value == pytest.approx(best.start_value(kernel), abs=SLACK)
    assert float(found.components @ weights) == pytest.approx(found.value, abs=SLACK)
    other = kernel.journey.weights("conversion")
    again = evaluate_policy(kernel, best.actions, other)
    assert again.components == pytest.approx(found.components, abs=SLACK), "components have no weights"
    assert again.value == pytest.approx(float(found.components @ other), abs=SLACK)


def test_occupancy_loses_nobody_who_cannot_leave(tiny: Scenario) -> None:
    kernel = build_kernel(compile_journey(changed(tiny, churn={"rate": {}}), "keen"))
    visits = occupancy(kernel, random_legal(kernel))
    assert visits.sum() == pytest.approx(1.0 / (1.0 - 0.9), rel=1e-10)
    assert (visits >= -1e-12).all()
    leaving = build_kernel(compile_journey(tiny, "keen"))
    assert 1.0 < occupancy(leaving, random_legal(leaving)).sum() < 9.9


def test_action_occupancy_adds_up(tiny_kernel: Kernel) -> None:
    policy = random_legal(tiny_kernel)
    visits = occupancy(tiny_kernel, policy)
    split = action_occupancy(tiny_kernel, policy, visits)
    assert split.sum(2) == pytest.approx(visits, abs=1e-12)
    illegal = ~np.array([legal_masks(tiny_kernel, m) for m in range(len(visits))])
    assert (split[illegal] == 0.0).all()


def test_dice_are_worth_the_mixture_of_their_faces(tiny_kernel: Kernel) -> None:
    weights = tiny_kernel.journey.weights()
    dice = random_legal(tiny_kernel)
    values = policy_values(tiny_kernel, dice, weights)
    for m in range(len(values)):
        q = q_values(tiny_kernel, values, weights, m)
        mixture = (dice[m] * np.where(dice[m] > 0.0, q, 0.0)).sum(1)
        assert mixture == pytest.approx(values[m], abs=1e-9)
    certain = service_only(tiny_kernel)
    loaded = np.eye(tiny_kernel.actions)[certain]
    one, same = (evaluate_policy(tiny_kernel, policy, weights) for policy in (certain, loaded))
    assert (one.values == same.values).all()
    assert (one.components == same.components).all()


def test_components_are_linear_in_a_coin_thrown_once(tiny_kernel: Kernel) -> None:
    """Occupancy of two policies, mixed at the start, earns the mixed components."""
    dice, certain = random_legal(tiny_kernel), service_only(tiny_kernel)
    visits = [occupancy(tiny_kernel, p) for p in (dice, certain)]
    split = [action_occupancy(tiny_kernel, p, v) for p, v in zip((dice, certain), visits, strict=True)]
    mixed = 0.3 * split[0] + 0.7 * split[1]
    total = mixed.sum(2)
    policy = np.where(total[..., None] > 0, mixed / np.maximum(total, 1e-300)[..., None], 0.0)
    policy[..., 0] += policy.sum(2) == 0.0
    earned = [components_of(tiny_kernel, p, v) for p, v in zip((dice, certain), visits, strict=True)]
    found = evaluate_policy(tiny_kernel, policy, tiny_kernel.journey.weights())
    assert found.components == pytest.approx(0.3 * earned[0] + 0.7 * earned[1], abs=1e-8)


def test_long_horizons_approach_the_discounted_value(tiny_kernel: Kernel, tiny_optimum: Solution) -> None:
    weights = tiny_kernel.journey.weights()
    largest = float(np.abs(tiny_optimum.values).max())
    for days in (10, 60):
        gap = np.abs(solve_horizon(tiny_kernel, weights, days) - tiny_optimum.values).max()
        assert gap <= 0.9**days * largest + SLACK  # a contraction from V = 0
    dice = random_legal(tiny_kernel)
    exact = evaluate_policy(tiny_kernel, dice, weights).value
    assert evaluate_horizon(tiny_kernel, dice, weights, 250) == pytest.approx(exact, abs=1e-8)


def test_an_illegal_policy_is_refused(tiny_kernel: Kernel) -> None:
    weights = tiny_kernel.journey.weights()
    actions = service_only(tiny_kernel).copy()
    reply = [a.service for a in tiny_kernel.journey.actions].index(True)
    quiet = int(np.flatnonzero(~legal_masks(tiny_kernel, 0)[:, reply])[0])
    actions[0, quiet] = reply
    with pytest.raises(ValueError, match=f"consent pattern 0, state {quiet}"):
        evaluate_policy(tiny_kernel, actions, weights)
    dice = random_legal(tiny_kernel)
    dice[1, quiet, reply] = 1e-6
    with pytest.raises(ValueError, match=f"consent pattern 1, state {quiet}"):
        evaluate_policy(tiny_kernel, dice, weights)


def test_the_start_distribution_is_where_journeys_start(tiny_kernel: Kernel) -> None:
    start = start_distribution(tiny_kernel)
    assert start.sum() == pytest.approx(1.0, abs=1e-12)
    granted = [float(start[m].sum()) for m in range(len(start))]
    # e-mail 0.8, phone 0.5, independent
    expected = {0: 0.1, 1: 0.4, 2: 0.1, 3: 0.4}
    assert granted == pytest.approx([expected[int(c)] for c in tiny_kernel.consents])
