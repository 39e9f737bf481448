"""One order of the day: what is sampled, planned with and believed is what `outcomes.py` lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from envs.day.day import NONE, OUT_OPT_OUT, OUT_PURCHASE, OUT_REDEMPTION, OUT_STAGE, ask, play_day, possible
from envs.day.fold import contacted
from envs.day.likelihood import day_chance, request_chance
from envs.day.masks import legal_bits
from envs.day.outcomes import MODELLED, day_chances, outcomes_of, room
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import COLUMN, State
from envs.personas.branches import event_branches
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.simulator import Simulator
from envs.solve.kernel import Kernel, build_kernel, start_distribution
from tests.core.states import expected_reward, index_of, legal_in, next_states, random_cells, state_at
from tests.core.worlds import VARIANTS, everything

KernelOf = Callable[[str], Kernel]
Cell = tuple[State, int]
ROUNDING = 1e-12
SAMPLED = 60  # days a cell of the sampler


def every_cell(kernel: Kernel) -> Iterator[Cell]:
    """All legal (state, action) of all reachable consent patterns."""
    for consent in kernel.consents.tolist():
        for index in range(kernel.states):
            state = state_at(kernel.journey, index, consent)
            for action in np.flatnonzero(legal_in(kernel.journey, state)).tolist():
                yield state, action


def listed(journey: Journey, state: State, action: int, persona: int = 0) -> tuple[Any, Any]:
    """Outcome rows (K, 7) and their chances (K,)."""
    packed, found = journey.packed[persona], room(MODELLED)
    likely = day_chances(packed.machine, packed.chance, state, action, found)
    count = outcomes_of(packed.machine, state, action, likely, found)
    return found.rows[:count], found.chance[:count]


def played(journey: Journey, state: State, action: int) -> tuple[dict[tuple[int, int], float], Any]:
    """Next (kernel index, consent) and expected reward: outcomes, `play_day`, requests."""
    law: dict[tuple[int, int], float] = {}
    packed, expected = journey.packed[0], np.zeros(len(COMPONENTS))
    value = day_chances(packed.machine, packed.chance, state, action, room(MODELLED)).value
    for row, p in zip(*listed(journey, state, action), strict=True):
        reward = np.zeros(len(COMPONENTS))
        closed = play_day(packed.machine, packed.price, state, action, row, value, reward)
        gone = closed.stage == journey.rules.churned
        for asked in [NONE] if gone else range(NONE, len(journey.scenario.channels)):
            q = p * (1.0 if gone else request_chance(packed.machine, packed.chance, closed, asked))
            full = reward.copy()
            after = ask(packed.machine, packed.price, closed, asked, full)
            key = index_of(journey, after), 0 if gone else int(after.consent)
            law[key] = law.get(key, 0.0) + q
            expected += q * full
    return {key: p for key, p in law.items() if p > 0.0}, expected


def agrees(kernel: Kernel, cells: Iterator[Cell]) -> int:
    """Hold the kernel's rows to the list; how many."""
    count = 0
    for state, action in cells:
        law, expected = played(kernel.journey, state, action)
        found: dict[tuple[int, int], float] = {}
        for (x, consent), p in next_states(kernel, state, action).items():
            key = x, consent if x < kernel.states else 0
            found[key] = found.get(key, 0.0) + p
        assert found == pytest.approx(law, abs=ROUNDING), (state, action)
        assert expected_reward(kernel, state, action) == pytest.approx(expected, abs=1e-10), (state, action)
        count += 1
    return count


def test_every_row_of_a_small_kernel_is_the_list_played(tiny_kernel: Kernel) -> None:
    assert agrees(tiny_kernel, every_cell(tiny_kernel)) > 1_000


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_rows_of_a_large_kernel_are_the_list_played(name: str, kernel_of: KernelOf) -> None:
    kernel = kernel_of(name)
    cells = random_cells(kernel.journey, kernel.consents, 150, np.random.default_rng(8))
    assert agrees(kernel, cells) == 150


def sampled(journey: Journey, cells: list[Cell], seed: int) -> Any:
    """(cells, SAMPLED, 7) outcomes of the simulator's days; of the first persona where there are several."""
    simulator = Simulator(journey, len(cells) * SAMPLED, seed)
    simulator.states[:] = np.repeat([state for state, _ in cells], SAMPLED, axis=0)
    bits = [int(legal_bits(journey.machine, state)) for state, _ in cells]
    simulator.legal[:] = np.repeat(bits, SAMPLED)
    simulator.persona[:] = 0
    days = simulator.step(np.repeat([action for _, action in cells], SAMPLED))
    return days.outcomes.reshape(len(cells), SAMPLED, -1).astype(np.int64)


def hold_samples(journey: Journey, cells: list[Cell], seed: int) -> Any:
    """Every sampled day is listed; (column,) standard errors between how often things happened and should."""
    excess, variance = np.zeros(OUT_STAGE + 1), np.zeros(OUT_STAGE + 1)
    for (state, action), days in zip(cells, sampled(journey, cells, seed), strict=True):
        rows, chances = listed(journey, state, action)
        known = {tuple(row[: OUT_STAGE + 1]): p for row, p in zip(rows.tolist(), chances, strict=True)}
        assert len(known) == len(rows), "outcomes are told apart"
        assert chances.sum() == pytest.approx(1.0, abs=ROUNDING)
        for day in days.tolist():
            assert known.get(tuple(day[: OUT_STAGE + 1]), 0.0) > 0.0, (state, action, day)
        p = ((rows[:, : OUT_STAGE + 1] >= 0) * chances[:, None]).sum(0)
        excess += (days[:, : OUT_STAGE + 1] >= 0).sum(0) - SAMPLED * p
        variance += SAMPLED * p * (1.0 - p)
    return excess / np.sqrt(np.maximum(variance, 1e-9))  # what never can happen never did


def test_a_sampled_day_is_listed_and_as_frequent_as_listed(tiny_kernel: Kernel) -> None:
    errors = hold_samples(tiny_kernel.journey, list(every_cell(tiny_kernel)), 3)
    assert np.abs(errors).max() < 4.5  # under 1e-4 for a correct sampler


def test_a_sampled_day_of_everything_is_listed_and_as_frequent_as_listed() -> None:
    journey = compile_journey(everything(), "plain")
    cells = random_cells(journey, np.arange(8), 1_500, np.random.default_rng(9))
    errors = hold_samples(journey, list(cells), 4)
    assert np.abs(errors).max() < 4.5


def test_a_beliefs_likelihood_is_the_listed_chance_less_what_types_share() -> None:
    journey, compared = compile_journey(everything(), "mixed"), 0
    for state, action in random_cells(journey, np.arange(8), 400, np.random.default_rng(10)):
        machine = journey.machine
        held = int(possible(machine, state, action)[3])
        kind = int(journey.rules.offer_kind[int(contacted(machine, state, action).offer)])
        for persona, packed in enumerate(journey.packed):
            redemption = float(journey.personas[persona].redemption[kind])
            for row, p in zip(*listed(journey, state, action, persona), strict=True):
                shared = 1.0
                if held >= 0 and row[OUT_PURCHASE] >= 0:
                    shared = redemption if row[OUT_REDEMPTION] >= 0 else 1.0 - redemption
                likelihood = day_chance(machine, packed.chance, state, action, row)
                assert shared * likelihood == pytest.approx(p, rel=ROUNDING, abs=1e-300)
                compared += row[OUT_OPT_OUT] >= 0
    assert compared > 1_000


def test_a_lapse_that_ends_the_journey_is_one_way_of_leaving_for_planner_and_belief(
    tiny: Scenario,
) -> None:
    body = tiny.model_dump(mode="json")
    behavior = body["clusters"][0]["behavior"]
    lapsing = [s["name"] for s in body["stages"][:-1]]
    for stage in body["stages"][:-1]:
        stage["lapse_to"] = body["stages"][-1]["name"]
    behavior["lapse"] = {"rate": dict.fromkeys(lapsing, 0.2)}
    body["clusters"][0]["personas"] = [{"name": n, "share": 0.5, "behavior": behavior} for n in ("a", "b")]
    journey = compile_journey(Scenario.model_validate(body), "keen")
    kernel = build_kernel(journey)
    branches = event_branches(journey, kernel)
    row = np.repeat(np.arange(len(branches.indptr) - 1), np.diff(branches.indptr))
    total = np.bincount(row, branches.chance[:, 0], minlength=len(branches.indptr) - 1)
    assert total[total > 0.0] == pytest.approx(1.0, abs=ROUNDING)
    left = np.bincount(row, branches.chance[:, 0] * (branches.to == kernel.states), minlength=len(total))
    exact = np.bincount(
        np.repeat(np.arange(len(total)), np.diff(kernel.indptr)),
        kernel.data * (kernel.indices == kernel.states),
    )
    assert left == pytest.approx(exact, abs=ROUNDING)


def test_a_simulated_journey_starts_where_the_solver_says_and_as_often(tiny_kernel: Kernel) -> None:
    journey, customers = tiny_kernel.journey, 4_000
    states = Simulator(journey, customers, 12).states.astype(np.int64)
    block = np.searchsorted(tiny_kernel.consents, np.arange(tiny_kernel.consents.max() + 1))
    at = block[states[:, COLUMN.consent]], states @ np.asarray(journey.rules.strides)
    often = np.zeros_like(start_distribution(tiny_kernel))
    np.add.at(often, at, 1.0)
    expected = customers * start_distribution(tiny_kernel)
    assert (often[expected == 0.0] == 0.0).all()
    can = expected > 0.0
    spread = np.sqrt(expected * (1.0 - expected / customers))[can]
    assert (np.abs(often - expected)[can] < 4.5 * spread).all()
