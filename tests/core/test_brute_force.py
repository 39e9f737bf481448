"""The solver against the whole of `tiny` written out and solved by textbook means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.solve.baselines import baselines, random_legal, service_only
from envs.solve.evaluation import evaluate_horizon, evaluate_policy, occupancy, solve_horizon
from envs.solve.kernel import Kernel, legal_masks, start_distribution
from envs.solve.references import references
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import q_values
from tests.core.brute_force import Written, write_out

EXACT = 1e-8  # money; values are of the order of 1 to 10


@pytest.fixture(scope="module")
def written(tiny_kernel: Kernel) -> Written:
    """The problem written out: 576 living states."""
    return write_out(tiny_kernel.journey)


def random_policy(kernel: Kernel, seed: int) -> Any:
    """(M, S, A) random probabilities over the legal actions, some of them 0."""
    rng = np.random.default_rng(seed)
    blocks = []
    for m in range(len(kernel.consents)):
        legal = legal_masks(kernel, m)
        weight = np.where(legal, rng.exponential(size=legal.shape) * (rng.random(legal.shape) < 0.7), 0.0)
        weight[:, 0] += weight.sum(1) == 0.0  # wait is always legal
        blocks.append(weight / weight.sum(1, keepdims=True))
    return np.array(blocks)


def one_hot(kernel: Kernel, policy: Any) -> Any:
    """Actions (M, S) as probabilities (M, S, A)."""
    return policy if policy.ndim == 3 else np.eye(kernel.actions)[policy]


def judged(written: Written, kernel: Kernel, policy: Any, discount: float) -> Any:
    """(X, R) by the dense linear solve."""
    churned = np.eye(kernel.actions)[0]
    return written.components(written.flat(one_hot(kernel, policy), kernel.consents, churned), discount)


def test_the_written_out_rows_are_distributions(written: Written) -> None:
    sums = written.rows.sum(1).reshape(written.legal.shape)
    assert sums[written.legal] == pytest.approx(1.0, abs=1e-12)
    assert written.legal[:, 0].all()


@pytest.mark.parametrize("objective", ["lifetime_value", "conversion", "retention"])
def test_the_optimum_is_that_of_value_iteration(
    objective: str, tiny_kernel: Kernel, written: Written
) -> None:
    weights = tiny_kernel.journey.weights(objective)
    solution = solve(tiny_kernel, weights)
    # γ^400 = 5e-19 of the largest value is left
    values = written.optimum(weights, 0.9, 400)
    assert written.flat(solution.values, tiny_kernel.consents) == pytest.approx(values, abs=EXACT)
    assert (
        np.abs(written.flat(solution.values, tiny_kernel.consents) - values).max() <= solution.bound + 1e-12
    )


def test_the_chosen_actions_are_greedy_and_action_values_agree(
    tiny_kernel: Kernel, tiny_optimum: Solution, written: Written
) -> None:
    weights = tiny_kernel.journey.weights()
    q = written.action_values(written.optimum(weights, 0.9, 400), weights, 0.9)
    for m, pattern in enumerate(tiny_kernel.consents.tolist()):
        rows = q[pattern * written.states : (pattern + 1) * written.states]
        chosen = rows[np.arange(written.states), tiny_optimum.actions[m].astype(int)]
        assert chosen == pytest.approx(rows.max(1), abs=EXACT)
        mine = q_values(tiny_kernel, tiny_optimum.values, weights, m)
        legal = legal_masks(tiny_kernel, m)
        assert (np.isneginf(mine) == ~legal).all()
        assert mine[legal] == pytest.approx(rows[legal], abs=EXACT)


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
def test_a_policys_exact_value_and_components_are_those_of_a_dense_solve(
    discount: float, tiny_kernel: Kernel, written: Written
) -> None:
    weights = tiny_kernel.journey.weights()
    start = written.flat(start_distribution(tiny_kernel), tiny_kernel.consents)
    policies = [random_policy(tiny_kernel, 1), service_only(tiny_kernel), random_legal(tiny_kernel)]
    for policy in policies:
        exact = judged(written, tiny_kernel, policy, discount)
        found = evaluate_policy(tiny_kernel, policy, weights, discount)
        flat = written.flat(found.values, tiny_kernel.consents)
        assert flat == pytest.approx(exact @ weights, abs=EXACT)
        assert found.components == pytest.approx(start @ exact, abs=EXACT)
        assert found.value == pytest.approx(float(start @ exact @ weights), abs=EXACT)


def test_occupancy_is_the_discounted_sum_of_where_the_chain_is(tiny_kernel: Kernel, written: Written) -> None:
    policy = random_policy(tiny_kernel, 2)
    flat = written.flat(policy, tiny_kernel.consents, np.eye(tiny_kernel.actions)[0])
    move = written.moves(flat)
    here = written.flat(start_distribution(tiny_kernel), tiny_kernel.consents)
    visits = np.zeros_like(here)
    for day in range(400):
        visits += 0.9**day * here
        here = here @ move
    found = written.flat(occupancy(tiny_kernel, policy), tiny_kernel.consents)
    assert found[:-1] == pytest.approx(visits[:-1], abs=EXACT)


@pytest.mark.parametrize("days", [1, 2, 7])
@pytest.mark.parametrize("discount", [None, 1.0])
def test_finite_horizons_are_backward_induction(
    days: int, discount: float | None, tiny_kernel: Kernel, written: Written
) -> None:
    weights, rate = tiny_kernel.journey.weights(), 0.9 if discount is None else discount
    best = solve_horizon(tiny_kernel, weights, days, discount)
    expected = written.optimum(weights, rate, days)
    assert written.flat(best, tiny_kernel.consents) == pytest.approx(expected, abs=1e-12)
    policy = random_policy(tiny_kernel, 3)
    flat = written.flat(policy, tiny_kernel.consents, np.eye(tiny_kernel.actions)[0])
    values = np.zeros(len(flat))
    for _ in range(days):
        q = written.action_values(values, weights, rate)
        values = (flat * np.where(flat > 0.0, q, 0.0)).sum(1)
    start = written.flat(start_distribution(tiny_kernel), tiny_kernel.consents)
    found = evaluate_horizon(tiny_kernel, policy, weights, days, discount)
    assert found == pytest.approx(float(start @ values), abs=1e-12)


def test_the_references_are_the_values_of_their_policies(
    tiny_kernel: Kernel, tiny_optimum: Solution, written: Written
) -> None:
    weights = tiny_kernel.journey.weights()
    start = written.flat(start_distribution(tiny_kernel), tiny_kernel.consents)
    found = references(tiny_kernel, weights, tiny_optimum)
    assert found.optimum == pytest.approx(float(start @ written.optimum(weights, 0.9, 400)), abs=EXACT)
    for name, policy in baselines(tiny_kernel, weights).items():
        exact = float(start @ judged(written, tiny_kernel, policy, 0.9) @ weights)
        assert found.baselines[name] == pytest.approx(exact, abs=EXACT), name
    assert found.service_only == found.baselines["service_only"]
    assert found.never == found.baselines["never"]
    assert found.score(found.optimum) == pytest.approx(1.0)
    assert found.score(found.service_only) == pytest.approx(0.0)
    assert found.edge(found.best[1]) == pytest.approx(0.0)


def test_without_opt_outs_every_consent_pattern_is_a_problem_of_its_own(
    tiny_kernel: Kernel, written: Written
) -> None:
    weights = tiny_kernel.journey.weights()
    loyal = solve(replace(tiny_kernel, opt_out=np.zeros_like(tiny_kernel.opt_out)), weights)
    # opt-outs are independent of the rest: forgetting the consent they leave keeps the rest's law
    forgotten = np.arange(len(written.legal) - 1) % written.states
    gain = written.reward @ np.where(np.arange(len(weights)) == 7, 0.0, weights)
    for m, pattern in enumerate(tiny_kernel.consents.tolist()):
        rows = slice(pattern * written.states, (pattern + 1) * written.states)
        values = np.zeros(written.states)
        for _ in range(400):
            ahead = written.rows @ np.append(values[forgotten], 0.0)
            q = (gain + 0.9 * ahead.reshape(written.legal.shape))[rows]
            values = np.where(written.legal[rows], q, -np.inf).max(1)
        assert loyal.values[m] == pytest.approx(values, abs=EXACT)
