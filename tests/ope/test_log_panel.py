"""Claims about a log cut into decisions: the simulator's log gives back what the simulator did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from envs.day.masks import unpack
from envs.errors import GateError
from envs.files.log import read_log, write_log
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from envs.simulate.simulator import Simulator
from envs.solve.baselines import baselines, business_rules, service_only
from envs.solve.evaluation import evaluate_horizon
from envs.solve.kernel import build_kernel
from training.logs.logged import read_logged
from training.ope.compare import Settings, evaluate_targets
from training.ope.estimate import judge, require
from training.ope.log_panel import days_left, logged_journeys
from training.ope.regression import RidgeModel
from training.ope.targets import always, best_single_action, nothing

SPAN = Span(customers=300, days=12, seed=5)
MAPPINGS = Path(__file__).resolve().parents[2] / "configs" / "mappings"


@pytest.fixture(scope="module")
def log(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days of business as usual with a third at random."""
    path = tmp_path_factory.mktemp("log") / "tiny.parquet"
    behavior = deciders("business_rules:0.7+random_legal:0.3")
    journeys = [compile_journey(tiny, c.name) for c in tiny.clusters]
    write_simulated_log(path, [(j, behavior(j)) for j in journeys], SPAN, "mixture")
    return path


def panel_of(tiny: Scenario, path: Path) -> Any:
    logged = read_logged([path], tiny, None, None)
    weights = compile_journey(tiny, "keen").weights()
    return logged_journeys(logged.columns, tiny, logged.plan, logged.starts, logged.clusters, weights)


def test_simulated_rewards_states_and_masks_come_back_from_the_log(tiny: Scenario, log: Path) -> None:
    journeys = panel_of(tiny, log)
    panel = journeys.panel
    assert journeys.unpriced == 0.0
    for number, cluster in enumerate(tiny.clusters):
        journey = compile_journey(tiny, cluster.name)
        rows = np.flatnonzero(journeys.clusters == number)
        ids = np.array([int(str(name).rpartition("-")[2]) for name in journeys.customers[rows]])
        rows = rows[np.argsort(ids)]
        simulator = Simulator(journey, SPAN.customers, SPAN.seed, number * SPAN.customers)
        for day in range(SPAN.days):
            living = panel.present[rows, day]
            here = rows[living], day
            np.testing.assert_array_equal(simulator.states[living], journeys.states[here])
            np.testing.assert_array_equal(simulator.observations[living], journeys.observations[here])
            legal = unpack(simulator.legal[living], panel.count)
            np.testing.assert_array_equal(legal, panel.legal[here])
            actions = np.where(living, panel.actions[rows, day], 0)
            earned = simulator.step(actions).rewards @ journey.weights()
            # the simulator keeps rewards in single precision
            np.testing.assert_allclose(panel.rewards[here], earned[living], rtol=1e-5, atol=1e-5)


def test_logged_propensities_are_those_of_the_behaviour_policy(tiny: Scenario, log: Path) -> None:
    journeys = panel_of(tiny, log)
    behavior = deciders("business_rules:0.7+random_legal:0.3")
    for number, cluster in enumerate(tiny.clusters):
        decide = behavior(compile_journey(tiny, cluster.name))
        rows = journeys.panel.present & (journeys.clusters == number)[:, None]
        legal = journeys.panel.legal[rows] @ (1 << np.arange(journeys.panel.count))
        chances = decide(journeys.states[rows], journeys.observations[rows], legal)
        chosen = np.take_along_axis(chances, journeys.panel.actions[rows][:, None], axis=1)[:, 0]
        np.testing.assert_allclose(chosen, journeys.panel.propensity[rows], rtol=1e-6)


def test_estimate_from_a_log_holds_the_solvers_exact_finite_horizon_value(
    tiny: Scenario, tmp_path: Path
) -> None:
    days, path = 5, tmp_path / "random.parquet"
    compiled = [compile_journey(tiny, c.name) for c in tiny.clusters]
    behavior, wanted = deciders("random_legal"), deciders("business_rules:0.5+random_legal:0.5")
    write_simulated_log(path, [(j, behavior(j)) for j in compiled], Span(4000, days, 11), "random")
    journeys, truth = panel_of(tiny, path), 0.0
    target = np.zeros(journeys.panel.legal.shape)
    for number, journey in enumerate(compiled):
        kernel = build_kernel(journey)
        rules = business_rules(kernel, service_only(kernel))
        uniform = baselines(kernel, journey.weights())["random_legal"]
        policy = 0.5 * np.eye(kernel.actions)[rules] + 0.5 * uniform
        truth += evaluate_horizon(kernel, policy, journey.weights(), days, 1.0) / len(compiled)
        rows = journeys.clusters == number
        legal = journeys.panel.legal[rows].reshape(-1, kernel.actions) @ (1 << np.arange(kernel.actions))
        states = journeys.states[rows].reshape(len(legal), -1)
        seen = journeys.observations[rows].reshape(len(legal), -1)
        target[rows] = wanted(journey)(states, seen, legal).reshape(target[rows].shape)
    [result] = evaluate_targets(journeys.panel, {"target": target}, Settings(RidgeModel(), fold_count=2))
    estimate = require(judge(result.journey, level=0.999))
    assert estimate.low < truth < estimate.high
    # the interval must be able to fail: it is far narrower than the value's distance to waiting
    assert estimate.high - estimate.low < 1.0


def test_a_sample_of_customers_keeps_their_journeys_as_they_were(tiny: Scenario, log: Path) -> None:
    logged, weights = read_logged([log], tiny, None, None), compile_journey(tiny, "keen").weights()
    few = logged.sample(customer_days=100 * SPAN.days, seed=2)
    assert len(few.clusters) == 100
    parts = [logged_journeys(x.columns, tiny, x.plan, x.starts, x.clusters, weights) for x in (logged, few)]
    number = {str(name): n for n, name in enumerate(parts[0].customers)}
    at = np.array([number[str(name)] for name in parts[1].customers])
    days = parts[1].panel.rewards.shape[1]
    np.testing.assert_array_equal(parts[0].customers[at], parts[1].customers)
    np.testing.assert_array_equal(parts[0].clusters[at], parts[1].clusters)
    np.testing.assert_allclose(parts[0].panel.rewards[at, :days], parts[1].panel.rewards)


def test_a_log_without_propensities_is_refused(tiny: Scenario, log: Path, tmp_path: Path) -> None:
    table = read_log(log)
    position = table.column_names.index("propensity")
    blank = table.set_column(position, "propensity", pa.nulls(table.num_rows, pa.float64()))
    write_log(blank, tmp_path / "blank.parquet")
    with pytest.raises(GateError, match="no propensities"):
        panel_of(tiny, tmp_path / "blank.parquet")


def test_single_actions_wait_where_they_are_illegal(tiny: Scenario, log: Path) -> None:
    journeys = panel_of(tiny, log)
    key = best_single_action(journeys, tiny)
    target = always(journeys, tiny, key)
    assert np.all(target.sum(axis=2) == 1.0)
    assert not np.any(target[~journeys.panel.legal])
    assert np.all(nothing(journeys)[:, :, 0] == 1.0)


def test_days_left_of_an_offer_counts_its_closes() -> None:
    scenario = load_scenario(MAPPINGS / "starbucks_scenario.yaml")
    rules = compile_journey(scenario, "everyone").rules
    left = days_left(rules)
    for number, touchpoint in enumerate(scenario.touchpoints):
        fresh = int(rules.offer_on_contact[number])
        assert left[fresh] == touchpoint.offer_days
        assert left[int(rules.offer_on_redemption[fresh])] == touchpoint.offer_days
