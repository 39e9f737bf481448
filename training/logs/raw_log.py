"""A raw log turned into the event log by a mapping's small vocabulary, column by column.

Reads, renames, looks up, joins and dates; every step works on whole columns. Leaves out what
is wrong with the result (`log_check.py`) and what it means (`envs/timeline/replay.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from envs.errors import ConfigError, LogError
from envs.files.log import LOG_SCHEMA, LOG_TYPES, as_log, first_bad, parse_times, read_table
from training.logs.mapping import EventRule, LoadedMapping, Scalar, Table, Time, Value


@dataclass(frozen=True)
class RawLog:
    """Event rows as the files state them, before anything is added or refused."""

    log: pa.Table  # of LOG_SCHEMA
    raw_rows: int
    unmatched: int  # raw rows that no rule turned into an event
    tables: dict[str, pa.Table] = field(default_factory=dict)


def read_raw(paths: Sequence[Path], loaded: LoadedMapping) -> RawLog:
    """All files as one table of `LOG_SCHEMA`; raises `LogError` or `ConfigError`."""
    if not paths:
        raise LogError("no log given", expected="at least one Parquet or CSV file")
    mapping = loaded.mapping
    tables = [(path, read_table(path)) for path in paths]
    rows = sum(table.num_rows for _, table in tables)
    if mapping.layout == "event_log":
        logs = [as_log(table, str(path), mapping.time.zone) for path, table in tables]
        return RawLog(pa.concat_tables(logs).unify_dictionaries(), rows, 0)
    lookups = {
        name: _lookup(spec, find_beside(spec.file, paths[0], loaded.folder))
        for name, spec in mapping.tables.items()
    }
    parts, unmatched = [], 0
    for path, table in tables:
        made, missed = _events(path, table, loaded, lookups)
        parts += made
        unmatched += missed
    if not parts:
        raise LogError("no event", where=str(paths[0]), expected="rows that a rule of events: matches")
    return RawLog(pa.concat_tables(parts).unify_dictionaries(), rows, unmatched, lookups)


def find_beside(name: str, log: Path, folder: Path) -> Path:
    """A file named in a mapping: beside the log first, then beside the mapping."""
    for candidate in (log.parent / name, folder / name):
        if candidate.is_file():
            return candidate
    raise ConfigError("no such file", got=name, expected=f"beside {log.name} or beside the mapping")


def _lookup(spec: Table, path: Path) -> pa.Table:
    table = read_table(path)
    _require(table, spec.key, str(path))
    keys = _normal(_text(table[spec.key]), spec.key_as, str(path))
    columns = {name: _text(table[name]) for name in table.column_names} | {"": keys}
    whole = pa.table(columns)
    for name, value in spec.derive.items():
        column = evaluate(value, whole, {}, f"{path}: {name}")
        whole = whole.drop_columns([name]) if name in whole.column_names else whole
        whole = whole.append_column(name, column)
    return whole


def _events(
    path: Path, table: pa.Table, loaded: LoadedMapping, lookups: dict[str, pa.Table]
) -> tuple[list[pa.Table], int]:
    """One table an event rule, and the number of raw rows no rule matched."""
    if table.num_rows == 0:
        raise LogError("empty log", where=str(path), expected="at least one event")
    matched = pa.repeat(pa.scalar(False), table.num_rows)
    parts = []
    for number, rule in enumerate(loaded.mapping.events):
        if not fnmatch(path.name, rule.file):
            continue
        chosen = _matches(rule, table, str(path))
        matched = pc.or_(matched, chosen)
        if pc.any(chosen).as_py():
            rows = pc.indices_nonzero(chosen)
            parts.append(_rule_events(rule, number, path, table.take(rows), rows, loaded, lookups))
    return parts, table.num_rows - pc.sum(matched).as_py()


def _matches(rule: EventRule, table: pa.Table, where: str) -> pa.Array:
    chosen = pa.repeat(pa.scalar(True), table.num_rows)
    for column, wanted in rule.when.items():
        _require(table, column, where)
        options = [_scalar(v) for v in (wanted if isinstance(wanted, list) else [wanted])]
        text = _text(table[column]).combine_chunks()
        chosen = pc.and_(chosen, pc.is_in(text, pa.array(options, pa.string())))
    for column in rule.present:
        _require(table, column, where)
        chosen = pc.and_(chosen, pc.is_valid(table[column]).combine_chunks())
    return chosen


def _rule_events(
    rule: EventRule, number: int, path: Path, rows: pa.Table, numbers: pa.Array, loaded: LoadedMapping,
    lookups: dict[str, pa.Table],
) -> pa.Table:  # fmt: skip
    mapping, where = loaded.mapping, str(path)

    def made(value: Value | str) -> pa.Array:
        return evaluate(value, rows, lookups, where)

    columns: dict[str, Any] = {name: made(value) for name, value in rule.columns.items()}
    columns["customer_id"] = made(mapping.customer)
    columns["occurred_at"] = _times(rule.time or mapping.time, rows, where)
    columns["kind"] = made(Value(constant=rule.kind) if isinstance(rule.kind, str) else rule.kind)
    if "event_id" not in columns:
        ids = pc.add(numbers, 1).cast(pa.string())
        columns["event_id"] = pc.binary_join_element_wise(path.name, ids, str(number), ":")
    if "currency" not in columns:
        columns["currency"] = made(Value(constant=mapping.currency))
    columns.setdefault("source", made(Value(constant=path.name)))
    return as_log(pa.table(columns), where)


def evaluate(value: Value | str, rows: pa.Table, lookups: dict[str, pa.Table], where: str) -> pa.Array:
    """One column of text for these rows; null where there is nothing to say."""
    if isinstance(value, str):
        value = Value(column=value)
    if value.constant is not None:
        out = pa.repeat(pa.scalar(_scalar(value.constant)), rows.num_rows)
    elif value.column is not None:
        _require(rows, value.column, where)
        out = _text(rows[value.column])
    elif value.table is not None:
        out = _look_up(value, rows, lookups, where)
    else:
        parts = [pc.fill_null(_flat(evaluate(p, rows, lookups, where)), "") for p in value.concat or []]
        out = _joined(parts, value.separator)
    out = _normal(_flat(out), value.as_, where)
    return _renamed(out, value) if value.values is not None else out


def _look_up(value: Value, rows: pa.Table, lookups: dict[str, pa.Table], where: str) -> pa.Array:
    table = lookups[str(value.table)]
    _require(table, str(value.take), f"{where}: table {value.table}")
    keys = _flat(evaluate(value.key or "", rows, lookups, where))
    found = pc.index_in(keys, _flat(table[""]))
    lost = pc.and_(pc.is_valid(keys), pc.is_null(found))
    if pc.any(lost).as_py():
        row = pc.index(lost, True).as_py()
        raise LogError(
            f"not in table {value.table}", where=where, got=keys[row].as_py(),
            expected=", ".join(map(str, table[""].to_pylist()[:8])),
            hint="numbers written as 4.0 need key: {column: …, as: integer}",
        )  # fmt: skip
    return _flat(table[str(value.take)]).take(found)


def _joined(parts: list[pa.Array], separator: str) -> pa.Array:
    """Parts joined by the separator, empty ones left out; null where all are empty."""
    out = parts[0]
    for part in parts[1:]:
        both = pc.and_(pc.not_equal(out, ""), pc.not_equal(part, ""))
        glue = pc.if_else(both, separator, "")
        out = pc.binary_join_element_wise(out, glue, part, "")
    return pc.if_else(pc.equal(out, ""), pa.scalar(None, pa.string()), out)


def _renamed(column: pa.Array, value: Value) -> pa.Array:
    names = value.values or {}
    targets = [None if v is None else _scalar(v) for v in names.values()]
    found = pc.index_in(column, pa.array(list(names), pa.string()))
    other = column if value.default is None else pa.repeat(pa.scalar(_scalar(value.default)), len(column))
    return pc.if_else(pc.is_valid(found), pa.array(targets, pa.string()).take(found), other)


def _normal(column: pa.Array | pa.ChunkedArray, how: str, where: str) -> pa.Array | pa.ChunkedArray:
    if how == "lower":
        return pc.utf8_lower(pc.utf8_trim_whitespace(column))
    if how != "integer":
        return column
    try:
        return column.cast(pa.float64()).cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid as error:
        row = first_bad(column, pa.float64())
        raise LogError("not a whole number", where=f"{where}, row {row + 1}", got=str(column[row])) from error


def _times(time: Time, rows: pa.Table, where: str) -> pa.Array:
    _require(rows, time.column, where)
    column = rows[time.column]
    if time.format == "iso":
        return parse_times(column, where, time.zone)
    text = _flat(_text(column))
    unit = {
        "epoch_s": 1_000_000,
        "epoch_ms": 1_000,
        "hours_since": 3_600_000_000,
        "days_since": 86_400_000_000,
    }
    try:
        if time.format not in unit:
            return parse_times(pc.strptime(text, format=time.format, unit="us"), where, time.zone)
        steps = pc.multiply(text.cast(pa.float64()), float(unit[time.format])).cast(pa.int64(), safe=False)
    except pa.ArrowInvalid as error:
        raise LogError(
            f"cannot read {time.column}", where=where, got=str(error), expected=time.format
        ) from error
    if steps.null_count:
        row = pc.index(pc.is_null(steps), True).as_py()
        raise LogError("event without a time", where=f"{where}, row {row + 1}", expected=time.column)
    if time.origin is None:
        return steps.cast(pa.timestamp("us")).cast(LOG_TYPES["occurred_at"])
    # hours since an origin are wall-clock hours of the zone: a season of days stays one
    origin = time.origin.replace(tzinfo=None)
    wall = pc.add(steps, int((origin - dt.datetime(1970, 1, 1)) / dt.timedelta(microseconds=1)))
    return parse_times(wall.cast(pa.timestamp("us")), where, time.zone or "UTC")


def _scalar(value: Scalar) -> str:
    """A YAML scalar as a raw file writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _require(table: pa.Table, column: str, where: str) -> None:
    if column not in table.column_names:
        known = ", ".join(name for name in table.column_names if name)
        raise LogError("missing column", where=where, got=known, expected=column)


def empty_log() -> pa.Table:
    """A log without events."""
    return LOG_SCHEMA.empty_table()
