"""A held-out log as a bundle reads it: its events, modelled days, and each customer's cluster.

With a mapping, raw files are prepared as `fit` prepares them; without one, the log has this
project's columns. The names and fold constants are those of the bundle's scenario.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from envs.arrays import Ints
from envs.errors import ConfigError, LogError
from envs.files.log import read_log, read_table
from envs.scenario.assignment import assign_clusters
from envs.scenario.schema import Scenario
from envs.simulate.log import customers_path
from envs.timeline.columns import Columns, number_events
from envs.timeline.replay import Plan, Starts, plan_of

DECISION_TIME = dt.time(9, 0)  # of a day without a decision row
CUSTOMER = "customer_id"


@dataclass(frozen=True)
class LoggedCustomers:
    """N customers' events, ready to fold."""

    columns: Columns
    plan: Plan
    starts: Starts | None  # None: everybody begins as one never seen
    clusters: Ints  # (N,) number of the scenario's cluster

    def sample(self, customer_days: int, seed: int) -> LoggedCustomers:
        """As many customers, drawn at random, as have so many modelled days at most; all if they fit."""
        days = self.plan.last_day - self.plan.first_day + 1
        count, wanted = len(self.clusters), max(customer_days // days, 1)
        if count <= wanted:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))
        starts = self.starts and Starts(*(field[kept] for field in self.starts))
        return LoggedCustomers(_of_customers(self.columns, kept), self.plan, starts, self.clusters[kept])


def _of_customers(columns: Columns, kept: Ints) -> Columns:
    """The events of some customers, `kept` (n,) ascending."""
    sizes = np.diff(columns.offsets)[kept]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = np.repeat(columns.offsets[kept] - offsets[:-1], sizes) + np.arange(offsets[-1])
    events = {
        name: value[rows] for name, value in vars(columns).items() if name not in ("customers", "offsets")
    }
    return Columns(customers=columns.customers.take(pa.array(kept)), offsets=offsets, **events)


def read_logged(
    paths: Sequence[Path], scenario: Scenario, mapping: Path | None, customers: Path | None
) -> LoggedCustomers:
    """Read a log for `scenario`; raises `LogError` and `ConfigError`."""
    if mapping is not None:
        return _mapped(paths, scenario, mapping)
    columns = number_events(read_log(list(paths)), scenario)
    table = customers or customers_path(paths[0])
    frame = _attributes(table) if customers or table.is_file() else pd.DataFrame()
    return LoggedCustomers(
        columns=columns,
        plan=plan_of(columns, DECISION_TIME, None, None, everybody=False),
        starts=None,
        clusters=_clusters(scenario, frame.reindex(columns.customers.to_pylist())),
    )


def _mapped(paths: Sequence[Path], scenario: Scenario, mapping: Path) -> LoggedCustomers:
    from training.logs.mapping import load_mapping
    from training.logs.prepare import prepare

    loaded = load_mapping(mapping)
    for what in ("channels", "touchpoints", "stages"):
        mine = [x.name for x in getattr(scenario, what)]
        theirs = [x.name for x in getattr(loaded.scenario, what)]
        if mine != theirs:
            where, expected = str(mapping), str(mine)
            raise ConfigError(f"the bundle has other {what}", where=where, got=theirs, expected=expected)
    prepared = prepare(paths, replace(loaded, scenario=scenario))
    return LoggedCustomers(
        columns=prepared.columns,
        plan=prepared.plan,
        starts=prepared.starts,
        clusters=_clusters(scenario, prepared.attributes),
    )


def _attributes(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = read_table(path).to_pandas()
    if CUSTOMER not in frame.columns:
        raise LogError("missing column", where=str(path), got=", ".join(frame.columns), expected=CUSTOMER)
    if frame[CUSTOMER].duplicated().any():
        raise LogError("customer twice in the table", where=str(path), expected=f"one row a {CUSTOMER}")
    return frame.astype({CUSTOMER: str}).set_index(CUSTOMER)


def _clusters(scenario: Scenario, frame: pd.DataFrame) -> Ints:
    """(N,) cluster numbers; the declared default without usable attributes."""
    number = {c.name: i for i, c in enumerate(scenario.clusters)}
    return np.array([number[name] for name in assign_clusters(scenario, frame)], dtype=np.int64)
