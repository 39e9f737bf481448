"""The customers' table: attributes, consent and stage before the first modelled day.

One row a customer, joined to the log's customers. A row that was known too late counts as
absent, so no outcome leaks into a cluster.
"""

from __future__ import annotations

import datetime as dt
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from envs.arrays import Array
from envs.errors import ConfigError, LogError
from envs.files.log import read_table
from envs.timeline.columns import Columns
from envs.timeline.replay import Starts
from training.logs.mapping import Attribute, LoadedMapping
from training.logs.raw_log import evaluate, find_beside

TRUE_WORDS = ["1", "1.0", "true", "yes", "granted", "y", "t"]


def customer_table(loaded: LoadedMapping, log: Path) -> pa.Table | None:
    """The second table as text, its ids in the column `customer_id`; None where there is none."""
    spec = loaded.mapping.customers
    if spec is None:
        return None
    path = find_beside(spec.file, log, loaded.folder)
    table = read_table(path)
    wanted = (
        {a.column for a in spec.attributes.values()} | {spec.id} | ({spec.as_of} if spec.as_of else set())
    )
    wanted |= {c.column for c in loaded.mapping.initial_consent.values() if c.column}
    missing = sorted(wanted - set(table.column_names))
    if missing:
        raise LogError(
            "missing column", where=str(path), got=", ".join(table.column_names), expected=", ".join(missing)
        )
    names = [f"raw:{name}" for name in table.column_names]
    text = [c.cast(pa.string()).combine_chunks() for c in table.columns]
    out = pa.table(text, names=names)
    ids = out[f"raw:{spec.id}"]
    if pc.count_distinct(ids).as_py() < out.num_rows:
        raise LogError("customer twice in the table", where=str(path), expected=f"one row a {spec.id}")
    return out.append_column("customer_id", ids)


def with_silent_customers(columns: Columns, table: pa.Table) -> Columns:
    """Customers without an event, at the end: they waited and did nothing."""
    ids = table["customer_id"].combine_chunks()
    silent = ids.filter(pc.invert(pc.is_in(ids, columns.customers)))
    if not len(silent):
        return columns
    fields = vars(columns) | {
        "customers": pa.concat_arrays([columns.customers, silent]),
        "offsets": np.concatenate([columns.offsets, np.full(len(silent), columns.events)]),
    }
    return Columns(**fields)


def _rows_of(table: pa.Table, columns: Columns) -> pa.Int32Array:
    """(N,) row of each customer in the table, null where there is none."""
    return pc.index_in(columns.customers, table["customer_id"].combine_chunks())


def attributes_of(
    loaded: LoadedMapping, table: pa.Table | None, columns: Columns, first_day: int
) -> tuple[pd.DataFrame, int]:
    """Attributes a customer, and how many rows were left out as known too late."""
    index = pd.Index(columns.customers.to_pylist(), name="customer_id")
    spec = loaded.mapping.customers
    if table is None or spec is None:
        return pd.DataFrame(index=index), 0
    rows, late = _rows_of(table, columns), 0
    if spec.as_of is not None:
        known = pd.to_datetime(table[f"raw:{spec.as_of}"].take(rows).to_pandas(), errors="coerce", utc=True)
        first = dt.date(1970, 1, 1) + dt.timedelta(days=first_day)
        border = dt.datetime.combine(first, dt.time(), ZoneInfo(loaded.mapping.timezone))
        too_late = ~(known < border).to_numpy()
        late = int(too_late.sum())
        rows = pc.if_else(pa.array(too_late), pa.scalar(None, rows.type), rows)
    read = partial(_attribute, table=table, rows=rows)
    return pd.DataFrame({name: read(a) for name, a in spec.attributes.items()}, index=index), late


def _attribute(spec: Attribute, table: pa.Table, rows: pa.Array) -> Array:
    text = table[f"raw:{spec.column}"].take(rows).combine_chunks().to_pandas()
    absent = text.isna() | text.isin([_plain(value) for value in spec.missing])
    if spec.equals is not None:
        return np.where(absent, np.nan, (text == _plain(spec.equals)).astype(float))
    if spec.kind == "category":
        words: Array = text.where(~absent, None).to_numpy(dtype=object)
        return words
    if spec.kind == "year":
        dates = pd.to_datetime(text.where(~absent), format=spec.format, errors="coerce")
        years: Array = dates.dt.year.to_numpy(dtype=float)
        return years
    return np.where(absent, np.nan, pd.to_numeric(text, errors="coerce").to_numpy(dtype=float))


def _plain(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def starts_of(loaded: LoadedMapping, table: pa.Table | None, columns: Columns) -> Starts:
    """Stage and consent before the first event, as the mapping states them."""
    mapping, scenario = loaded.mapping, loaded.scenario
    customers = len(columns.customers)
    stages = [s.name for s in scenario.stages]
    stage = np.full(customers, stages.index(scenario.new_customer.stage), np.int64)
    if mapping.initial_stage is not None:
        if table is None:
            raise ConfigError("initial_stage needs a table of customers", expected="customers: {file: …}")
        plain = table.rename_columns(
            [name.removeprefix("raw:") for name in table.column_names[:-1]] + ["\x1f"]
        )
        names = evaluate(mapping.initial_stage, plain, {}, "customers").take(_rows_of(table, columns))
        found = pc.index_in(names, pa.array(stages))
        if pc.any(pc.and_(pc.is_valid(names), pc.is_null(found))).as_py():
            lost = names.filter(pc.is_null(found)).drop_null()[0].as_py()
            raise LogError("unknown stage", where="initial_stage", got=lost, expected=", ".join(stages))
        stage = pc.fill_null(found, pa.scalar(int(stage[0]), pa.int32())).to_numpy().astype(np.int64)
    consent = np.zeros(customers, np.int64)
    for number, channel in enumerate(scenario.channels):
        spec = mapping.initial_consent.get(channel.name)
        if spec is None or spec.state == "denied":
            continue
        if spec.state == "granted":
            consent |= 1 << number
            continue
        if table is None:
            raise ConfigError("initial_consent needs a table of customers", expected="customers: {file: …}")
        words = pc.utf8_lower(table[f"raw:{spec.column}"].combine_chunks().take(_rows_of(table, columns)))
        granted = pc.fill_null(pc.is_in(words, pa.array(TRUE_WORDS)), False)
        consent |= granted.to_numpy(zero_copy_only=False).astype(np.int64) << number
    return Starts(stage, consent)
