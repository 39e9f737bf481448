"""Fit every shipped scenario back from its own log; one row of `rows.csv` a cluster.

    python experiments/003_recovery/run.py

A log of 20,000 customers a cluster and 90 days under 70 % business rules and 30 % uniform legal
actions is simulated, fitted, planned on, and the plan is valued exactly in the true scenario.
Finished rows are kept: a row belongs to a scenario hash, and only missing ones are made.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from experiments.support.recovery import probability_errors, recovery
from training.fit.fit import FitResult, fit_log
from training.logs.mapping import LoadedMapping, Mapping

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE.parents[1] / "configs" / "scenarios"
ROWS = HERE / "rows.csv"
SHIPPED = ("omnichannel_retail", "subscription_telecom", "retail_bank")
POLICY = "business_rules:0.7+random_legal:0.3"
FIELDS = (
    "scenario", "scenario_hash", "cluster", "customers", "days", "seed", "log_rows", "optimum",
    "service_only", "value", "score", "gap_share", "worst_event", "worst_error", "cells",
    "simulate_seconds", "fit_seconds", "command",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """How large a log."""

    customers: int
    days: int
    seed: int


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description="recovery of the shipped scenarios")
    parser.add_argument("scenarios", nargs="*", default=list(SHIPPED))
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    study = Study(options.customers, options.days, options.seed)
    for name in options.scenarios:
        scenario = load_scenario(SCENARIOS / f"{name}.yaml")
        if all(_key(scenario, c.name, study) in _done() for c in scenario.clusters):
            print(f"{name}: rows are there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = study_scenario(scenario, study, Path(folder) / "log.parquet")
        _keep(scenario, rows)
        for row in rows:
            print(", ".join(f"{field} {row[field]}" for field in FIELDS[2:15]))


def study_scenario(scenario: Scenario, study: Study, path: Path) -> list[dict[str, object]]:
    """One row a cluster."""
    started = time.perf_counter()
    behavior = deciders(POLICY)
    journeys = [compile_journey(scenario, c.name) for c in scenario.clusters]
    span = Span(study.customers, study.days, study.seed)
    counts = write_simulated_log(path, [(j, behavior(j)) for j in journeys], span, POLICY)
    simulated = time.perf_counter()
    result = fit_log([path], mapping_of(scenario, path))
    fitted = time.perf_counter()
    common = {
        "scenario": scenario.name,
        "scenario_hash": scenario.digest(),
        "customers": study.customers,
        "days": study.days,
        "seed": study.seed,
        "log_rows": sum(counts.values()),
        "simulate_seconds": round(simulated - started, 1),
        "fit_seconds": round(fitted - simulated, 1),
        "command": f"python experiments/003_recovery/run.py {scenario.name}",
    }
    return [common | _cluster_row(scenario, result, k) for k in range(len(result.clustering.names))]


def mapping_of(scenario: Scenario, path: Path) -> LoadedMapping:
    """The log is in this project's columns already; only the cluster's column has to be named."""
    column = scenario.assignment.column or "cluster"
    mapping = Mapping.model_validate(
        {
            "name": "recovered",
            "timezone": scenario.timezone,
            "currency": scenario.currency,
            "scenario": "the true one, for its structure",
            "customers": {
                "file": f"{path.stem}.customers.parquet",
                "attributes": {"cluster": {"column": column, "kind": "category"}},
            },
            "clusters": {"column": "cluster"},
        }
    )
    return LoadedMapping(mapping, path.parent, scenario)


def _cluster_row(scenario: Scenario, result: FitResult, k: int) -> dict[str, object]:
    name, K = result.clustering.names[k], len(result.clustering.names)
    found = recovery(scenario, result.scenario, name)
    errors, cells = probability_errors(scenario, result.scenario, name, result.cells.group(k, K + k))
    worst = max(errors, key=lambda event: errors[event])
    return {
        "cluster": name,
        "optimum": f"{found.optimum:.4f}",
        "service_only": f"{found.service_only:.4f}",
        "value": f"{found.value:.4f}",
        "score": "" if found.score is None else f"{found.score:.4f}",
        "gap_share": f"{found.gap_share:.5f}",
        "worst_event": worst,
        "worst_error": f"{errors[worst]:.4f}",
        "cells": sum(cells.values()),
    }


def _key(scenario: Scenario, cluster: str, study: Study) -> tuple[str, ...]:
    return (scenario.digest(), cluster, str(study.customers), str(study.days), str(study.seed))


def _read() -> list[dict[str, str]]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="") as file:
        return list(csv.DictReader(file))


def _done() -> set[tuple[str, ...]]:
    keys = ("scenario_hash", "cluster", "customers", "days", "seed")
    return {tuple(row[key] for key in keys) for row in _read()}


def _keep(scenario: Scenario, rows: list[dict[str, object]]) -> None:
    """Replace rows of older versions of this scenario with the same study, keep all others."""
    made = {(str(r["customers"]), str(r["days"]), str(r["seed"])) for r in rows}
    kept = [
        r
        for r in _read()
        if r["scenario"] != scenario.name or (r["customers"], r["days"], r["seed"]) not in made
    ]
    with ROWS.with_suffix(".part").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows([*kept, *rows])
    ROWS.with_suffix(".part").replace(ROWS)


if __name__ == "__main__":
    main()
