"""An event log as numbers: one customer after another, in the fold's order.

Names become the scenario's numbers, times become local days and seconds; sorting is by
customer, time, kind, event id, as in `customer.order`. Leaves out the fold itself (`replay.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from envs.arrays import Floats, Ints, Mask
from envs.errors import LogError
from envs.scenario.actions import actions_of
from envs.scenario.events import KINDS, Kind
from envs.scenario.schema import Scenario

NONE = -1
QUARTER_US = 900_000_000  # zones change their offset on a quarter of an hour
DAY_SECONDS = 86_400
EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class Columns:
    """N customers, M events; `order` says which row of the log each event was."""

    customers: pa.StringArray  # (N,) ids
    offsets: Ints  # (N + 1,) first event of each customer
    day: Ints  # (M,) int32 local day since 1970-01-01
    second: Ints  # (M,) int32 of that local day
    kind: Ints  # (M,) int8
    touchpoint: Ints  # (M,) int16, -1 none or another system's
    channel: Ints  # (M,) int16
    level: Ints  # (M,) int16 stage or survey level
    action: Ints  # (M,) int16 of contacts and decisions, 0 wait, -1 not one of ours
    value: Floats  # (M,) float64, 0 where absent
    propensity: Floats  # (M,) float64, NaN where absent
    order: Ints  # (M,) int64 row of the log

    @property
    def events(self) -> int:
        """M."""
        return len(self.kind)


def day_number(date: dt.date) -> int:
    """Local day since 1970-01-01."""
    return (date - EPOCH).days


def number_events(log: pa.Table, scenario: Scenario) -> Columns:
    """A table of `LOG_SCHEMA` as sorted numbers; raises `LogError` for an unknown name."""
    customers, who = _codes(log["customer_id"])
    moment = _int64(log["occurred_at"])
    kind = _mapped(log["kind"], {name: int(k) for name, k in KINDS.items()}, "kind", log)
    channels = {c.name: i for i, c in enumerate(scenario.channels)}
    touchpoints = {t.name: i for i, t in enumerate(scenario.touchpoints)}
    channel = _mapped(log["channel"], channels, "channel", log)
    touchpoint = _mapped(log["touchpoint"], touchpoints, None, log)
    level = _levels(log, kind, scenario)
    _require_names(log, kind, channel, level)
    order = _order(who, moment, kind, log["event_id"])
    who, moment = who[order], moment[order]
    day, second = _local(moment, scenario.timezone)
    kind, touchpoint, channel = kind[order], touchpoint[order], channel[order]
    return Columns(
        customers=customers,
        offsets=np.searchsorted(who, np.arange(len(customers) + 1)).astype(np.int64),
        day=day,
        second=second,
        kind=kind.astype(np.int8),
        touchpoint=touchpoint,
        channel=channel,
        level=level[order],
        action=_actions(scenario, kind, touchpoint, channel, _blank(log["touchpoint"])[order]),
        value=_floats(log["value"], 0.0)[order],
        propensity=_floats(log["propensity"], np.nan)[order],
        order=order,
    )


def _codes(column: pa.ChunkedArray) -> tuple[pa.StringArray, Ints]:
    """Distinct customer ids and each row's number among them."""
    flat = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not pa.types.is_dictionary(flat.type):
        flat = pc.dictionary_encode(flat)
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.unify_dictionaries().combine_chunks()
    codes = flat.indices.to_numpy(zero_copy_only=False)
    used = np.zeros(len(flat.dictionary), dtype=bool)
    used[codes] = True
    renumbered = np.cumsum(used) - 1
    return flat.dictionary.filter(pa.array(used)), renumbered[codes].astype(np.int32)


def _indices(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    """Distinct values and each row's number among them, -1 for null."""
    if column.num_chunks == 0:
        return [], np.zeros(0, np.int64)
    chunked = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    flat = chunked.unify_dictionaries().combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.chunk(0)
    return flat.dictionary.to_pylist(), pc.fill_null(flat.indices, NONE).to_numpy(zero_copy_only=False)


def _mapped(column: pa.ChunkedArray, known: dict[str, int], what: str | None, log: pa.Table) -> Ints:
    """Names as numbers (int16); an unknown name is an error where `what` names it, else -1."""
    names, codes = _indices(column)
    table = np.full(len(names) + 1, NONE, dtype=np.int16)  # last entry: null
    for position, name in enumerate(names):
        if name in known:
            table[position] = known[name]
        elif what is not None and name and (codes == position).any():
            row = int(np.flatnonzero(codes == position)[0])
            raise LogError(
                f"unknown {what}", where=_where(log, row), got=name, expected=", ".join(known),
                hint="rename it in the mapping" if what != "kind" else "",
            )  # fmt: skip
    return table[codes]


def _blank(column: pa.ChunkedArray) -> Mask:
    """True where the text is null or empty."""
    names, codes = _indices(column)
    return np.array([not name for name in names] + [True], dtype=bool)[codes]


def _levels(log: pa.Table, kind: Ints, scenario: Scenario) -> Ints:
    """The new stage of a `stage` event, the level of a `survey`; else -1."""
    names, codes = _indices(log["outcome"])
    stages = {s.name: i for i, s in enumerate(scenario.stages)}
    out = np.full(len(kind), NONE, dtype=np.int16)
    staged = kind == int(Kind.STAGE)
    by_name = np.array([stages.get(name, NONE) for name in names] + [NONE], dtype=np.int16)
    out[staged] = by_name[codes[staged]]
    lost = staged & (out < 0) & (codes >= 0)
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise LogError(
            "unknown stage", where=_where(log, row), got=names[codes[row]], expected=", ".join(stages)
        )
    surveyed = np.flatnonzero(kind == int(Kind.SURVEY))
    values = log["value"].combine_chunks()
    for row in surveyed.tolist():
        out[row] = _survey(names[codes[row]] if codes[row] >= 0 else None, values[row].as_py(), log, row)
    return out


def _survey(outcome: str | None, value: float | None, log: pa.Table, row: int) -> int:
    try:
        return int(outcome if outcome is not None else value or 0)
    except ValueError as error:
        raise LogError("survey without a level", where=_where(log, row), got=outcome) from error


def _require_names(log: pa.Table, kind: Ints, channel: Ints, level: Ints) -> None:
    needs = np.isin(kind, [int(k) for k in (Kind.CONTACT, Kind.OPT_IN, Kind.OPT_OUT, Kind.INBOUND)])
    lost = (needs & (channel < 0)) | ((kind == int(Kind.STAGE)) & (level < 0))
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        name = log["kind"][row].as_py()
        expected = "a stage in outcome" if name == "stage" else "a channel"
        raise LogError(f"{name} without its name", where=_where(log, row), expected=expected)


def _where(log: pa.Table, row: int) -> str:
    return f"event {log['event_id'][row].as_py()} (row {row + 1})"


def _order(who: Ints, moment: Ints, kind: Ints, ids: pa.ChunkedArray) -> Ints:
    """Rows by customer, time, kind, then event id; costs nothing where that is so already."""
    same = who[1:] == who[:-1]
    later = (moment[1:] > moment[:-1]) | ((moment[1:] == moment[:-1]) & (kind[1:] >= kind[:-1]))
    if bool(((who[1:] > who[:-1]) | (same & later)).all()):
        order = np.arange(len(who), dtype=np.int64)
    else:
        order = np.lexsort((kind, moment, who)).astype(np.int64)
    a, b = order[:-1], order[1:]
    tied = (who[a] == who[b]) & (moment[a] == moment[b]) & (kind[a] == kind[b])
    if not tied.any():
        return order
    member = np.zeros(len(order), dtype=bool)
    member[1:] |= tied
    member[:-1] |= tied
    spots = np.flatnonzero(member)
    group = np.cumsum(~np.concatenate([[False], tied]))[spots]
    names = ids.take(pa.array(order[spots])).to_numpy(zero_copy_only=False).astype(str)
    order[spots] = order[spots][np.lexsort((names, group))]
    return order


def _local(moment: Ints, zone: str) -> tuple[Ints, Ints]:
    """UTC microseconds → (local day, second of it), by the zone's offset each quarter of an hour."""
    seconds = moment // 1_000_000
    if zone != "UTC":
        quarter = moment // QUARTER_US
        low = int(quarter.min())
        present = np.flatnonzero(np.bincount(quarter - low))
        offsets = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        where = ZoneInfo(zone)
        for q in present.tolist():
            at = dt.datetime.fromtimestamp((low + q) * 900, tz=dt.UTC).astimezone(where)
            offset = at.utcoffset()
            offsets[q] = 0 if offset is None else int(offset.total_seconds())
        seconds = seconds + offsets[quarter - low]
    day = seconds // DAY_SECONDS
    return day.astype(np.int32), (seconds - day * DAY_SECONDS).astype(np.int32)


def _actions(scenario: Scenario, kind: Ints, touchpoint: Ints, channel: Ints, blank: Mask) -> Ints:
    """Action numbers of decisions and contacts; a decision without a touchpoint waited."""
    known = {action.key: i for i, action in enumerate(actions_of(scenario))}
    table = np.full((len(scenario.touchpoints) + 1, len(scenario.channels) + 1), NONE, dtype=np.int16)
    for t, spec in enumerate(scenario.touchpoints):
        for c, name in enumerate(scenario.channels):
            table[t, c] = known.get(f"{spec.name}:{name.name}", NONE)
    out = table[touchpoint, channel]
    out[(kind == int(Kind.DECISION)) & blank & (channel < 0)] = 0
    out[(kind != int(Kind.DECISION)) & (kind != int(Kind.CONTACT))] = NONE
    return out


def _int64(column: pa.ChunkedArray) -> Ints:
    return column.combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)


def _floats(column: pa.ChunkedArray, absent: float) -> Floats:
    return pc.fill_null(column, absent).combine_chunks().to_numpy(zero_copy_only=False)
