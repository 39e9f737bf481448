"""From a log on disk to a fitted scenario: log rows a second, by phase, by kind of log.

    python -m experiments.benchmarks.fit

One table; the logs are simulated first, which is not timed. The peer is one of the regressions,
purchases by the same terms, by scikit-learn's Newton solver on one row a customer-day in the same
run: what it does without is the aggregation to unique cells.
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

from envs.cli.output import table
from envs.files.log import read_log, write_log
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.journey.logits import sigmoid
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from envs.timeline.columns import number_events
from envs.timeline.replay import plan_of, replay
from training.fit.cells import blank_cells, count_rows
from training.fit.fit import fit_log
from training.fit.logistic import fit_logistic
from training.fit.terms import purchase_model
from training.logs.mapping import LoadedMapping, Mapping

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "omnichannel_retail.yaml"
POLICY = "business_rules:0.7+random_legal:0.3"
TARGET = 200_000  # rows a second
Row = list[Any]


def main() -> None:
    """Print the table."""
    scenario = load_scenario(SCENARIO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fit(scenario, folder, 50, 20, "parquet")  # compiles
        rows = [
            _fit(scenario, folder, 1_000, 90, "csv"),
            _fit(scenario, folder, 1_000, 90, "parquet"),
            _fit(scenario, folder, 5_000, 90, "parquet"),
            *_peers(scenario, folder),
            _fit(scenario, folder, 20_000, 90, "parquet"),
        ]
    columns = ["what", "rows", "seconds", "read", "replay", "estimate", "rows a second", f"{TARGET:,}"]
    title = "a log on disk to a fitted scenario, 4 clusters; and one regression of it"
    Console(width=120).print(table(title, columns, rows))


def _fit(scenario: Scenario, folder: Path, customers: int, days: int, kind: str) -> Row:
    """One log: simulated, then fitted from disk; only the fit is timed."""
    path = folder / f"log_{customers}.parquet"
    behavior = deciders(POLICY)
    journeys = [compile_journey(scenario, c.name) for c in scenario.clusters]
    pairs = [(journey, behavior(journey)) for journey in journeys]
    write_simulated_log(path, pairs, Span(customers, days, 0), POLICY)
    source = path
    if kind == "csv":
        source = path.with_suffix(".csv")
        write_log(read_log(path), source)
    result = fit_log([source], _mapping(scenario, path))
    spent = result.seconds
    total = sum(spent.values())
    rate = result.report.rows / total
    what = f"fit, {kind}, {customers:,} customers a cluster"
    phases = [spent["reading"], spent["replay"], spent["estimation"]]
    return [what, result.report.rows, total, *phases, int(rate), "met" if rate >= TARGET else "missed"]


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
        X = model.design()
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
    gap = float(np.abs(sigmoid(X @ ours.beta) - peer.predict_proba(X[:, 1:])[:, 1]).max())
    name = f"purchases by scikit-learn, a row a day (p within {gap:.0e})"
    return [
        ["purchases by cells and Newton", n, seconds, None, None, seconds, int(n / seconds), None],
        [name, n, peer_seconds, None, None, peer_seconds, int(n / peer_seconds), None],
    ]


def _cell_of(rows: Any, journey: Any) -> Any:
    """(n,) flat cell of the purchase table of each row."""
    t = journey.tables
    stage, engagement = rows.state[:, 0].astype(np.int64), rows.state[:, 1].astype(np.int64)
    column = (stage * t.engagements + engagement) * t.offers + rows.offer
    return (rows.responded.astype(np.int64) + 1) * t.purchase.shape[1] + column


if __name__ == "__main__":
    main()
