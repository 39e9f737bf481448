"""The solver's transition table and rewards against the day in words, and against frequencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from envs.journey.journey import Journey, compile_journey
from envs.journey.state import State
from envs.scenario.schema import COMPONENTS
from envs.simulate.simulator import Simulator
from envs.solve.kernel import Kernel, build_kernel
from tests.core.plain_day import PlainDay
from tests.core.states import expected_reward, index_of, legal_in, next_states, random_cells
from tests.core.worlds import VARIANTS, seasonal

KernelOf = Callable[[str], Kernel]
ENUMERATED = 70  # cells a variant that are walked branch by branch
SIMULATED, DAYS = 70, 20_000  # cells a variant, days in each
FALSE_ALARM = 1e-4  # chance that a correct simulator fails a whole test


def merged(day: PlainDay, journey: Journey, state: State, action: int) -> dict[tuple[int, int], float]:
    """The judge's branches by (kernel index, consent)."""
    out: dict[tuple[int, int], float] = {}
    for branch in day.branches(state, action):
        key = index_of(journey, branch.state), branch.state.consent
        out[key] = out.get(key, 0.0) + branch.chance
    return without_consent_of_churned(out, journey)


def without_consent_of_churned(
    law: dict[tuple[int, int], float], journey: Journey
) -> dict[tuple[int, int], float]:
    """Churned is one state, whatever its consent."""
    states = int(journey.rules.strides[0] * journey.rules.sizes[0])
    out: dict[tuple[int, int], float] = {}
    for (x, consent), p in law.items():
        key = (x, consent if x < states else 0)
        out[key] = out.get(key, 0.0) + p
    return out


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_transition_of_the_solver_is_a_day_in_words(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    journey, day = kernel.journey, PlainDay(kernel.journey)
    rng = np.random.default_rng(1)
    for state, action in random_cells(journey, kernel.consents, ENUMERATED, rng):
        expected = merged(day, journey, state, action)
        found = without_consent_of_churned(next_states(kernel, state, action), journey)
        assert found.keys() == expected.keys(), (state, action)
        assert found == pytest.approx(expected, abs=1e-13), (state, action)
        assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("persona", [0, 1])
def test_a_persona_has_transitions_of_its_own(persona: int) -> None:
    journey = compile_journey(seasonal(), "mixed")
    kernel = build_kernel(journey, persona)
    day, rng = PlainDay(journey, journey.cluster.personas[persona].behavior), np.random.default_rng(6)
    for state, action in random_cells(journey, kernel.consents, 15, rng):
        found = without_consent_of_churned(next_states(kernel, state, action), journey)
        assert found == pytest.approx(merged(day, journey, state, action), abs=1e-13), (state, action)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_expected_reward_of_the_solver_is_a_sum_over_branches(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    day, rng = PlainDay(kernel.journey), np.random.default_rng(2)
    for state, action in random_cells(kernel.journey, kernel.consents, ENUMERATED, rng):
        branches = day.branches(state, action)
        expected = sum(b.chance * np.array(b.reward) for b in branches)
        assert expected_reward(kernel, state, action) == pytest.approx(expected, abs=1e-12), (state, action)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_solver_allows_what_the_design_allows(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    fold, rng = PlainDay(kernel.journey).fold, np.random.default_rng(3)
    for state, _ in random_cells(kernel.journey, kernel.consents, 400, rng):
        x, m = index_of(kernel.journey, state), kernel.consents.tolist().index(state.consent)
        reading = fold.notation.read(state)
        allowed = [fold.legal(reading, action) for action in kernel.journey.actions]
        assert [bool(kernel.legal(m)[x] >> a & 1) for a in range(kernel.actions)] == allowed
        assert legal_in(kernel.journey, state).tolist() == allowed


def stepped(journey: Journey, state: State, action: int, seed: int) -> tuple[Any, Any]:
    """States (N, 12) and rewards (N, R) after `DAYS` days from one cell."""
    simulator = Simulator(journey, DAYS, seed)
    simulator.states[:] = state
    simulator.legal[:] = sum(1 << int(a) for a in np.flatnonzero(legal_in(journey, state)))
    outcomes = simulator.step(np.full(DAYS, action))
    return simulator.states, outcomes.rewards


def counted(journey: Journey, states: Any) -> dict[tuple[int, int], int]:
    """How often each (kernel index, consent) came out."""
    rules, rows = journey.rules, states.astype(np.int64)
    index = (rows * rules.strides).sum(1)
    gone = rows[:, 0] == rules.churned
    index[gone] = int(rules.strides[0] * rules.sizes[0])
    pairs, counts = np.unique(np.stack([index, np.where(gone, 0, rows[:, 5])], 1), axis=0, return_counts=True)
    return {(int(x), int(c)): int(n) for (x, c), n in zip(pairs, counts, strict=True)}


def chi_square(law: dict[tuple[int, int], float], seen: dict[tuple[int, int], int]) -> tuple[float, int]:
    """Pearson's statistic and its degrees; outcomes expected below 5 times are one class."""
    common = {key for key, p in law.items() if p * DAYS >= 5.0}
    classes = [(law[key] * DAYS, seen.get(key, 0)) for key in sorted(common)]
    rare = sum(p for key, p in law.items() if key not in common) * DAYS
    rest = sum(n for key, n in seen.items() if key not in common)
    if rare >= 5.0:
        classes.append((rare, rest))
    elif classes:  # too few to be a class of their own: joined with the least common one
        expected, observed = min(classes)
        classes[classes.index((expected, observed))] = expected + rare, observed + rest
    return sum((o - e) ** 2 / e for e, o in classes), len(classes) - 1


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_simulated_frequencies_are_the_solvers_probabilities(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    journey, rng = kernel.journey, np.random.default_rng(4)
    total, degrees = 0.0, 0
    for number, (state, action) in enumerate(random_cells(journey, kernel.consents, SIMULATED, rng)):
        states, _ = stepped(journey, state, action, 7000 + number)
        law = without_consent_of_churned(next_states(kernel, state, action), journey)
        seen = counted(journey, states)
        assert seen.keys() <= law.keys(), "an outcome the solver holds for impossible"
        statistic, freedom = chi_square(law, seen)
        assert statistic < chi2.isf(FALSE_ALARM / SIMULATED, max(freedom, 1)), (state, action)
        total, degrees = total + statistic, degrees + freedom
    assert degrees > 10 * SIMULATED
    # the pooled statistic, from both sides: too good a fit would be a fault of the draws
    assert chi2.isf(1.0 - FALSE_ALARM, degrees) < total < chi2.isf(FALSE_ALARM, degrees)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_simulated_rewards_have_the_solvers_means_by_component(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    day, rng = PlainDay(kernel.journey), np.random.default_rng(5)
    variation = kernel.journey.cluster.behavior.purchase.value_cv
    error, variance = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    for number, (state, action) in enumerate(random_cells(kernel.journey, kernel.consents, 35, rng)):
        _, rewards = stepped(kernel.journey, state, action, 9000 + number)
        mean = expected_reward(kernel, state, action)
        error += rewards.mean(0, dtype=np.float64) - mean
        branches = day.branches(state, action)
        chance, reward = np.array([b.chance for b in branches]), np.array([b.reward for b in branches])
        spread = (chance[:, None] * (reward - mean) ** 2).sum(0)
        # a purchase's value varies around the mean that its branch carries
        margin = 0 if not kernel.journey.scenario.stages[state.stage].customer else 1
        spread[margin] += variation**2 * sum(b.chance * b.bought**2 for b in branches)
        variance += spread / DAYS
    assert (variance > 0.0).all()
    # 4.5 standard errors: under 1e-5 for each component of a correct simulator
    assert (np.abs(error) < 4.5 * np.sqrt(variance) + 1e-5).all(), error / np.sqrt(variance)


def test_the_value_of_a_purchase_has_its_mean_and_variation(kernel_of: KernelOf) -> None:
    kernel = kernel_of("seasonal")
    purchase = kernel.journey.cluster.behavior.purchase
    state = State(1, 2, 0, 1, 0, 7, 3, 0, 0, 0, 0, 5)  # a client with a deal in hand, after the season
    reading = PlainDay(kernel.journey).fold.notation.read(state)
    held = reading.offer[0] if reading.offer else ""
    simulator = Simulator(kernel.journey, 200_000, 11)
    simulator.states[:] = state
    values = simulator.step(np.zeros(200_000, dtype=np.int64)).values
    values = values[values > 0.0].astype(np.float64)
    mean = purchase.value["client"] * purchase.value_with_offer[held]
    sigma = purchase.value_cv * mean
    assert abs(values.mean() - mean) < 4.5 * sigma / np.sqrt(len(values))
    logs = np.log(values)
    spread = np.log(1.0 + purchase.value_cv**2)
    # the logarithm is normal: its variance estimate has standard error σ² √(2/n)
    assert abs(logs.var() - spread) < 4.5 * spread * np.sqrt(2.0 / len(values))
    assert abs(logs.mean() - (np.log(mean) - spread / 2.0)) < 4.5 * np.sqrt(spread / len(values))
