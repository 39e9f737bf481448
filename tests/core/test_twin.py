"""The simulator against its slow twin: the same draws, judged in words, must give the same days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.day.day import OUT_INBOUND, OUT_PURCHASE, OUT_REDEMPTION, OUT_RESPONSE, OUT_STAGE
from envs.day.masks import unpack
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import State
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.simulator import Simulator
from tests.core.plain_day import Draws, PlainDay, started
from tests.core.worlds import VARIANTS, everything

CUSTOMERS, DAYS, SEED = 60, 25, 20261122
# rewards are float32 sums of at most a dozen terms
REWARD_ERROR = 12 * float(np.finfo(np.float32).eps)


def any_legal(legal: Any, rng: np.random.Generator, actions: int) -> Any:
    """(N,) a uniformly drawn legal action each."""
    keys = np.where(unpack(legal, actions), rng.random((len(legal), actions)), -1.0)
    return keys.argmax(1)


def days_of(journey: Journey) -> list[PlainDay]:
    """The judge of each persona."""
    return [PlainDay(journey, p.behavior) for p in journey.cluster.personas] or [PlainDay(journey)]


def happened(row: Any, scenario: Scenario) -> set[str]:
    """A row of outcomes in the judge's words."""
    touchpoints = [t.name for t in scenario.touchpoints]
    out = {"purchase"} if row[OUT_PURCHASE] == 1 else set()
    if row[OUT_RESPONSE] >= 0:
        out.add(f"response {touchpoints[row[OUT_RESPONSE]]}")
    if row[OUT_REDEMPTION] >= 0:
        out.add(f"redemption {touchpoints[row[OUT_REDEMPTION]]}")
    if row[OUT_STAGE] >= 0:
        out.add(f"stage {scenario.stages[row[OUT_STAGE]].name}")
    if row[OUT_INBOUND] >= 0:
        out.add(f"inbound {scenario.channels[row[OUT_INBOUND]].name}")
    return (
        out
        | ({"resolution"} if row[2] >= 0 else set())
        | ({f"opt_out {scenario.channels[row[1]].name}"} if row[1] >= 0 else set())
    )


@pytest.mark.parametrize(
    ("name", "cluster"),
    [("everything", "plain"), ("everything", "mixed"), ("capped", "plain"), ("gapped", "plain"),
     ("seasonal", "plain"), ("tiny", "keen"), ("tiny", "wary")],
)  # fmt: skip
def test_a_simulated_day_is_the_day_of_the_slow_twin(name: str, cluster: str, tiny: Scenario) -> None:
    scenario = {"everything": everything, "tiny": lambda: tiny, **VARIANTS}[name]()
    journey = compile_journey(scenario, cluster)
    judges, rng = days_of(journey), np.random.default_rng(SEED)
    notation, encoding = judges[0].fold.notation, journey.encoding
    simulator = Simulator(journey, CUSTOMERS, SEED, first_customer=1000)
    where = [started(judges[0], journey, SEED, 1000 + i) for i in range(CUSTOMERS)]
    for i, (x, persona) in enumerate(where):
        assert State(*simulator.states[i].tolist()) == notation.write(x)
        assert simulator.persona[i] == persona
    for day in range(DAYS):
        actions = any_legal(simulator.legal, rng, len(journey.actions))
        outcomes = simulator.step(actions)
        for i, (x, persona) in enumerate(where):
            if x.stage == judges[0].fold.gone:  # time goes on for a contact's age and the calendar
                where[i] = judges[persona].fold.close(x), persona
                assert State(*simulator.states[i].tolist()) == notation.write(where[i][0])
                continue
            judge = judges[persona]
            lived = judge.day(x, judge.actions[actions[i]], Draws(SEED, 1000 + i, day))
            where[i] = lived.after, persona
            state = notation.write(lived.after)
            assert State(*simulator.states[i].tolist()) == state
            assert (simulator.observations[i] == encoding.encode(state, simulator.beliefs[i])).all()
            assert happened(outcomes.outcomes[i], scenario) == set(lived.happened)
            allowed = [judge.fold.legal(lived.after, action) for action in judge.actions]
            assert unpack(simulator.legal[i], len(judge.actions)).tolist() == allowed
            assert outcomes.values[i] == pytest.approx(lived.value, rel=1e-6)
            reward = [lived.reward[component] for component in COMPONENTS]
            assert outcomes.rewards[i] == pytest.approx(reward, rel=1e-6, abs=REWARD_ERROR * 10)
            assert bool(outcomes.churned[i]) == (lived.after.stage == judge.fold.gone)


def test_a_churned_customer_stays_and_earns_nothing(tiny: Scenario) -> None:
    simulator = Simulator(compile_journey(tiny, "wary"), 400, 5)
    earlier = np.zeros(400, dtype=bool)
    for _ in range(60):
        before = simulator.states.copy()
        outcomes = simulator.step(np.zeros(400, dtype=np.int64))
        assert (simulator.states[earlier] == before[earlier]).all()
        assert (outcomes.rewards[earlier] == 0.0).all()
        assert (simulator.legal[outcomes.churned] == 1).all()
        earlier = outcomes.churned.copy()
    # churn is at least 1.9 % a day for prospects: (1 − 0.0196)^60 < 0.31
    assert earlier.sum() > 200


def test_an_illegal_action_is_refused(tiny: Scenario) -> None:
    simulator = Simulator(compile_journey(tiny, "keen"), 8, 1)
    reply = [a.service for a in simulator.journey.actions].index(True)
    with pytest.raises(ValueError, match="8 illegal actions"):
        simulator.step(np.full(8, reply))
