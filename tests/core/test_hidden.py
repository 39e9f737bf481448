"""Planning for hidden types against what is known otherwise: kernels, exact values, whole histories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.cli.solve import solve_cluster
from envs.errors import ScenarioError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey, mean_journey
from envs.personas.bounds import GridBounds, grid_bounds
from envs.personas.branches import Branches, event_branches
from envs.personas.models import Hidden
from envs.personas.rollouts import interval, qmdp, rollout_values, table
from envs.scenario.schema import Scenario
from envs.simulate.logging_policy import deciders
from envs.simulate.simulator import Simulator
from envs.solve.kernel import Kernel

START = 0  # an engagement and fatigue of 0: the micro journey's first state


def micro(tiny: Scenario) -> Scenario:
    """One living stage, one channel, three actions, nobody leaves or asks; a day is worth a fifth."""
    body = tiny.model_dump(mode="json")
    body |= {"name": "micro", "discount": 0.2, "max_states": 1_000, "business_rules": []}
    body["stages"] = [{"name": "prospect"}, {"name": "churned"}]
    body["channels"] = [{"name": "email", "fatigue_points": 2, "contact_cost": 0.4}]
    body["touchpoints"] = [
        {"name": "ask", "channels": ["email"]},
        {"name": "offer", "channels": ["email"]},
    ]
    body["memory"] = {
        "engagement": {"capacity": 1, "points": 1},
        "fatigue_capacity": 2,
        "goodwill": {"capacity": 0, "neutral": 0},
    }
    body["prices"] = {"margin": 1.0, "churn": 3.0}
    body["assignment"] = {"default": "both"}
    keen = {
        "response": {"rate": {"email": 0.5}, "touchpoint": {"ask": 4.0}, "fatigue": 0.7},
        "purchase": {"rate": {"prospect": 0.02}, "response": {"offer": 60.0}, "value": {"prospect": 10.0}},
        "churn": {"rate": {"prospect": 0.05}, "fatigue": 1.0},
    }
    wary = keen | {
        "response": {"rate": {"email": 0.05}},
        "churn": {"rate": {"prospect": 0.05}, "fatigue": 4.0},
    }
    personas = [
        {"name": "keen", "share": 0.4, "behavior": keen},
        {"name": "wary", "share": 0.6, "behavior": wary},
    ]
    start = {"stages": {"prospect": 1.0}, "consent": {"email": 1.0}}
    body["clusters"] = [
        {"name": "both", "share": 1.0, "behavior": keen, "start": start, "personas": personas}
    ]
    return Scenario.model_validate(body)


@pytest.fixture(scope="module")
def small(tiny: Scenario) -> Hidden:
    """The micro journey."""
    journey = compile_journey(micro(tiny), "both")
    return Hidden(journey, journey.weights())


@pytest.fixture(scope="module")
def shipped(root: Any) -> Hidden:
    """The shipped scenario of hidden types."""
    journey = compile_journey(load_scenario(root / "configs/scenarios/personas.yaml"), "everybody")
    return Hidden(journey, journey.weights())


@pytest.fixture(scope="module")
def bounds(small: Hidden) -> GridBounds:
    """Both bounds of the micro journey."""
    return grid_bounds(small, points=17, tolerance=1e-6)


def by_histories(hidden: Hidden, branches: Branches, x: int, weight: tuple[float, float], days: int) -> float:
    """The best expected reward of `days` days, by trying every plan on every history.

    `weight` is the joint probability of the history and each type: no belief is normalised, no
    grid, no interpolation.
    """
    kernel, gain = hidden.kernels[0], hidden.gain(0)
    if days == 0 or x == kernel.states:
        return 0.0
    best = -np.inf
    for a in range(kernel.actions):
        if not int(kernel.legal(0)[x]) >> a & 1:
            continue
        row, total = x * kernel.actions + a, 0.0
        for p in range(2):
            total += weight[p] * float(gain[p, x, a])
        for k in range(int(branches.indptr[row]), int(branches.indptr[row + 1])):
            first, second = (float(c) for c in branches.chance[k])
            after = (weight[0] * first, weight[1] * second)
            total += hidden.discount * by_histories(hidden, branches, int(branches.to[k]), after, days - 1)
        best = max(best, total)
    return best


@pytest.mark.parametrize("belief", [0.03, 0.4, 0.8])
def test_both_bounds_hold_the_best_plan_over_histories(
    small: Hidden, bounds: GridBounds, belief: float
) -> None:
    branches = event_branches(small.journey, small.kernels[0])
    days = 3
    exact = by_histories(small, branches, START, (belief, 1.0 - belief), days)
    # what later days may add or take: the largest reward of a day, for ever
    left = small.discount**days * float(np.abs(small.gain(0)).max()) / (1.0 - small.discount)
    upper, lower = float(bounds.upper(belief)[0, START]), float(bounds.lower(belief)[0, START])
    assert lower <= upper
    assert lower <= exact + left
    assert upper >= exact - left
    assert upper - lower < 0.02 * abs(upper)  # and they are close, so the two sides mean something
    told = float(small.values[:, 0, START] @ np.array([belief, 1.0 - belief]))
    assert upper <= told + 1e-9


def rows_of(kernel: Kernel, row: int) -> Any:
    """(S + 1,) next states of one (state, action) as the solver has them."""
    out = np.zeros(kernel.states + 1)
    for n in range(int(kernel.indptr[row]), int(kernel.indptr[row + 1])):
        y, p = int(kernel.indices[n]), float(kernel.data[n])
        if y == kernel.states:
            out[y] += p
        else:
            np.add.at(out, kernel.arrive_to[y], p * kernel.arrive_p[y])
    return out


def test_branches_merged_by_next_state_are_each_personas_kernel(shipped: Hidden) -> None:
    """The belief's likelihood, summed over events, is the solver's transition probability."""
    branches = event_branches(shipped.journey, shipped.kernels[0])
    rows = np.random.default_rng(0).integers(0, len(branches.indptr) - 1, 300)
    for p, kernel in enumerate(shipped.kernels):
        for row in rows.tolist():
            merged, here = np.zeros(kernel.states + 1), slice(branches.indptr[row], branches.indptr[row + 1])
            np.add.at(merged, branches.to[here], branches.chance[here, p])
            np.testing.assert_allclose(merged, rows_of(kernel, row), rtol=0, atol=1e-14)


def test_a_rollouts_interval_holds_the_exact_value_of_a_policy_that_ignores_the_belief(
    shipped: Hidden,
) -> None:
    exact = shipped.from_start(shipped.values_of(shipped.mean_policy))
    samples = rollout_values(shipped, {"mean": table(shipped.mean_policy)}, 2_000, seed=4)["mean"]
    found = interval(samples)
    error = (found.high - found.low) / 2 / 1.959964
    # 4 standard errors: one false alarm in 16,000; the cut leaves out less than 1e-4 of the value
    assert abs(found.mean - exact) < 4.0 * error + 1e-4 * abs(exact)
    told = shipped.from_start(shipped.values)
    assert (samples <= told + 1e-6).all()  # nobody does better for not knowing


def test_the_belief_is_worth_having_and_qmdp_never_asks(shipped: Hidden) -> None:
    """In the shipped scenario: QMDP beats service only, the mean model beats it, being told beats all."""
    values = {"service_only": shipped.service_only, "mean": shipped.mean_policy}
    exact = {name: shipped.from_start(shipped.values_of(policy)) for name, policy in values.items()}
    told = shipped.from_start(shipped.values)
    samples = rollout_values(shipped, {"qmdp": qmdp(shipped)}, 2_000, seed=4)["qmdp"]
    found = interval(samples)
    assert exact["service_only"] < found.low < found.high < exact["mean"] < told
    assert told - exact["mean"] > 0.1 * (told - exact["service_only"])


def test_the_mean_model_of_equal_types_is_their_model(tiny: Scenario) -> None:
    body = tiny.model_dump(mode="json")
    behavior = body["clusters"][0]["behavior"]
    body["clusters"][0]["personas"] = [{"name": n, "share": 0.5, "behavior": behavior} for n in ("a", "b")]
    journey = compile_journey(Scenario.model_validate(body), "keen")
    for mean, own in zip(mean_journey(journey).tables, journey.personas[0], strict=True):
        np.testing.assert_allclose(np.asarray(mean), np.asarray(own), rtol=1e-15)


def test_verbs_that_need_one_exact_model_refuse_hidden_types_with_the_place(shipped: Hidden) -> None:
    with pytest.raises(ScenarioError, match="clusters.everybody.personas"):
        solve_cluster(shipped.journey.scenario, "everybody", "lifetime_value")


def test_a_planned_baseline_of_hidden_types_is_planned_on_their_mean_model(shipped: Hidden) -> None:
    simulator = Simulator(shipped.journey, 20, 0)
    decide = deciders("business_rules:0.5+myopic:0.5")(shipped.journey)
    chances = decide(simulator.states, simulator.observations, simulator.legal)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
