"""A simulated log says exactly what the simulator did, in the events of the contract."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from envs.day.masks import legal_bits, unpack
from envs.day.states import load_state
from envs.errors import UserError
from envs.files.log import events_of, read_log
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import State
from envs.policy.policy import load_bundle, serving_probabilities
from envs.scenario.schema import Scenario
from envs.simulate.logging_policy import deciders
from envs.simulate.simulator import Simulator
from envs.timeline.columns import number_events
from envs.timeline.customer import Fold
from envs.timeline.replay import plan_of, replay
from tests.fit.conftest import MIXTURE, SimulatedLog, simulate
from tests.serving.planned import write_planned_bundle

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


@pytest.mark.parametrize("name", ["tiny", "omnichannel_retail", "subscription_telecom"])
def test_replaying_the_log_gives_the_simulators_states_day_by_day(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml")
    log = simulate(scenario, tmp_path, 60, 40)
    columns = number_events(read_log(log.path), scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    rows = block.rows
    for number, cluster in enumerate(scenario.clusters):
        journey = compile_journey(scenario, cluster.name)
        simulator = Simulator(journey, 60, log.span.seed, number * 60)
        place = {c: i for i, c in enumerate(columns.customers.to_pylist())}
        mine = [place[f"{cluster.name}-{c}"] for c in simulator.customers.tolist()]
        for day in range(40):
            today = rows.day == int(columns.day.min()) + day
            at = {int(rows.customer[n]): n for n in np.flatnonzero(today & (rows.primary == 1))}
            actions = np.zeros(60, np.int64)
            for i, customer in enumerate(mine):
                living = simulator.states[i, 0] != journey.rules.churned
                assert (customer in at) == living
                if living:
                    n = at[customer]
                    assert rows.state[n].tolist() == simulator.states[i].tolist()
                    assert rows.action[n] == rows.assigned[n]
                    actions[i] = rows.action[n]
            result = simulator.step(actions)
            for i, customer in enumerate(mine):
                if customer in at:
                    n = at[customer]
                    assert rows.purchases[n] == (result.outcomes[i, 3] >= 0)
                    assert rows.inbound[n] == result.outcomes[i, 6]
                    assert rows.answered[n] == (result.outcomes[i, 0] >= 0)
    assert not any(block.faults[name] for name in list(block.faults)[:5]), block.faults


def test_the_scalar_fold_of_the_log_agrees(tiny_log: SimulatedLog) -> None:
    scenario = tiny_log.truth
    table = read_log(tiny_log.path)
    names = table["customer_id"].cast("string")
    few = pc.is_in(names, value_set=pc.unique(names)[:25])
    table = table.filter(few)
    columns = number_events(table, scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    events = list(events_of(table))
    for position, customer in enumerate(columns.customers.to_pylist()):
        live = fold.run(e for e in events if e.customer_id == customer)
        assert live is not None
        assert tuple(block.final[position].tolist()) == tuple(live.state)


def test_propensities_are_those_of_the_mixture_that_decided(tiny_log: SimulatedLog) -> None:
    scenario = tiny_log.truth
    columns = number_events(read_log(tiny_log.path), scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    rows, names = block.rows, columns.customers.to_pylist()
    rng = np.random.default_rng(0)
    for cluster in scenario.clusters:
        journey = compile_journey(scenario, cluster.name)
        decide = deciders(MIXTURE)(journey)
        mine = [
            n
            for n in rng.integers(len(rows.day), size=4_000)
            if names[rows.customer[n]].startswith(cluster.name)
        ]
        states = rows.state[mine]
        legal = np.array([_legal(journey, state) for state in states])
        probabilities = decide(states, np.zeros((len(mine), 0)), legal)  # these read no observation
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        stated = probabilities[np.arange(len(mine)), rows.assigned[mine]]
        np.testing.assert_allclose(rows.propensity[mine], stated, rtol=1e-6)
        # inverse propensities average to 1 for every action that is legal: Horvitz and Thompson, 1952
        for action in range(len(journey.actions)):
            offered = legal >> action & 1 == 1
            weight = np.where(rows.assigned[mine] == action, 1 / rows.propensity[mine], 0.0)[offered]
            if len(weight) > 200:
                assert abs(weight.mean() - 1) <= 4.5 * weight.std() / np.sqrt(len(weight))


def _legal(journey: Journey, state: Any) -> int:
    return int(legal_bits(journey.machine, load_state(state)))


def test_a_decision_states_what_was_eligible_and_its_contact_carries_its_id(tiny_log: SimulatedLog) -> None:
    table = read_log(tiny_log.path).slice(0, 5_000).to_pylist()
    decisions = {row["decision_id"]: row for row in table if row["kind"] == "decision"}
    contacts = [row for row in table if row["kind"] == "contact"]
    assert contacts
    for row in contacts:
        decision = decisions[row["decision_id"]]
        key = f"{row['touchpoint']}:{row['channel']}"
        assert key in decision["eligible"].split("|")
        assert (decision["touchpoint"], decision["channel"]) == (row["touchpoint"], row["channel"])
    assert all("wait" in row["eligible"].split("|") for row in decisions.values())
    assert len({row["event_id"] for row in table}) == len(table)


def test_customers_come_with_their_cluster(tiny_log: SimulatedLog) -> None:
    table = pq.read_table(tiny_log.path.with_name("log.customers.parquet"))
    column = tiny_log.truth.assignment.column or "cluster"
    assert table.num_rows == tiny_log.span.customers * len(tiny_log.truth.clusters)
    assert set(table[column].to_pylist()) == {c.name for c in tiny_log.truth.clusters}


def test_the_same_seed_writes_the_same_log(tiny: Scenario, tmp_path: Path) -> None:
    logs = []
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        logs.append(read_log(simulate(tiny, tmp_path / part, 30, 10, seed=9).path))
    assert logs[0].equals(logs[1])


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("busines_rules", "did you mean 'business_rules'"),
        ("business_rules:0.7+random_legal:0.4", "do not sum to 1"),
        ("business_rules:much+random_legal:0.4", "not a weight"),
    ],
)
def test_a_policy_nobody_can_follow_is_refused(policy: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        deciders(policy)


def test_a_bundle_decides_as_the_service_would(tiny: Scenario, tmp_path: Path) -> None:
    bundle = load_bundle(write_planned_bundle(tmp_path / "bundle", tiny, exploration=0.1))
    log = simulate(tiny, tmp_path, 60, 15, policy=str(tmp_path / "bundle"))
    columns = number_events(read_log(log.path), tiny)
    (block,) = replay(columns, tiny, plan_of(columns, dt.time(9), None, None, False))
    rows, names = block.rows, columns.customers.to_pylist()
    for cluster in tiny.clusters:
        journey = bundle.journey(cluster.name)
        mine = [n for n in range(len(rows.day)) if names[rows.customer[n]].startswith(f"{cluster.name}-")]
        seen = np.array([journey.encoding.encode(State(*rows.state[n].tolist())) for n in mine])
        legal = unpack(np.array([_legal(journey, rows.state[n]) for n in mine]), len(journey.actions))
        probabilities, values = bundle.policy(cluster.name).evaluate(seen, legal)
        regret = bundle.manifest.clusters[cluster.name].max_regret
        served = serving_probabilities(probabilities, values, legal, 0.1, regret)
        stated = served[np.arange(len(mine)), rows.assigned[mine]]
        np.testing.assert_allclose(rows.propensity[mine], stated, rtol=1e-6)
        assert (stated < 0.1).any(), "something was explored"
