"""A fit gives back what a log was simulated from. The large study is experiments/003_recovery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import Scenario
from experiments.support.recovery import probability_errors, recovery
from training.fit.cells import blank_cells
from training.fit.fit import FitResult
from training.fit.regressions import fit_clusters, tables_of
from training.fit.terms import MODELS

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
NAMES = ("tiny", "omnichannel_retail", "subscription_telecom", "retail_bank")
LOSS_AT_20_000 = 0.02  # the accepted loss of score at 20,000 customers a cluster
Z = 4.5  # of a two-sided normal: one false alarm in 150,000 cells


def reachable(journey: Journey, event: str) -> Any:
    """Cells a customer can ever be in: alive, and the touchpoint admitted in the stage."""
    shape = np.shape(getattr(journey.tables, event))
    cells = np.arange(int(np.prod(shape)))
    model = MODELS[event](journey, cells)
    stages = journey.scenario.stages
    out = np.ones(len(cells), dtype=bool)
    for block in model.blocks:
        if block.name == "stage":
            assert block.index is not None
            out &= block.index < len(stages) - 1
        if block.name == "touchpoint_stage":
            for t, spec in enumerate(journey.scenario.touchpoints):
                for s, stage in enumerate(stages):
                    if spec.stages is not None and stage.name not in spec.stages:
                        out &= block.index != t * len(stages) + s
    if event == "resolution":  # requests come in on inbound channels only
        asked = cells % len(journey.scenario.channels)
        out &= np.isin(asked, [i for i, c in enumerate(journey.scenario.channels) if c.inbound])
    return out.reshape(shape)


@pytest.mark.parametrize("name", NAMES)
def test_from_exact_frequencies_the_regressions_give_back_every_probability(name: str) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml")
    trials = 10**9  # so many that no ridge is felt
    for cluster in scenario.clusters[:2]:
        journey = compile_journey(scenario, cluster.name)
        cells = blank_cells(journey, 1)
        for event in MODELS:
            p = np.asarray(getattr(journey.tables, event))
            cells.trials[event][0] = np.where((p > 0) & reachable(journey, event), trials, 0)
            cells.events[event][0] = np.rint(p * cells.trials[event][0]).astype(np.int64)
        cells.asked[0] = np.rint(np.diff(journey.tables.inbound_channel, prepend=0.0) * trials)
        (fit,) = fit_clusters(journey, [cells], None)
        fitted = tables_of(journey, fit.parameters)
        for event in MODELS:
            error = np.abs(getattr(journey.tables, event) - getattr(fitted, event))
            worst = error[cells.trials[event][0] > 0].max(initial=0.0)
            assert worst < 1e-4, (cluster.name, event, worst)


def test_every_event_probability_lies_within_the_noise_of_its_own_trials(
    tiny: Scenario, tiny_fit: FitResult
) -> None:
    K = len(tiny_fit.clustering.names)
    compared = 0
    for k, name in enumerate(tiny_fit.clustering.names):
        truth, fitted = (compile_journey(s, name).tables for s in (tiny, tiny_fit.scenario))
        cells = tiny_fit.cells.group(k, K + k)
        for event in MODELS:
            n = cells.trials[event][0]
            enough = n >= 500
            p, q = getattr(truth, event)[enough], getattr(fitted, event)[enough]
            # a regression over cells is never less certain than the cell alone
            noise = Z * np.sqrt(p * (1 - p) / n[enough])
            assert (np.abs(p - q) <= noise + 1e-4).all(), (name, event, np.abs(p - q).max())
            compared += int(enough.sum())
    assert compared > 100


def test_the_plan_made_on_the_fitted_scenario_is_good_in_the_true_one(
    tiny: Scenario, tiny_fit: FitResult
) -> None:
    customers = tiny_fit.cells.customers.sum() / len(tiny.clusters)
    # a plan's loss is quadratic in the error of its model, and so falls as 1 / customers
    accepted = LOSS_AT_20_000 * 20_000 / customers
    for cluster in tiny.clusters:
        result = recovery(tiny, tiny_fit.scenario, cluster.name)
        assert result.gap_share >= -1e-9, "nothing is better than the optimum"
        if result.score is None:
            assert result.gap_share <= 0.01, cluster.name
        else:
            assert result.score >= 1.0 - accepted, (cluster.name, result.score)


def test_the_largest_error_on_well_filled_cells_is_small(tiny: Scenario, tiny_fit: FitResult) -> None:
    K = len(tiny_fit.clustering.names)
    for k, name in enumerate(tiny_fit.clustering.names):
        errors, compared = probability_errors(tiny, tiny_fit.scenario, name, tiny_fit.cells.group(k, K + k))
        assert sum(compared.values()) >= 20
        # 4.5 standard errors of the worst cell there can be, p = 1/2 with 2,000 rows
        assert max(errors.values()) <= Z * 0.5 / np.sqrt(2_000)


def test_values_start_and_shares_are_those_of_the_log(tiny: Scenario, tiny_fit: FitResult) -> None:
    for cluster in tiny.clusters:
        fitted = tiny_fit.scenario.cluster(cluster.name)
        assert fitted.share == pytest.approx(1 / len(tiny.clusters))
        for stage, share in cluster.start.stages.items():
            assert fitted.start.stages[stage] == pytest.approx(share, abs=Z * 0.5 / np.sqrt(4_000))
        for channel, share in cluster.start.consent.items():
            assert fitted.start.consent[channel] == pytest.approx(share, abs=Z * 0.5 / np.sqrt(4_000))
    K = len(tiny_fit.clustering.names)
    for k, name in enumerate(tiny_fit.clustering.names):
        cells = tiny_fit.cells.group(k, K + k)
        truth, fitted_tables = (compile_journey(s, name).tables for s in (tiny, tiny_fit.scenario))
        n = cells.purchases[0]
        for cell in np.flatnonzero(n >= 100).tolist():
            noise = Z * truth.value[cell] * np.sqrt(np.expm1(truth.value_sigma**2) / n[cell])
            assert abs(fitted_tables.value[cell] - truth.value[cell]) <= noise
