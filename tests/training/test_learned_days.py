"""Days are learned and planned with as the model would, and nothing but days is read."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from envs.compiled import plain
from envs.day.chances import (
    inbound_chance,
    move_thresholds,
    opt_out_chance,
    purchase_chance,
    resolution_chance,
    response_chance,
    response_index,
    response_row,
)
from envs.day.day import OUT_INBOUND, OUT_PURCHASE, OUT_STAGE, ask, play_day
from envs.day.states import GONE, StateRows, load_state
from envs.errors import LogError
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import COLUMN, State
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from envs.simulate.simulator import Simulator
from envs.solve.sweeps import q_values
from training.dynamics.branches import branches, joined
from training.dynamics.counts import Days, from_log, simulated
from training.dynamics.learning import everywhere
from training.dynamics.model import Chances, DayModel, fit_days
from training.dynamics.planning import Planner, masked
from training.judging.judge import bounds
from training.learner import Problem

MIXTURE = "business_rules:0.5+random_legal:0.5"


class Told:
    """A day model that is told the true chances instead of learning them."""

    def __init__(self, journey: Journey) -> None:
        self.journey, self.packed = journey, journey.packed[0]
        share = np.diff(journey.personas[0].inbound_channel, prepend=0.0)
        self.channels = [(int(c), float(share[c])) for c in np.flatnonzero(share > 0)]
        self.requests = [(c, None) for c, _ in self.channels]

    def _states(self, observations: Any) -> list[State]:
        """The states that these observations determine."""
        levels = np.zeros((len(observations), len(State._fields)), dtype=np.int64)
        for f, source in enumerate(self.journey.encoding.source.tolist()):
            if source < 0:
                bit = observations[:, f].astype(np.int64) << (-1 - source)
                levels[:, COLUMN.consent] += bit
            else:
                levels[:, source] = observations[:, f]
        return [State(*row) for row in levels.tolist()]

    def chances(self, rows: Any, observations: Any) -> Chances:
        """As `DayModel.chances`."""
        journey, rules, tables = self.journey, self.journey.rules, self.journey.personas[0]
        m, chance = self.packed.machine, self.packed.chance
        shape, stages = (len(observations), len(journey.actions)), int(rules.sizes[0]) + 1
        one, two = np.zeros(shape), np.zeros((*shape, 2))
        out = Chances(
            one, one.copy(), one.copy(), two, one.copy(), np.zeros((*two.shape, stages)), one.copy()
        )
        for n, state in enumerate(self._states(observations)):
            for a in range(shape[1]):
                level = state.offer
                if a > 0:
                    opened = int(rules.offer_on_contact[rules.action_touchpoint[a]])
                    level = opened or state.offer
                    out.opt_out[n, a] = opt_out_chance(m, chance, a, state.fatigue)
                    if state.inbox > 0:
                        asked = int(rules.inbox_channel[state.inbox])
                        out.resolution[n, a] = resolution_chance(m, chance, a, asked)
                offer = int(rules.offer_kind[level])
                j, k = response_index(m, state.stage, state.engagement, offer, state.fatigue, state.goodwill)
                row = response_row(m, state, a)
                out.response[n, a] = response_chance(m, chance, row, j)
                out.redemption[n, a] = tables.redemption[offer]
                out.value[n, a] = np.asarray(tables.value).ravel()[state.stage * tables.offers + offer]
                touchpoint = int(rules.action_touchpoint[row // tables.window]) if row >= 0 else -1
                for r, responded in enumerate((-1, touchpoint)):
                    out.purchase[n, a, r] = purchase_chance(m, chance, responded, k)
                    churn, advance, lapse = move_thresholds(m, chance, state, responded, k)
                    for target, share in (
                        (rules.churned, churn), (tables.advance_to[state.stage], advance - churn),
                        (tables.lapse_to[state.stage], lapse - advance),
                    ):  # fmt: skip
                        out.stage[n, a, r, target] += share if target >= 0 else 0.0
        return out

    def request_chances(self, observations: Any) -> Any:
        """As `DayModel.request_chances`."""
        m, chance = self.packed.machine, self.packed.chance
        hazard = np.array([inbound_chance(m, chance, state) for state in self._states(observations)])
        return hazard[:, None] * np.array([share for _, share in self.channels])


def told(problem: Problem) -> DayModel:
    return cast(DayModel, Told(problem.journey))


def planner(problem: Problem, model: DayModel, days: Days, charge: Any = None) -> Planner:
    return Planner(
        StateRows(problem.journey), model, problem.weights, problem.journey.scenario.discount,
        (days.starts, days.started), charge,
    )  # fmt: skip


def test_a_day_played_again_ends_as_it_was_sampled(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    machine, price = journey.scalar_machine, journey.packed[0].price
    simulator, random, bought = Simulator(journey, 80, 3), np.random.default_rng(0), 0
    for _ in range(40):
        before, legal = simulator.states.copy(), simulator.legal.copy()
        every = range(len(journey.actions))
        actions = np.array([random.choice([a for a in every if bits >> a & 1]) for bits in legal])
        result = simulator.step(actions)
        for i in np.flatnonzero(before[:, 0] != journey.rules.churned):
            reward, outcome = np.zeros(len(COMPONENTS)), result.outcomes[i].astype(np.int64)
            state, value = load_state.py_func(before[i]), float(result.values[i])
            closed = play_day(journey.machine, price, state, int(actions[i]), outcome, value, reward)
            after = ask(journey.machine, price, closed, int(outcome[OUT_INBOUND]), reward)
            assert after == load_state.py_func(simulator.states[i])
            np.testing.assert_allclose(reward, result.rewards[i], rtol=1e-5, atol=1e-5)
            scratch = [0.0] * len(COMPONENTS)
            by_hand = plain(play_day)(
                machine, price, state, int(actions[i]), outcome.tolist(), value, scratch
            )
            assert by_hand == closed
            bought += outcome[OUT_PURCHASE] > 0
    assert bought > 10


def test_a_state_is_found_again_by_its_row(keen: Problem, every_row: Any) -> None:
    space, simulator = StateRows(keen.journey), Simulator(keen.journey, 500, 2)
    for _ in range(25):
        rows = space.of(simulator.states)
        alive = rows != GONE
        np.testing.assert_array_equal(alive, simulator.states[:, 0] != keen.journey.rules.churned)
        observations, legal = space.describe(rows[alive])
        np.testing.assert_array_equal(observations, simulator.observations[alive])
        np.testing.assert_array_equal(legal @ (1 << np.arange(legal.shape[1])), simulator.legal[alive])
        simulator.step(np.zeros(500, dtype=np.int64))
    assert (~alive).any()
    observations, legal = space.describe(every_row)
    np.testing.assert_array_equal(observations, keen.observations)
    np.testing.assert_array_equal(legal, keen.legal)


def test_a_simulated_log_gives_the_same_days_from_its_file_as_from_memory(
    keen: Problem, tiny: Scenario, tmp_path: Path
) -> None:
    journey, path = keen.journey, tmp_path / "log.parquet"
    write_simulated_log(path, [(journey, deciders(MIXTURE)(journey))], Span(300, 25, 5), MIXTURE)
    file, memory = from_log(path, journey), simulated(journey, MIXTURE, customers=300, days=25, seed=5)
    assert len(file.row) > 500
    assert (file.outcome[:, OUT_STAGE] == journey.rules.churned).any()
    for name in ("row", "action", "outcome", "count", "starts", "started"):
        np.testing.assert_array_equal(getattr(file, name), getattr(memory, name), err_msg=name)
    np.testing.assert_allclose(file.value, memory.value, rtol=1e-4)
    assert file.variation == pytest.approx(memory.variation, rel=1e-3)


def test_a_logs_last_day_is_left_out(keen: Problem) -> None:
    short, long = (simulated(keen.journey, MIXTURE, 200, days, 1) for days in (12, 13))
    waits = simulated(keen.journey, "never", 200, 2, 1)
    assert waits.lived == 200, "one day of two"
    assert 0 < long.lived - short.lived <= 200


def test_a_log_of_one_day_is_refused(keen: Problem, tmp_path: Path) -> None:
    journey, path = keen.journey, tmp_path / "log.parquet"
    write_simulated_log(path, [(journey, deciders(MIXTURE)(journey))], Span(20, 1, 5), MIXTURE)
    with pytest.raises(LogError, match="no decision of this cluster"):
        from_log(path, journey)


def test_told_the_truth_the_learned_days_are_the_models(keen: Problem, every_row: Any) -> None:
    space = StateRows(keen.journey)
    days = branches(space, told(keen), keen.weights, every_row, keen.observations, keen.legal)
    zeros = np.zeros((keen.blocks, keen.kernel.states))

    def q(values: Any) -> Any:
        return np.concatenate([q_values(keen.kernel, values, keen.weights, m) for m in range(keen.blocks)])

    legal = keen.legal
    np.testing.assert_allclose(days.rewards[legal], q(zeros)[legal], atol=1e-9)
    values = dict(zip(every_row.tolist(), keen.solution.values.ravel().tolist(), strict=True))
    ahead = days.chances @ np.array([values[row] for row in days.to.tolist()])
    ours = days.rewards + keen.journey.scenario.discount * ahead.reshape(legal.shape)
    np.testing.assert_allclose(ours[legal], q(keen.solution.values)[legal], atol=1e-8)


def test_days_enumerated_in_parts_are_those_enumerated_at_once(keen: Problem, every_row: Any) -> None:
    space = StateRows(keen.journey)

    def some(part: slice) -> Any:
        return branches(
            space, told(keen), keen.weights, every_row[part], keen.observations[part], keen.legal[part]
        )

    whole, parts = some(slice(None)), joined([some(slice(0, 70)), some(slice(70, None))])
    np.testing.assert_array_equal(parts.to, whole.to)
    np.testing.assert_allclose(parts.rewards, whole.rewards, atol=1e-12)
    assert abs(parts.chances - whole.chances).max() < 1e-12


def test_told_the_truth_the_plan_is_the_optimum_wherever_it_comes(keen: Problem, every_row: Any) -> None:
    starts = np.unique(StateRows(keen.journey).of(Simulator(keen.journey, 2_000, 0).states))
    none, nothing = np.zeros(0, np.int64), np.zeros(0)
    begun = Days(none, none, none, nothing, nothing, 1.0, starts, np.ones(len(starts)))
    plan = planner(keen, told(keen), begun).plan(starts)
    assert len(plan.rows) > 3 * len(starts)
    place = np.searchsorted(every_row, plan.rows)
    often = plan.visits > 1e-3 * plan.visits.max()
    np.testing.assert_allclose(
        plan.q.max(axis=1)[often], keen.solution.values.ravel()[place][often], rtol=1e-3
    )
    score = bounds(keen).score(keen.value_of(everywhere(keen, plan)))
    assert score == pytest.approx(1.0, abs=1e-4)


def test_whatever_is_said_of_illegal_actions_changes_no_bit_of_a_plan(keen: Problem, log: Days) -> None:
    model = fit_days(keen.journey, log)

    def lie(absurd: float) -> Callable[[Any, Any, Any], Any]:
        return lambda observations, legal, rewards: np.where(legal, 0.0, absurd)

    honest = planner(keen, model, log, lie(0.0)).plan(np.unique(log.row))
    for absurd in (-1e6, -np.inf, np.nan):
        lied = planner(keen, model, log, lie(absurd)).plan(np.unique(log.row))
        np.testing.assert_array_equal(lied.actions, honest.actions)
        np.testing.assert_array_equal(lied.q, honest.q)
    assert honest.legal[np.arange(len(honest.rows)), honest.actions].all()
    assert (masked(np.full((2, 2), 1e6), np.array([[True, False], [False, True]])) == 1e6).sum() == 2


def test_a_plan_comes_from_the_days_whatever_the_scenario_says_of_chances(keen: Problem, log: Days) -> None:
    journey = keen.journey
    wrong = journey.packed[0]._replace(chance=np.full_like(journey.packed[0].chance, 0.5))
    other = copy(journey)
    other.__dict__["packed"] = (wrong,)
    assert other.packed[0].chance.max() == 0.5
    plans = []
    for known in (journey, other):
        problem = Problem(known, "lifetime_value", 0)
        plan = planner(problem, fit_days(known, log), log).plan(np.unique(log.row))
        plans.append(plan)
    for field in fields(plans[0]):
        np.testing.assert_array_equal(getattr(plans[0], field.name), getattr(plans[1], field.name))
