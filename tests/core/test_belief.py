"""The belief over hidden types: Bayes' rule, kept away from certainty, the same bits in both forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.compiled import plain
from envs.day.day import ask, play_day
from envs.day.likelihood import FLOOR, after_close, after_day
from envs.day.masks import unpack
from envs.day.states import load_state
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import State
from envs.scenario.events import Kind
from envs.scenario.schema import Scenario
from envs.simulate.simulator import Simulator
from envs.timeline.believer import Believer
from tests.core.worlds import everything

CUSTOMERS, DAYS = 4_000, 40


@pytest.fixture(scope="module")
def mixed() -> Journey:
    """A cluster of two hidden types, with every kind of memory."""
    return compile_journey(everything(), "mixed")


def any_legal(simulator: Simulator, rng: Any) -> Any:
    """(N,) legal actions, uniformly drawn."""
    legal = unpack(simulator.legal, len(simulator.journey.actions))
    return (rng.random(legal.shape) * legal).argmax(axis=1)


def played(journey: Journey, days: int = DAYS) -> Simulator:
    """A population after some days of random legal actions."""
    simulator, rng = Simulator(journey, CUSTOMERS, 3), np.random.default_rng(7)
    for _ in range(days):
        simulator.step(any_legal(simulator, rng))
    return simulator


def test_a_belief_of_one_in_three_is_right_one_time_in_three(mixed: Journey) -> None:
    """Beliefs by Bayes' rule with the true chances are calibrated, whatever the policy."""
    simulator = played(mixed)
    belief, truth = simulator.beliefs[:, 0], simulator.persona == 0
    for low, high in ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.8), (0.8, 1.0)):
        who = (belief >= low) & (belief < high)
        assert who.sum() > 50
        spread = np.sqrt((belief[who] * (1.0 - belief[who])).sum())
        # 4 standard errors in each of five groups: one false alarm in 3,000
        assert abs((truth[who] - belief[who]).sum()) < 4.0 * spread
    assert belief[truth].mean() - belief[~truth].mean() > 0.3  # and they have learnt something


def test_plain_python_gives_the_bits_of_compiled_code(mixed: Journey) -> None:
    simulator, rng = Simulator(mixed, 60, 5), np.random.default_rng(1)
    machine, compared = mixed.scalar_machine, 0
    chances = tuple(tuple(packed.chance.tolist()) for packed in mixed.packed)
    price = tuple(mixed.packed[0].price.tolist())
    for _ in range(30):
        before, believed = simulator.states.copy(), simulator.beliefs.copy()
        actions = any_legal(simulator, rng)
        outcomes = simulator.step(actions).outcomes
        for i in range(60):
            state, outcome, belief = State(*before[i].tolist()), outcomes[i].tolist(), believed[i].tolist()
            action = int(actions[i])
            plain(after_day)(machine, chances, state, action, outcome, belief, [0.0, 0.0])
            closed = plain(play_day)(machine, price, state, action, outcome, 0.0, [0.0] * 9)
            plain(after_close)(machine, chances, closed, outcome, belief, [0.0, 0.0])
            assert belief == simulator.beliefs[i].tolist()
            if state.stage != mixed.rules.churned:
                asked = outcome[6]
                after = plain(ask)(machine, price, closed, asked, [0.0] * 9)
                assert after == load_state(simulator.states[i])
                compared += 1
    assert compared > 500


def test_nobody_is_ever_certain_and_the_observation_ends_with_the_belief(mixed: Journey) -> None:
    simulator = played(mixed, days=200)
    assert np.isfinite(simulator.beliefs).all()
    assert simulator.beliefs.min() >= FLOOR / 2
    assert simulator.beliefs.max() <= 1.0 - FLOOR / 2
    np.testing.assert_allclose(simulator.beliefs.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    seen = simulator.observations[:, -2:]
    assert (seen == simulator.beliefs.astype(np.float32)).all()
    assert seen.min() > 0.0
    assert seen.max() < 1.0
    assert mixed.encoding.names[-2:] == ("belief_eager", "belief_weary")
    simulator.reset(np.array([3]), np.array([9_999]))
    assert simulator.beliefs[3].tolist() == mixed.shares.tolist()


def test_what_one_type_never_does_leaves_the_other_and_what_none_does_teaches_nothing(
    tiny: Scenario,
) -> None:
    """A purchase by somebody of whom one type never buys; then by somebody of whom none does."""
    journey = of_two_buyers(tiny, 0.0, 0.2)
    believer = Believer(journey)
    start = State(0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0)
    bought = believer.hear(believer.start(), start, Kind.PURCHASE, -1, -1, -1)
    closed = believer.close(bought, start, start)
    assert closed.belief == pytest.approx((FLOOR, 1.0), abs=2 * FLOOR)
    assert min(closed.belief) > 0.0
    silent = Believer(of_two_buyers(tiny, 0.0, 0.0))
    bought = silent.hear(silent.start(), start, Kind.PURCHASE, -1, -1, -1)
    assert silent.close(bought, start, start).belief == (0.5, 0.5)


def test_where_a_journey_starts_teaches_nothing_but_a_later_stage_does(mixed: Journey) -> None:
    believer = Believer(mixed)
    state = State(0, 0, 0, mixed.rules.goodwill_neutral, 0, 7, 0, 0, 0, 0, mixed.rules.gap_days, 0)
    started = believer.start()
    told = believer.hear(started, state, Kind.STAGE, -1, -1, 1)
    assert told.outcome == started.outcome
    assert told.before is None
    second = believer.close(told, state, state)
    tired = state._replace(fatigue=2)
    gone = believer.hear(second, tired, Kind.STAGE, -1, -1, mixed.rules.churned)
    stayed = believer.close(second, tired, tired).belief
    left = believer.close(gone, tired, tired).belief
    assert left[1] > stayed[1]  # the weary leave when tired


def test_clusters_without_hidden_types_observe_what_they_always_did(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    assert journey.encoding.beliefs == ()
    assert journey.encoding.names == journey.encoding.levels
    simulator = Simulator(journey, 8, 0)
    assert simulator.beliefs.shape == (8, 0)
    assert simulator.observations.shape[1] == len(journey.encoding.sizes) == len(journey.encoding.source)


def of_two_buyers(tiny: Scenario, first: float, second: float) -> Journey:
    """A cluster of two equal types that differ in how often prospects buy."""
    body = tiny.model_dump(mode="json")
    personas = []
    for name, rate in (("a", first), ("b", second)):
        purchase = body["clusters"][0]["behavior"]["purchase"] | {"rate": {"prospect": rate, "customer": 0.1}}
        behavior = body["clusters"][0]["behavior"] | {"purchase": purchase}
        personas.append({"name": name, "share": 0.5, "behavior": behavior})
    body["clusters"][0]["personas"] = personas
    return compile_journey(Scenario.model_validate(body), "keen")
