"""From the rates people write to event probabilities, checked by hand, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
from envs.journey.journey import Journey, compile_journey
from envs.journey.logits import from_behavior, to_behavior
from envs.journey.state import State
from envs.journey.tables import tabulate
from envs.scenario.schema import Scenario
from tests.core.worlds import everything

# tiny: 0 wait, 1 inform:email, 2 offer:email, 3 offer:phone, 4 reply:email, 5 reply:phone
PROSPECT = State(0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def keen(tiny: Scenario) -> Journey:
    """The cluster whose numbers stand in the file's defaults."""
    return compile_journey(tiny, "keen")


def plain(function: Any) -> Any:
    """The uncompiled function."""
    return function.py_func


def response(journey: Journey, state: State, action: int) -> float:
    """P(response) of an action in a state."""
    m, chance = journey.scalar_machine, journey.packed[0].chance
    j, _ = plain(response_index)(m, state.stage, state.engagement, 0, state.fatigue, state.goodwill)
    return float(plain(response_chance)(m, chance, plain(response_row)(m, state, action), j))


@pytest.mark.parametrize(
    ("changes", "action", "odds"),
    [
        ({}, 1, 0.1 / 0.9),
        ({}, 2, 0.1 / 0.9 * 2.0),
        ({}, 3, 0.25 / 0.75 * 2.0),
        ({"stage": 1}, 3, 0.25 / 0.75 * 0.8),
        ({"engagement": 2}, 1, 0.1 / 0.9 * 1.5**2),
        ({"fatigue": 3}, 1, 0.1 / 0.9 * 0.6**3),
        ({"goodwill": 0}, 1, 0.1 / 0.9 / 1.2),
        ({"inbox": 1}, 5, 0.0),
        ({}, 0, 0.0),
    ],
)
def test_a_response_rate_is_multiplied_in_odds(
    changes: dict[str, int], action: int, odds: float, keen: Journey
) -> None:
    assert response(keen, PROSPECT._replace(**changes), action) == pytest.approx(odds / (1 + odds), rel=1e-12)


def test_the_other_events_by_hand(keen: Journey) -> None:
    m, chance = keen.scalar_machine, keen.packed[0].chance
    assert plain(opt_out_chance)(m, chance, 1, 0) == pytest.approx(0.01)
    tired = 0.02 / 0.98 * 1.5**2
    assert plain(opt_out_chance)(m, chance, 3, 2) == pytest.approx(tired / (1 + tired))
    reply = 0.02 / 0.98 * 0.1
    assert plain(opt_out_chance)(m, chance, 5, 0) == pytest.approx(reply / (1 + reply))
    assert plain(resolution_chance)(m, chance, 5, 1) == pytest.approx(0.8)
    other = 0.5 / 0.5 * 0.8  # a phone request answered by e-mail
    assert plain(resolution_chance)(m, chance, 4, 1) == pytest.approx(other / (1 + other))
    _, k = plain(response_index)(m, 0, 0, 0, 0, 1)
    assert plain(purchase_chance)(m, chance, -1, k) == pytest.approx(0.01)
    lifted = 0.01 / 0.99 * 8.0
    assert plain(purchase_chance)(m, chance, 1, k) == pytest.approx(lifted / (1 + lifted))
    churn, advance, lapse = plain(move_thresholds)(m, chance, PROSPECT, -1, k)
    assert churn == pytest.approx(0.02)
    assert advance == pytest.approx(0.02 + 0.98 * 0.01)
    assert lapse == advance, "prospects have nowhere to lapse to"
    assert plain(inbound_chance)(m, chance, PROSPECT._replace(stage=1)) == pytest.approx(0.05)
    repeat = 0.05 / 0.95 * 2.0 / 0.7
    waiting = PROSPECT._replace(stage=1, inbox=1, goodwill=0)
    assert plain(inbound_chance)(m, chance, waiting) == pytest.approx(repeat / (1 + repeat))


@pytest.mark.parametrize("cluster", ["plain", "mixed"])
def test_a_behaviour_survives_the_way_to_logits_and_back(cluster: str) -> None:
    scenario = everything()
    journey = compile_journey(scenario, cluster)
    behaviors = [p.behavior for p in journey.cluster.personas] or [journey.cluster.behavior]
    for behavior, tables in zip(behaviors, journey.personas, strict=True):
        parameters = from_behavior(behavior, scenario, journey.rules)
        again = from_behavior(to_behavior(parameters, scenario, journey.rules), scenario, journey.rules)
        back = tabulate(again, scenario, journey.rules)
        for name, table in tables._asdict().items():
            assert np.allclose(table, getattr(back, name), rtol=1e-12, atol=1e-15), name


def test_every_table_holds_probabilities() -> None:
    journey = compile_journey(everything(), "mixed")
    for tables in journey.personas:
        for name in ("response", "opt_out", "resolution", "purchase", "redemption", "churn", "advance"):
            table = np.asarray(getattr(tables, name))
            assert ((table >= 0.0) & (table <= 1.0)).all(), name
        assert tables.inbound_channel[-1] == pytest.approx(1.0)
