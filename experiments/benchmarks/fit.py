"""From a log on disk to a fitted scenario: log rows a second, by phase, by kind of log.

    python -m experiments.benchmarks.fit

One table. The logs are simulated first (not timed in the rate, but shown). The peer is the same
regression, purchases by the same terms on one row a customer-day, by scikit-learn's solver in
the same run: aggregation to unique cells is what it does without.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from envs.columns import number_events
from envs.deciders import deciders
from envs.journey import compile_journey
from envs.log import read_log, write_log
from envs.output import table
from envs.replay import plan_of, replay
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.simulate_log import Span, write_simulated_log
from training.cells import blank_cells, count_rows
from training.fit import fit_log
from training.logistic import fit_logistic
from training.mapping import LoadedMapping, Mapping
from training.terms import purchase_model

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "omnichannel_retail.yaml"
POLICY = "business_rules:0.7+random_legal:0.3"
TARGET = 200_000  # rows a second
Row = list[Any]


def main() -> None:
    """Print the table."""
    scenario = load_scenario(SCENARIO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [_fit(scenario, folder, 50, 20, "parquet", "warming up")]  # compiles
        rows = [
            _fit(scenario, folder, 1_000, 90, "csv", "CSV"),
            _fit(scenario, folder, 1_000, 90, "parquet", "Parquet"),
            _fit(scenario, folder, 5_000, 90, "parquet", "Parquet"),
            _fit(scenario, folder, 20_000, 90, "parquet", "Parquet"),
        ]
        peers = _peers(scenario, folder)
    columns = ["log", "rows", "simulate s", "read s", "replay s", "estimate s", "rows/s", f"≥ {TARGET:,}/s"]
    console = Console(width=120)
    console.print(table("a log on disk to a fitted scenario, 4 clusters", columns, rows))
    console.print(
        table("one regression, the same customer-days", ["solver", "rows", "seconds", "rows/s"], peers)
    )


def _fit(scenario: Scenario, folder: Path, customers: int, days: int, kind: str, label: str) -> Row:
    path = folder / f"log_{customers}.parquet"
    behavior = deciders(POLICY)
    journeys = [compile_journey(scenario, c.name) for c in scenario.clusters]
    pairs = [(journey, behavior(journey)) for journey in journeys]
    started = time.perf_counter()
    write_simulated_log(path, pairs, Span(customers, days, 0), POLICY)
    simulated = time.perf_counter() - started
    source = path
    if kind == "csv":
        source = path.with_suffix(".csv")
        write_log(read_log(path), source)
    result = fit_log([source], _mapping(scenario, path))
    spent = result.seconds
    total = sum(spent.values())
    rate = result.report.rows / total
    return [
        f"{label}, {customers:,} × {days} days", result.report.rows, simulated, spent["reading"],
        spent["replay"], spent["estimation"], int(rate), "yes" if rate >= TARGET else "no",
    ]  # fmt: skip


def _mapping(scenario: Scenario, path: Path) -> LoadedMapping:
    attributes = {"cluster": {"column": scenario.assignment.column or "cluster", "kind": "category"}}
    data = {
        "name": "fitted",
        "timezone": scenario.timezone,
        "currency": scenario.currency,
        "scenario": "the true one",
        "customers": {"file": f"{path.stem}.customers.parquet", "attributes": attributes},
        "clusters": {"column": "cluster"},
    }
    return LoadedMapping(Mapping.model_validate(data), path.parent, scenario)


def _peers(scenario: Scenario, folder: Path) -> list[Row]:
    """Purchases of the customers of the 5,000 log: cells and Newton against one row a day."""
    path = folder / "log_5000.parquet"
    journey = compile_journey(scenario, scenario.clusters[0].name)
    columns = number_events(read_log(path), scenario)
    (block, *_) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    rows = block.rows
    with threadpool_limits(1):
        started = time.perf_counter()
        cells = blank_cells(journey, 1)
        count_rows(cells, rows, np.zeros(len(columns.customers), np.int64), journey)
        trials, events = cells.trials["purchase"][0].ravel(), cells.events["purchase"][0].ravel()
        seen = np.flatnonzero(trials)
        model = purchase_model(journey, seen)
        X = model.design(np.ones(len(seen), dtype=bool))
        zero = np.zeros(X.shape[1])
        ours = fit_logistic(X, trials[seen].astype(float), events[seen].astype(float), model.penalty(), zero)
        seconds = time.perf_counter() - started
        n = int(trials.sum())
        started = time.perf_counter()
        where = np.searchsorted(seen, _cell_of(rows, journey))
        day = X[where]
        bought = (rows.purchases > 0).astype(int)
        peer = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=60).fit(day[:, 1:], bought)
        peer_seconds = time.perf_counter() - started
    gap = float(np.abs(1 / (1 + np.exp(-X @ ours.beta)) - peer.predict_proba(X[:, 1:])[:, 1]).max())
    return [
        ["cells, then Newton", n, seconds, int(n / seconds)],
        [f"scikit-learn, a row a day (largest difference {gap:.4f})", n, peer_seconds, int(n / peer_seconds)],
    ]


def _cell_of(rows: Any, journey: Any) -> Any:
    """(n,) flat cell of the purchase table of each row."""
    t = journey.tables
    stage, engagement = rows.state[:, 0].astype(np.int64), rows.state[:, 1].astype(np.int64)
    column = (stage * t.engagements + engagement) * t.offers + rows.offer
    return (rows.responded.astype(np.int64) + 1) * t.purchase.shape[1] + column


if __name__ == "__main__":
    main()
