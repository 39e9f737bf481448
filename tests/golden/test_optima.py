"""Optima, baselines and greedy actions of the shipped scenarios are those on record.

The record was made before the house was rearranged; whoever changes a scenario makes it anew with
`python -m experiments.013_layout.run --write`.
"""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import pytest

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.solve.baselines import service_only
from envs.solve.kernel import build_kernel, start_distribution
from envs.solve.references import start_value
from envs.solve.solver import solve

record: Any = importlib.import_module("experiments.013_layout.run")
RELATIVE = 1e-12


def rows() -> list[dict[str, str]]:
    with Path(record.ROWS).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_cluster_of_the_studied_scenarios_is_on_record() -> None:
    scenarios = [load_scenario(record.SCENARIOS / f"{name}.yaml") for name in record.STUDIED]
    assert [(row["scenario"], row["cluster"]) for row in rows()] == [
        (scenario.name, cluster.name) for scenario in scenarios for cluster in scenario.clusters
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['scenario']}-{row['cluster']}")
def test_optimum_service_only_and_greedy_actions_are_as_recorded(row: dict[str, str]) -> None:
    scenario = load_scenario(record.SCENARIOS / f"{row['scenario']}.yaml")
    journey = compile_journey(scenario, row["cluster"])
    kernel, weights = build_kernel(journey), journey.weights(record.OBJECTIVE)
    solution = solve(kernel, weights)
    assert record.digest(start_distribution(kernel)) == row["start"]
    assert record.digest(solution.actions) == row["greedy"]
    assert solution.start_value(kernel) == pytest.approx(float(row["optimum"]), rel=RELATIVE)
    assert start_value(kernel, service_only(kernel), weights) == pytest.approx(
        float(row["service_only"]), rel=RELATIVE
    )
