"""Event logs on disk: one row an event in the columns of `events.LOG_COLUMNS`, Parquet or CSV.

Reads and writes tables and says what is wrong with a file, by line and column. Leaves out
raw logs of other layouts (training's mappings) and the fold (`timeline/replay.py`).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from envs.errors import LogError
from envs.scenario.events import KINDS, LOG_COLUMNS, Event

_TEXT = pa.dictionary(pa.int32(), pa.string())  # few distinct values
LOG_TYPES: dict[str, pa.DataType] = dict.fromkeys(LOG_COLUMNS, _TEXT) | {
    "event_id": pa.string(),
    "case_id": pa.string(),
    "decision_id": pa.string(),
    "occurred_at": pa.timestamp("us", tz="UTC"),
    "value": pa.float64(),
    "propensity": pa.float64(),
    "activated": pa.bool_(),
}
LOG_SCHEMA = pa.schema([(name, LOG_TYPES[name]) for name in LOG_COLUMNS])
REQUIRED = ("event_id", "customer_id", "occurred_at", "kind")
_DICTIONARIES = [name for name, kind in LOG_TYPES.items() if kind == _TEXT]
ELIGIBLE_SEPARATOR = "|"


# --- reading -----------------------------------------------------------------------------------


def read_table(path: Path) -> pa.Table:
    """Any Parquet or CSV file (`.gz` too) as a table; CSV columns stay text.

    Raises `LogError` for a missing, empty, ragged or unreadable file.
    """
    if not path.is_file():
        raise LogError("no such file", where=str(path), expected="a Parquet or CSV file")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if not path.name.removesuffix(".gz").endswith((".csv", ".txt")):
        raise LogError(
            "unknown kind of file", where=str(path), expected="a name in .parquet, .csv or .csv.gz"
        )
    names = _csv_header(path)
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    try:
        return pa_csv.read_csv(
            path, convert_options=options, parse_options=pa_csv.ParseOptions(newlines_in_values=True)
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise _ragged(path, names, error) from error


def _read_parquet(path: Path) -> pa.Table:
    try:
        present = set(pq.read_schema(path).names)
        return pq.read_table(path, read_dictionary=[n for n in _DICTIONARIES if n in present])
    except (pa.ArrowInvalid, OSError) as error:
        raise LogError("not a Parquet file", where=str(path), got=str(error).splitlines()[0]) from error


def _open_text(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv_header(path: Path) -> list[str]:
    try:
        with _open_text(path) as text:
            header = next(csv.reader(text), None)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        raise LogError(
            "not a readable CSV", where=str(path), got=str(error), expected="UTF-8 text"
        ) from error
    if not header or not any(name.strip() for name in header):
        raise LogError("empty file", where=f"{path}:1", expected="a header line and one line an event")
    doubled = [name for name in header if header.count(name) > 1]
    if doubled:
        column = len(header) - header[::-1].index(doubled[0])
        raise LogError("column named twice", where=f"{path}:1, column {column}", got=doubled[0])
    return header


def _ragged(path: Path, names: Sequence[str], error: Exception) -> LogError:
    """The line and column where a CSV stops being a rectangle."""
    try:
        with _open_text(path) as text:
            reader = csv.reader(text)
            for fields in reader:
                if fields and len(fields) != len(names):
                    column = min(len(fields), len(names)) + 1
                    return LogError(
                        "ragged CSV",
                        where=f"{path}:{reader.line_num}, column {column}",
                        expected=f"{len(names)} fields",
                        got=len(fields),
                        hint="quote fields that contain a comma",
                    )
    except (UnicodeDecodeError, csv.Error) as cause:
        return LogError("not a readable CSV", where=str(path), got=str(cause), expected="UTF-8 text")
    return LogError("not a readable CSV", where=str(path), got=str(error).splitlines()[0])


def read_log(paths: Path | Sequence[Path]) -> pa.Table:
    """Event logs in this project's columns as one table of `LOG_SCHEMA`."""
    many = [paths] if isinstance(paths, Path) else list(paths)
    return pa.concat_tables([as_log(read_table(path), str(path)) for path in many]).unify_dictionaries()


def as_log(table: pa.Table, where: str = "log", zone: str | None = None) -> pa.Table:
    """Cast a table to `LOG_SCHEMA`; absent columns are null, unknown columns are dropped.

    `zone` is where times without an offset were taken; without it they are an error.
    """
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise LogError(
            "missing column", where=where, got=", ".join(table.column_names), expected=", ".join(missing)
        )
    if table.num_rows == 0:
        raise LogError("empty log", where=where, expected="at least one event")
    arrays = []
    for name in LOG_COLUMNS:
        if name not in table.column_names:
            arrays.append(pa.nulls(table.num_rows, LOG_TYPES[name]))
        elif name == "occurred_at":
            arrays.append(parse_times(table[name], where, zone))
        else:
            arrays.append(_cast(table[name], name, where))
    log = pa.Table.from_arrays(arrays, schema=LOG_SCHEMA)
    _check_kinds(log, where)
    _check_propensities(log, where)
    return log


def _cast(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    kind = LOG_TYPES[name]
    if column.type == kind:
        return column
    if kind == _TEXT:
        text = column if pa.types.is_dictionary(column.type) else column.cast(pa.string())
        return text.cast(kind) if pa.types.is_dictionary(text.type) else pc.dictionary_encode(text)
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        return column.cast(kind)
    except pa.ArrowInvalid as error:
        row = first_bad(column, kind)
        raise LogError(
            f"cannot read {name}", where=f"{where}, event {row + 1}", got=str(column[row]), expected=str(kind)
        ) from error


def first_bad(column: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Row of the first value that does not cast, by bisection."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def parse_times(column: pa.ChunkedArray, where: str, zone: str | None = None) -> pa.ChunkedArray:
    """Times as UTC microseconds; a time without an offset needs `zone`."""
    kind = column.type
    target = LOG_TYPES["occurred_at"]
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            if zone is None:
                raise _naive(where, column[0])
            column = _localise(column, zone, where)
        return column.cast(target)
    if not (pa.types.is_string(kind) or pa.types.is_dictionary(kind) or pa.types.is_large_string(kind)):
        raise LogError(
            "cannot read occurred_at", where=where, got=str(kind), expected="timestamps with a zone"
        )
    text = column.cast(pa.string())
    _no_missing(text, where)
    aware = pc.match_substring_regex(text, r"(Z|z|[+-]\d\d:?\d\d)$")
    if not pc.all(aware).as_py():
        if zone is None:
            row = pc.index(aware, False).as_py()
            raise _naive(f"{where}, event {row + 1}", text[row])
        if pc.any(aware).as_py():
            raise LogError(
                "times with and without an offset", where=where, expected="one way of writing them"
            )
    wanted = pa.timestamp("us", tz="UTC") if zone is None else pa.timestamp("us")
    try:
        moments = text.cast(wanted)
    except pa.ArrowInvalid as error:
        row = first_bad(text, wanted)
        raise LogError(
            "cannot read occurred_at",
            where=f"{where}, event {row + 1}",
            got=str(text[row]),
            expected="ISO 8601, such as 2026-03-01T09:00:00+01:00",
        ) from error
    return moments if zone is None else _localise(moments, zone, where).cast(target)


def _no_missing(column: pa.ChunkedArray, where: str) -> None:
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise LogError("event without a time", where=f"{where}, event {row + 1}", expected="occurred_at")


def _naive(where: str, value: object) -> LogError:
    return LogError(
        "time without a zone",
        where=where,
        got=str(value),
        expected="an offset such as +01:00 or Z",
        hint="or name the zone in the mapping: time: {zone: Europe/Berlin}",
    )


def _localise(column: pa.ChunkedArray, zone: str, where: str) -> pa.ChunkedArray:
    """Wall-clock times of a zone; the hour that is skipped or repeated takes the standard reading."""
    try:
        return pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
    except pa.ArrowInvalid as error:
        raise LogError(
            "unknown zone", where=where, got=zone, expected="a name such as Europe/Berlin"
        ) from error


def _check_kinds(log: pa.Table, where: str) -> None:
    found = pc.unique(log["kind"]).to_pylist()
    unknown = [kind for kind in found if kind not in KINDS]
    if unknown:
        row = pc.index(pc.is_in(log["kind"].cast(pa.string()), pa.array(list(KINDS))), False).as_py()
        raise LogError(
            "unknown kind", where=f"{where}, event {row + 1}", got=unknown[0], expected=", ".join(KINDS)
        )
    if log["customer_id"].null_count:
        row = pc.index(pc.is_null(log["customer_id"]), True).as_py()
        raise LogError("event without a customer", where=f"{where}, event {row + 1}", expected="customer_id")


def _check_propensities(log: pa.Table, where: str) -> None:
    bad = pc.or_(pc.less_equal(log["propensity"], 0.0), pc.greater(log["propensity"], 1.0))
    if pc.any(bad).as_py():
        row = pc.index(pc.fill_null(bad, False), True).as_py()
        raise LogError(
            "propensity out of range",
            where=f"{where}, event {row + 1}",
            got=log["propensity"][row].as_py(),
            expected="above 0, at most 1",
        )


# --- writing -----------------------------------------------------------------------------------


class LogWriter:
    """Appends row groups to one Parquet log; use as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = path, 0
        self._writer = pq.ParquetWriter(
            path, LOG_SCHEMA, compression="zstd", use_dictionary=_DICTIONARIES, write_statistics=False
        )

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Append one table of `LOG_SCHEMA` as a row group."""
        self._writer.write_table(table.cast(LOG_SCHEMA))
        self.rows += table.num_rows


def write_log(table: pa.Table, path: Path) -> None:
    """Write a log; the name's ending decides between Parquet and CSV."""
    if path.suffix == ".csv":
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = [c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for c in table.columns]
        text = pa.table(plain, names=table.column_names)
        moments = pc.strftime(text["occurred_at"], format="%Y-%m-%dT%H:%M:%SZ")
        position = text.column_names.index("occurred_at")
        pa_csv.write_csv(text.set_column(position, "occurred_at", moments), path)
        return
    if path.suffix != ".parquet":
        raise LogError("unknown kind of file", where=str(path), expected="a name in .parquet or .csv")
    with LogWriter(path) as writer:
        writer.write(table)


# --- single events -------------------------------------------------------------------------------


def log_of(events: Iterable[Event]) -> pa.Table:
    """Events as a table of `LOG_SCHEMA`."""
    rows: dict[str, list[object]] = {name: [] for name in LOG_COLUMNS}
    for event in events:
        for name in LOG_COLUMNS:
            value = getattr(event, name)
            rows[name].append(ELIGIBLE_SEPARATOR.join(value) if name == "eligible" and value else value)
    return pa.table(
        {name: pa.array(rows[name], type=LOG_TYPES[name]) for name in LOG_COLUMNS}, schema=LOG_SCHEMA
    )


def events_of(log: pa.Table) -> Iterator[Event]:
    """The rows of a log as events, in file order; for small logs and for the service."""
    for batch in log.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            eligible = row["eligible"]
            row["eligible"] = tuple(eligible.split(ELIGIBLE_SEPARATOR)) if eligible else None
            row["source"] = row["source"] or ""
            yield Event(**row)
