"""A raw log made ready for replay: merged ids, no doubles, refunds netted, decisions stated.

Counts everything it changes, so that `check` can say it and `fit` can refuse. Also reads the
customers' table: attributes known before the first modelled day, consent and stage at the
start. Leaves out the fold (`envs/timeline/replay.py`) and the verdict (`log_check.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from envs.arrays import Floats, Ints
from envs.errors import ConfigError, LogError
from envs.files.log import ELIGIBLE_SEPARATOR, LOG_SCHEMA, read_table
from envs.scenario.actions import actions_of
from envs.scenario.events import Kind
from envs.timeline.columns import Columns, day_number, number_events
from envs.timeline.replay import Plan, Starts, plan_of
from training.logs.customer_table import attributes_of, customer_table, starts_of, with_silent_customers
from training.logs.mapping import LoadedMapping
from training.logs.raw_log import find_beside, read_raw


@dataclass(frozen=True)
class Prepared:
    """A log ready to be folded."""

    loaded: LoadedMapping
    log: pa.Table  # of LOG_SCHEMA; what the columns were made of
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
    table = customer_table(loaded, paths[0])
    columns = number_events(log, scenario)
    window = mapping.window
    everybody = window.start == "window"
    if everybody and table is not None:
        columns = with_silent_customers(columns, table)
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
    attributes, late = attributes_of(loaded, table, columns, plan.first_day)
    return Prepared(
        loaded, log, columns, plan, starts_of(loaded, table, columns), attributes,
        raw.raw_rows, raw.unmatched, doubles, refunds, lost, written, late,
    )  # fmt: skip


# --- the log --------------------------------------------------------------------------------------


def _merged_ids(log: pa.Table, loaded: LoadedMapping, first: Path) -> pa.Table:
    """Customer ids replaced by those of the merge table, chains followed."""
    identity = loaded.mapping.identity
    if identity is None:
        return log
    path = find_beside(identity.file, first, loaded.folder)
    table = read_table(path)
    for name in (identity.from_column, identity.to_column):
        if name not in table.column_names:
            raise LogError(
                "missing column", where=str(path), got=", ".join(table.column_names), expected=name
            )
    merge = dict(
        zip(table[identity.from_column].to_pylist(), table[identity.to_column].to_pylist(), strict=True)
    )
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


def _without_doubles(log: pa.Table) -> tuple[pa.Table, int]:
    """First of the events with one (source, event_id); and how many others there were."""
    keys = log["event_id"]
    if len(pc.unique(log["source"])) > 1:
        source = log["source"].cast(pa.string())
        keys = pc.binary_join_element_wise(pc.fill_null(source, ""), keys, "\x1f")
    if len(pc.unique(keys)) == len(keys):
        return log, 0
    doubled = pd.Series(keys.to_numpy(), copy=False).duplicated().to_numpy()
    return log.filter(pa.array(~doubled)), int(doubled.sum())


def _net_refunds(log: pa.Table, subtract: bool) -> tuple[pa.Table, int, int]:
    """Purchases below 0 taken off the customer's last purchase; (log, refunds, without one)."""
    value = pc.fill_null(log["value"], 0.0).to_numpy()
    if not (value < 0).any():
        return log, 0, 0
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


def _decisions(columns: Columns, loaded: LoadedMapping, plan: Plan) -> pa.Table:
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
            raise ConfigError(
                "memory.opportunities.season_start: missing", expected="the date of season day 0"
            )
        days = day_number(opportunities.season_start) + np.array(opportunities.days or [0])
    else:
        days = np.arange(plan.first_day, plan.last_day + 1)
    days = days[(days >= plan.first_day) & (days <= plan.last_day)]
    customer, day = (
        np.repeat(np.arange(len(columns.customers)), len(days)),
        np.tile(days, len(columns.customers)),
    )
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

    def names(which: str) -> pa.DictionaryArray:
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
        "eligible": pa.DictionaryArray.from_arrays(
            np.zeros(rows, np.int32), pa.array([eligible], pa.string())
        ),
    }
    arrays = [made.get(f.name, pa.nulls(rows, f.type)) for f in LOG_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LOG_SCHEMA)


def _propensities(loaded: LoadedMapping) -> Floats:
    """(A,) stated probabilities, 0 where none is."""
    stated = loaded.mapping.decisions.propensity
    keys = [action.key for action in actions_of(loaded.scenario)]
    for key in stated:
        if key != "*" and key not in keys:
            raise ConfigError(
                "decisions.propensity: unknown action", got=key, expected=f"*, {', '.join(keys[:6])}, …"
            )
    return np.array([stated.get(key, 0.0 if key == "wait" else stated.get("*", 0.0)) for key in keys])


def _moments(day: Ints, second: Ints, zone: str) -> pa.Array:
    """UTC times of local days and seconds."""
    wall = pa.array((day.astype(np.int64) * 86_400 + second) * 1_000_000).cast(pa.timestamp("us"))
    moments = pc.assume_timezone(wall, zone, ambiguous="earliest", nonexistent="latest")
    return moments.cast(pa.timestamp("us", tz="UTC"))
