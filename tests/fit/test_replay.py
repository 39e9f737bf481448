"""The compiled fold of a whole log against the scalar fold of one customer at a time."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.files.log import log_of
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.actions import actions_of
from envs.scenario.events import Event
from envs.scenario.schema import Memory, Scenario
from envs.timeline.columns import day_number, number_events
from envs.timeline.customer import Fold, order
from envs.timeline.replay import Plan, Replay, plan_of, replay

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
BERLIN = "Europe/Berlin"


def random_events(scenario: Scenario, rng: Any, customers: int, events: int) -> list[Event]:
    """Any events at any times in any order: a log nobody tidied, over a change of summer time."""
    start = dt.datetime(2026, 3, 20, tzinfo=dt.UTC)
    kinds = ["contact", "response", "opt_out", "opt_in", "resolution", "purchase", "redemption", "stage",
             "inbound", "survey", "decision"]  # fmt: skip
    actions = [a for a in actions_of(scenario) if not a.is_wait]
    out = []
    for n in range(events):
        kind = str(rng.choice(kinds))
        action = actions[rng.integers(len(actions))]
        named = kind in ("contact", "response", "redemption", "decision")
        touchpoint: str | None = action.touchpoint if named and rng.random() < 0.9 else None
        channel = action.channel if named else str(rng.choice([c.name for c in scenario.channels]))
        outcome = None
        if kind == "stage":
            outcome = scenario.stages[rng.choice(len(scenario.stages), p=_mostly_alive(scenario))].name
        if kind == "survey":
            outcome = str(rng.integers(-1, 6))
        out.append(
            Event(
                event_id=f"e{rng.integers(10**9)}-{n}",
                customer_id=f"c{rng.integers(customers)}",
                # whole hours give ties in time
                occurred_at=start + dt.timedelta(hours=int(rng.integers(0, 24 * 25))),
                kind=kind,
                channel=channel,
                touchpoint=touchpoint,
                outcome=outcome,
                value=1.0 if kind == "purchase" else None,
            )
        )
    return out


def _mostly_alive(scenario: Scenario) -> Any:
    weights = np.ones(len(scenario.stages))
    weights[-1] = 0.3
    return weights / weights.sum()


def replayed(scenario: Scenario, events: list[Event], **plan: Any) -> tuple[list[str], Replay]:
    columns = number_events(log_of(events), scenario)
    stated = plan_of(columns, plan.get("at", dt.time(9)), None, None, plan.get("everybody", False))
    (block,) = replay(columns, scenario, stated)
    return columns.customers.to_pylist(), block


@pytest.mark.parametrize("name", ["tiny", "omnichannel_retail"])
@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_fold_of_any_log_ends_in_the_state_of_the_scalar_fold(name: str, seed: int) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml")
    scenario = scenario.model_copy(update={"timezone": BERLIN})
    events = random_events(scenario, np.random.default_rng(seed), 30, 900)
    customers, block = replayed(scenario, events)
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    for position, customer in enumerate(customers):
        live = fold.run(e for e in events if e.customer_id == customer)
        assert live is not None
        assert tuple(block.final[position].tolist()) == tuple(live.state), customer


@pytest.mark.parametrize("name", ["tiny", "omnichannel_retail"])
def test_the_state_of_a_row_is_the_scalar_fold_of_what_happened_before_its_decision(name: str) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml").model_copy(update={"timezone": BERLIN})
    events = random_events(scenario, np.random.default_rng(7), 12, 500)
    customers, block = replayed(scenario, events)
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    rows = block.rows
    at = dt.time(9)
    checked = 0
    for position, customer in enumerate(customers):
        mine = sorted((e for e in events if e.customer_id == customer), key=order)
        for n in np.flatnonzero((rows.customer == position) & (rows.primary == 1)).tolist():
            date = dt.date(1970, 1, 1) + dt.timedelta(days=int(rows.day[n]))
            today = [e for e in mine if fold.local_date(e.occurred_at) == date]
            decisions = [e for e in today if e.kind == "decision"]
            ours = [e for e in today if e.kind == "contact" and e.touchpoint]
            cut = next(iter(decisions or ours), None)
            moment = dt.datetime.combine(date, at, fold.zone)
            before = [
                e
                for e in mine
                if fold.local_date(e.occurred_at) < date
                or (e in today and (order(e) < order(cut) if cut else e.occurred_at < moment))
            ]
            live = fold.run(before)
            live = fold.start(date) if live is None else fold.to_date(live, date)
            assert tuple(rows.state[n].tolist()) == tuple(live.state), (customer, date)
            checked += 1
    assert checked > 100


def test_the_days_before_a_season_do_not_count_as_its_days() -> None:
    scenario = load_scenario(SCENARIOS / "tiny.yaml")
    season = {"every": "calendar", "season_start": "2026-03-29", "season_days": 9, "days": [0, 3]}
    memory = Memory.model_validate(scenario.memory.model_dump() | {"opportunities": season})
    scenario = scenario.model_copy(update={"memory": memory, "timezone": BERLIN})
    events = random_events(scenario, np.random.default_rng(2), 20, 400)
    customers, block = replayed(scenario, events)
    start = day_number(dt.date(2026, 3, 29))
    expected = np.clip(block.rows.day - start, 0, 9)
    assert (block.rows.day < start).any()
    np.testing.assert_array_equal(block.rows.state[:, 11], expected)
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    for position, customer in enumerate(customers):
        live = fold.run(e for e in events if e.customer_id == customer)
        assert live is not None
        assert tuple(block.final[position].tolist()) == tuple(live.state), customer


def test_a_day_is_cut_at_its_decision_and_what_comes_before_the_next_one_is_its_outcome() -> None:
    scenario = load_scenario(SCENARIOS / "tiny.yaml")
    action = next(a for a in actions_of(scenario) if not a.is_wait and not a.service)
    stage = scenario.stages[0].name

    def event(kind: str, day: int, hour: int, **fields: Any) -> Event:
        moment = dt.datetime(2026, 1, day, hour, tzinfo=dt.UTC)
        return Event(f"{kind}-{day}-{hour}", "c", moment, kind, **fields)

    both = {"touchpoint": action.touchpoint, "channel": action.channel}
    _, block = replayed(
        scenario,
        [
            event("stage", 1, 0, outcome=stage),
            event("opt_in", 1, 0, channel=action.channel),
            event("decision", 1, 10, propensity=0.25, **both),
            event("contact", 1, 11, **both),
            event("response", 2, 7, **both),  # before the next decision
            event("purchase", 2, 10, value=12.5),
            event("decision", 3, 9, propensity=0.5),
        ],
    )
    rows = block.rows
    assert (rows.day - day_number(dt.date(2026, 1, 1))).tolist() == [0, 1, 2]
    assert rows.propensity[[0, 2]].tolist() == [0.25, 0.5]
    assert rows.assigned.tolist() == [actions_of(scenario).index(action), -1, 0]
    assert rows.action.tolist() == [actions_of(scenario).index(action), 0, 0]
    assert rows.answered.tolist() == [1, 0, 0]
    assert rows.purchases.tolist() == [0, 1, 0]
    assert rows.value.tolist() == [0.0, 12.5, 0.0]


def test_a_customer_who_left_has_no_more_rows() -> None:
    scenario = load_scenario(SCENARIOS / "tiny.yaml")
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    gone = scenario.stages[-1].name
    events = [
        Event("a", "c", start, "stage", outcome=scenario.stages[0].name),
        Event("b", "c", start + dt.timedelta(days=2, hours=10), "stage", outcome=gone),
        Event("z", "d", start + dt.timedelta(days=9, hours=10), "stage", outcome=scenario.stages[0].name),
    ]
    customers, block = replayed(scenario, events)
    mine = block.rows.customer == customers.index("c")
    assert int(mine.sum()) == 3
    assert block.rows.move[mine].tolist() == [0, 0, 1]


def test_blocks_of_any_size_give_the_same_rows() -> None:
    scenario = load_scenario(SCENARIOS / "omnichannel_retail.yaml")
    columns = number_events(log_of(random_events(scenario, np.random.default_rng(3), 40, 800)), scenario)
    plan = Plan(9 * 3600, int(columns.day.min()), int(columns.day.max()), True)
    (whole,) = replay(columns, scenario, plan)
    parts = list(replay(columns, scenario, plan, block_rows=50))
    assert len(parts) > 5
    for position in range(len(whole.rows)):
        together = np.concatenate([part.rows[position] for part in parts])
        np.testing.assert_array_equal(whole.rows[position], together)
