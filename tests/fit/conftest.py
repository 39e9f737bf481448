"""A log simulated once from the scenario a person can check, and what it takes to fit it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from training.fit.fit import FitResult, fit_log
from training.logs.mapping import LoadedMapping, Mapping

MIXTURE = "business_rules:0.7+random_legal:0.3"


@dataclass(frozen=True)
class SimulatedLog:
    """A log, the truth behind it, and how it was made."""

    path: Path
    truth: Scenario
    span: Span
    counts: dict[str, int]


def mapping_of(scenario: Scenario, **stated: Any) -> LoadedMapping:
    """The mapping of a log simulated from this scenario; its behaviour is re-estimated."""
    column = scenario.assignment.column or "cluster"
    data: dict[str, Any] = {
        "name": "fitted",
        "timezone": scenario.timezone,
        "currency": scenario.currency,
        "scenario": "unused",
        "customers": {
            "file": "log.customers.parquet",
            "attributes": {"cluster": {"column": column, "kind": "category"}},
        },
        "clusters": {"column": "cluster"},
    }
    return LoadedMapping(Mapping.model_validate(data | stated), Path(), scenario)


def simulate(
    scenario: Scenario, folder: Path, customers: int, days: int, seed: int = 5, policy: str = MIXTURE
) -> SimulatedLog:
    """Every cluster, by default under 70 % business rules and 30 % uniform legal actions."""
    behavior = deciders(policy)
    journeys = [compile_journey(scenario, c.name) for c in scenario.clusters]
    span = Span(customers, days, seed)
    path = folder / "log.parquet"
    counts = write_simulated_log(path, [(j, behavior(j)) for j in journeys], span, policy)
    return SimulatedLog(path, scenario, span, counts)


@pytest.fixture(scope="session")
def tiny_log(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> SimulatedLog:
    """4,000 customers a cluster for 60 days."""
    return simulate(tiny, tmp_path_factory.mktemp("tiny"), 4_000, 60)


@pytest.fixture(scope="session")
def tiny_fit(tiny_log: SimulatedLog, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """The scenario fitted to that log."""
    return fit_log([tiny_log.path], mapping_of(tiny_log.truth), tmp_path_factory.mktemp("fit"))
