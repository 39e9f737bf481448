"""A raw log made ready for replay: merged ids, no doubles, refunds netted, decisions stated.

Counts everything it changes, so that `check` can say it and `fit` can refuse. Also reads the
customers' table: attributes known before the first modelled day, consent and stage at the
start. Leaves out the fold (`envs/replay.py`) and the verdict (`log_check.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from envs.actions import actions_of
from envs.columns import Columns, day_number, number_events
from envs.errors import ConfigError, LogError
from envs.events import Kind
from envs.log import ELIGIBLE_SEPARATOR, LOG_SCHEMA, read_table
from envs.replay import Plan, Starts, plan_of
from training.mapping import LoadedMapping
from training.raw_log import RawLog, evaluate, find_beside, read_raw

TRUE_WORDS = ["1", "1.0", "true", "yes", "granted", "y", "t"]


@dataclass(frozen=True)
class Prepared:
    """A log ready to be folded."""

    loaded: LoadedMapping
    log: Any  # pa.Table of LOG_SCHEMA, what the columns were made of
    columns: Columns
    plan: Plan
    starts: Starts
    attributes: pd.DataFrame  # a row a customer in the order of `columns.customers`
    raw_rows: int
    unmatched: int
    duplicate_ids: int
    refunds: int
    refunds_without_purchase: int
    decisions_written: int  # for the calendar
    late_attributes: int  # rows of the customers' table from after the first modelled day


def prepare(paths: Sequence[Path], loaded: LoadedMapping) -> Prepared:
    """Read, mend and number a log; raises `LogError` and `ConfigError`."""
    mapping, scenario = loaded.mapping, loaded.scenario
    raw = read_raw(paths, loaded)
    log = _merged_ids(raw.log, loaded, paths[0])
    log, doubles = _without_doubles(log)
    log, refunds, lost = _net_refunds(log, subtract=mapping.refund == "subtract")
    table = _customer_table(loaded, paths[0])
    columns = number_events(log, scenario)
    window = mapping.window
    everybody = window.start == "window"
    if everybody and table is not None:
        columns = _with_silent_customers(columns, table)
    plan = plan_of(columns, mapping.decisions.at, window.first_day, window.last_day, everybody)
    if plan.last_day < plan.first_day:
        raise LogError("no modelled day", expected="a window with events in it", where="window")
    written = 0
    if mapping.decisions.source == "calendar" or mapping.decisions.propensity:
        rows = _decisions(columns, loaded, plan)
        written = rows.num_rows
        if written:
            log = pa.concat_tables([log, rows]).unify_dictionaries()
            columns = number_events(log, scenario)
    attributes, late = _attributes(loaded, table, columns, plan)
    return Prepared(
        loaded, log, columns, plan, _starts(loaded, table, columns), attributes, raw.raw_rows, raw.unmatched,
        doubles, refunds, lost, written, late,
    )  # fmt: skip


# --- the log --------------------------------------------------------------------------------------


def _merged_ids(log: Any, loaded: LoadedMapping, first: Path) -> Any:
    """Customer ids replaced by those of the merge table, chains followed."""
    identity = loaded.mapping.identity
    if identity is None:
        return log
    path = find_beside(identity.file, first, loaded.folder)
    table = read_table(path)
    for name in (identity.from_column, identity.to_column):
        if name not in table.column_names:
            raise LogError("missing column", where=str(path), got=", ".join(table.column_names), expected=name)
    merge = dict(zip(table[identity.from_column].to_pylist(), table[identity.to_column].to_pylist(), strict=True))
    column = log["customer_id"].combine_chunks()
    names = [_end_of_chain(name, merge, str(path)) for name in column.dictionary.to_pylist()]
    renamed = pa.array(names, pa.string()).take(column.indices)
    position = log.column_names.index("customer_id")
    return log.set_column(position, LOG_SCHEMA.field(position), pc.dictionary_encode(renamed))


def _end_of_chain(name: str, merge: dict[str, str], where: str) -> str:
    seen = {name}
    while name in merge and merge[name] != name:
        name = merge[name]
        if name in seen:
            raise LogError("identities in a circle", where=where, got=name)
        seen.add(name)
    return name


def _without_doubles(log: Any) -> tuple[Any, int]:
    """First of the events with one (source, event_id); and how many others there were."""
    keys = log["event_id"]
    if len(pc.unique(log["source"])) > 1:
        source = log["source"].cast(pa.string())
        keys = pc.binary_join_element_wise(pc.fill_null(source, ""), keys, "\x1f")
    doubled = pd.Series(keys.to_numpy(), copy=False).duplicated().to_numpy()
    count = int(doubled.sum())
    return (log.filter(pa.array(~doubled)), count) if count else (log, 0)


def _net_refunds(log: Any, subtract: bool) -> tuple[Any, int, int]:
    """Purchases below 0 taken off the customer's last purchase; (log, refunds, without one)."""
    value = pc.fill_null(log["value"], 0.0).to_numpy()
    bought = pc.equal(log["kind"].cast(pa.string()), "purchase").to_numpy(zero_copy_only=False)
    refund = bought & (value < 0)
    count = int(refund.sum())
    if not count:
        return log, 0, 0
    who = pc.dictionary_encode(log["customer_id"].cast(pa.string())).combine_chunks().indices.to_numpy()
    rows = np.flatnonzero(bought)
    moment = log["occurred_at"].cast(pa.int64()).to_numpy()
    rows = rows[np.lexsort((moment[rows], who[rows]))]
    last = np.maximum.accumulate(np.where(refund[rows], -1, np.arange(len(rows))))
    found = (last >= 0) & (who[rows[np.maximum(last, 0)]] == who[rows])
    mine = refund[rows]
    if subtract:
        value = value.copy()
        np.add.at(value, rows[last[mine & found]], value[rows[mine & found]])
        value = np.where(bought, np.maximum(value, 0.0), value)
    position = log.column_names.index("value")
    netted = pc.if_else(pa.array(bought), pa.array(value), log["value"].combine_chunks())
    log = log.set_column(position, LOG_SCHEMA.field(position), netted)
    return log.filter(pa.array(~refund)), count, int((mine & ~found).sum())


def _decisions(columns: Columns, loaded: LoadedMapping, plan: Plan) -> Any:
    """A decision row for every customer and opportunity, from the contact that day or its absence."""
    mapping, scenario = loaded.mapping, loaded.scenario
    actions = actions_of(scenario)
    chance = _propensities(loaded)
    who = np.repeat(np.arange(len(columns.customers)), np.diff(columns.offsets))
    ours = np.flatnonzero((columns.kind == int(Kind.CONTACT)) & (columns.action > 0))
    day_key = columns.day[ours].astype(np.int64) + who[ours].astype(np.int64) * 100_000
    keys, first = np.unique(day_key, return_index=True)
    if mapping.decisions.source == "calendar":
        opportunities = scenario.memory.opportunities
        if opportunities.season_start is None:
            raise ConfigError("memory.opportunities.season_start: missing", expected="the date of season day 0")
        days = day_number(opportunities.season_start) + np.array(opportunities.days or [0])
    else:
        days = np.arange(plan.first_day, plan.last_day + 1)
    days = days[(days >= plan.first_day) & (days <= plan.last_day)]
    customer, day = np.repeat(np.arange(len(columns.customers)), len(days)), np.tile(days, len(columns.customers))
    wanted = day.astype(np.int64) + customer.astype(np.int64) * 100_000
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    hit = (keys[at] == wanted) if len(keys) else np.zeros(len(wanted), dtype=bool)
    action = np.zeros(len(wanted), np.int64)
    second = np.full(len(wanted), plan.at)
    if len(keys):
        action[hit] = columns.action[ours[first[at[hit]]]]
        second[hit] = columns.second[ours[first[at[hit]]]]
    moments = _moments(day, second, mapping.timezone)
    ids = pc.binary_join_element_wise(
        columns.customers.take(pa.array(customer)), pa.array(day).cast(pa.string()), "decision", ":"
    )
    rows, waits = len(wanted), action == 0

    def names(which: str) -> Any:
        words = pa.array([getattr(a, which) for a in actions], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(action, pa.int32(), mask=waits), words)

    eligible = ELIGIBLE_SEPARATOR.join(a.key for a, p in zip(actions, chance, strict=True) if p > 0)
    made = {
        "event_id": ids,
        "source": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["mapping"])),
        "customer_id": pc.dictionary_encode(columns.customers.take(pa.array(customer))),
        "occurred_at": moments,
        "kind": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["decision"])),
        "channel": names("channel"),
        "touchpoint": names("touchpoint"),
        "decision_id": ids,
        "propensity": pa.array(chance[action], mask=chance[action] <= 0),
        "eligible": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([eligible], pa.string())),
    }
    arrays = [made.get(f.name, pa.nulls(rows, f.type)) for f in LOG_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LOG_SCHEMA)


def _propensities(loaded: LoadedMapping) -> Any:
    """(A,) stated probabilities, 0 where none is."""
    stated = loaded.mapping.decisions.propensity
    keys = [action.key for action in actions_of(loaded.scenario)]
    for key in stated:
        if key != "*" and key not in keys:
            raise ConfigError(
                "decisions.propensity: unknown action", got=key, expected=f"*, {', '.join(keys[:6])}, …"
            )
    return np.array([stated.get(key, 0.0 if key == "wait" else stated.get("*", 0.0)) for key in keys])


def _moments(day: Any, second: Any, zone: str) -> Any:
    """UTC times of local days and seconds."""
    wall = pa.array((day.astype(np.int64) * 86_400 + second) * 1_000_000).cast(pa.timestamp("us"))
    moments = pc.assume_timezone(wall, zone, ambiguous="earliest", nonexistent="latest")
    return moments.cast(pa.timestamp("us", tz="UTC"))


# --- the customers --------------------------------------------------------------------------------


def _customer_table(loaded: LoadedMapping, log: Path) -> Any:
    """The second table as text, its ids in the column `customer_id`; None where there is none."""
    spec = loaded.mapping.customers
    if spec is None:
        return None
    path = find_beside(spec.file, log, loaded.folder)
    table = read_table(path)
    wanted = {a.column for a in spec.attributes.values()} | {spec.id} | ({spec.as_of} if spec.as_of else set())
    wanted |= {c.column for c in loaded.mapping.initial_consent.values() if c.column}
    missing = sorted(wanted - set(table.column_names))
    if missing:
        raise LogError("missing column", where=str(path), got=", ".join(table.column_names), expected=", ".join(missing))
    names = [f"raw:{name}" for name in table.column_names]
    text = [c.cast(pa.string()).combine_chunks() for c in table.columns]
    out = pa.table(text, names=names)
    ids = out[f"raw:{spec.id}"]
    if pc.count_distinct(ids).as_py() < out.num_rows:
        raise LogError("customer twice in the table", where=str(path), expected=f"one row a {spec.id}")
    return out.append_column("customer_id", ids)


def _with_silent_customers(columns: Columns, table: Any) -> Columns:
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


def _rows_of(table: Any, columns: Columns) -> Any:
    """(N,) row of each customer in the table, null where there is none."""
    return pc.index_in(columns.customers, table["customer_id"].combine_chunks())


def _attributes(
    loaded: LoadedMapping, table: Any, columns: Columns, plan: Plan
) -> tuple[pd.DataFrame, int]:
    """Attributes a customer, and how many rows were left out as known too late."""
    index = pd.Index(columns.customers.to_pylist(), name="customer_id")
    spec = loaded.mapping.customers
    if table is None or spec is None:
        return pd.DataFrame(index=index), 0
    rows, late = _rows_of(table, columns), 0
    if spec.as_of is not None:
        known = pd.to_datetime(table[f"raw:{spec.as_of}"].take(rows).to_pandas(), errors="coerce", utc=True)
        first = dt.date(1970, 1, 1) + dt.timedelta(days=plan.first_day)
        border = dt.datetime.combine(first, dt.time(), ZoneInfo(loaded.mapping.timezone))
        too_late = ~(known < border).to_numpy()
        late = int(too_late.sum())
        rows = pc.if_else(pa.array(too_late), pa.scalar(None, rows.type), rows)
    read = partial(_attribute, table=table, rows=rows)
    return pd.DataFrame({name: read(a) for name, a in spec.attributes.items()}, index=index), late


def _attribute(spec: Any, table: Any, rows: Any) -> Any:
    text = table[f"raw:{spec.column}"].take(rows).combine_chunks().to_pandas()
    absent = text.isna() | text.isin([_plain(value) for value in spec.missing])
    if spec.equals is not None:
        return np.where(absent, np.nan, (text == _plain(spec.equals)).astype(float))
    if spec.kind == "category":
        return text.where(~absent, None).to_numpy(dtype=object)
    if spec.kind == "year":
        years = pd.to_datetime(text.where(~absent), format=spec.format, errors="coerce").dt.year
        return years.to_numpy(dtype=float)
    return np.where(absent, np.nan, pd.to_numeric(text, errors="coerce").to_numpy(dtype=float))


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _starts(loaded: LoadedMapping, table: Any, columns: Columns) -> Starts:
    """Stage and consent before the first event, as the mapping states them."""
    mapping, scenario = loaded.mapping, loaded.scenario
    customers = len(columns.customers)
    stages = [s.name for s in scenario.stages]
    stage = np.full(customers, stages.index(scenario.new_customer.stage), np.int64)
    if mapping.initial_stage is not None:
        if table is None:
            raise ConfigError("initial_stage needs a table of customers", expected="customers: {file: …}")
        plain = table.rename_columns([name.removeprefix("raw:") for name in table.column_names[:-1]] + ["\x1f"])
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


def raw_of(prepared: Prepared) -> RawLog:
    """The counts of reading, for the report."""
    return RawLog(prepared.log, prepared.raw_rows, prepared.unmatched)
