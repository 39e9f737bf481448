"""A simulated event log: every decision with its propensity, every outcome at its time.

Columns are built whole, a block of customers at a time, and written as row groups. A day's
decision is at 09:00:00 local, its contact and outcomes follow a second apart in the order of
`Kind`; a request that arrives after the close is stamped 00:00:00 of the next local day. The
start (stage and consent) is written as events at 00:00:00 of the first day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from envs.arrays import Array, Floats, Ints
from envs.day.day import (
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
)
from envs.files.log import ELIGIBLE_SEPARATOR, LOG_SCHEMA, LogWriter
from envs.journey.journey import Journey
from envs.journey.state import COLUMN
from envs.scenario.events import Kind
from envs.simulate.logging_policy import Decider, draw
from envs.simulate.simulator import Simulator
from envs.timeline.columns import NONE

DECISION_HOUR = 9
FIRST_DAY = dt.date(2026, 1, 5)
BLOCK = 5_000  # customers a row group

# columns of an event before it gets names
WHO, DAY, SECOND, KIND, TOUCHPOINT, CHANNEL, OUTCOME, LEGAL = range(8)


@dataclass(frozen=True)
class Span:
    """How much to simulate."""

    customers: int  # a cluster
    days: int
    seed: int
    first_day: dt.date = FIRST_DAY


class _Events:
    """Integer columns of events, gathered day by day."""

    def __init__(self) -> None:
        self._parts: list[Ints] = []
        self._values: list[Floats] = []
        self._chances: list[Floats] = []

    def add(
        self,
        who: Ints,
        day: int,
        second: int,
        kind: Kind,
        value: Floats | None = None,
        propensity: Floats | None = None,
        **columns: Ints | int,
    ) -> None:
        """One kind of event for customers `who`; names are given as numbers."""
        part = np.full((8, len(who)), NONE, dtype=np.int64)
        part[WHO], part[DAY], part[SECOND], part[KIND] = who, day, second, int(kind)
        for position, name in (
            (TOUCHPOINT, "touchpoint"),
            (CHANNEL, "channel"),
            (OUTCOME, "outcome"),
            (LEGAL, "legal"),
        ):
            if name in columns:
                part[position] = columns[name]
        self._parts.append(part)
        absent = np.full(len(who), np.nan)
        self._values.append(absent if value is None else value)
        self._chances.append(absent if propensity is None else propensity)

    def sorted(self) -> tuple[Ints, Floats, Floats]:
        """All columns by customer, day, second, kind."""
        whole = np.concatenate(self._parts, axis=1)
        key = ((whole[WHO] * 4096 + whole[DAY]) * 86_400 + whole[SECOND]) * 16 + whole[KIND]
        order = np.argsort(key, kind="stable")
        return whole[:, order], np.concatenate(self._values)[order], np.concatenate(self._chances)[order]


def write_simulated_log(
    path: Path, journeys: list[tuple[Journey, Decider]], span: Span, label: str
) -> dict[str, int]:
    """Simulate every cluster into one Parquet log and its table of customers; events by kind."""
    counts = np.zeros(len(Kind), dtype=np.int64)
    with LogWriter(path) as writer:
        for number, (journey, decide) in enumerate(journeys):
            for table, kinds in _blocks(journey, decide, span, label, number * span.customers):
                writer.write(table)
                counts += np.bincount(kinds, minlength=len(Kind))
    pq.write_table(_customers([journey for journey, _ in journeys], span), customers_path(path))
    return {kind.name.lower(): int(counts[kind]) for kind in Kind if counts[kind]}


def simulated_log(journey: Journey, decide: Decider, span: Span, label: str) -> pa.Table:
    """The event log of one cluster, in memory."""
    blocks = [table for table, _ in _blocks(journey, decide, span, label, 0)]
    return pa.concat_tables(blocks).unify_dictionaries().combine_chunks()


def _blocks(
    journey: Journey, decide: Decider, span: Span, label: str, before: int
) -> Iterator[tuple[pa.Table, Ints]]:
    """A row group of customers at a time, numbered from `before` on: its log, and its events' kinds."""
    for low in range(0, span.customers, BLOCK):
        size = min(BLOCK, span.customers - low)
        events, values, chances = _simulate(journey, decide, span, before + low, size).sorted()
        yield _table(journey, span, events, values, chances, label), events[KIND]


def customers_path(path: Path) -> Path:
    """The second table's file, beside the log."""
    return path.with_name(f"{path.stem}.customers.parquet")


def _simulate(journey: Journey, decide: Decider, span: Span, first: int, size: int) -> _Events:
    simulator = Simulator(journey, size, span.seed, first)
    events = _Events()
    everybody = np.arange(first, first + size)
    events.add(everybody, 0, 0, Kind.STAGE, outcome=simulator.states[:, COLUMN.stage])
    for channel in range(len(journey.scenario.channels)):
        granted = simulator.states[:, COLUMN.consent] >> channel & 1 == 1
        events.add(everybody[granted], 0, 0, Kind.OPT_IN, channel=channel)
    for day in range(span.days):
        alive = np.flatnonzero(simulator.states[:, COLUMN.stage] != journey.rules.churned)
        if len(alive) == 0:
            break
        _one_day(journey, decide, simulator, alive, span.seed, day, events)
    return events


def _one_day(
    journey: Journey, decide: Decider, simulator: Simulator, alive: Ints, seed: int, day: int, events: _Events
) -> None:
    rules, noon = journey.rules, DECISION_HOUR * 3600
    who = simulator.customers[alive]
    legal = simulator.legal[alive].copy()
    chances = decide(simulator.states[alive], simulator.observations[alive], legal)
    chosen, propensity = np.zeros(len(alive), np.int64), np.zeros(len(alive))
    draw(np.ascontiguousarray(chances), seed, who, np.full(len(alive), day), chosen, propensity)
    opened = np.asarray(rules.open_action)[simulator.states[alive, COLUMN.open_contact]]
    actions = np.zeros(len(simulator.customers), np.int64)
    actions[alive] = chosen
    result = simulator.step(actions)
    outcome, value = result.outcomes[alive], result.values[alive]
    touchpoint, channel = (
        np.asarray(rules.action_touchpoint)[chosen],
        np.asarray(rules.action_channel)[chosen],
    )
    events.add(
        who,
        day,
        noon,
        Kind.DECISION,
        touchpoint=touchpoint,
        channel=channel,
        legal=legal,
        propensity=propensity,
    )
    marketing = (chosen > 0) & (np.asarray(rules.is_service)[touchpoint] == 0)
    answered = np.where(marketing, channel, np.asarray(rules.action_channel)[np.maximum(opened, 0)])

    def happened(kind: Kind, column: int, **columns: Array) -> None:
        hit = outcome[:, column] >= 0
        chosen_columns = {name: array[hit] for name, array in columns.items()}
        events.add(who[hit], day, noon + int(kind), kind, **chosen_columns)

    sent = chosen > 0
    events.add(who[sent], day, noon + 1, Kind.CONTACT, touchpoint=touchpoint[sent], channel=channel[sent])
    happened(Kind.RESPONSE, OUT_RESPONSE, touchpoint=outcome[:, OUT_RESPONSE], channel=answered)
    happened(Kind.OPT_OUT, OUT_OPT_OUT, channel=outcome[:, OUT_OPT_OUT])
    happened(Kind.RESOLUTION, OUT_RESOLUTION, touchpoint=touchpoint, channel=outcome[:, OUT_RESOLUTION])
    happened(Kind.PURCHASE, OUT_PURCHASE, value=value)
    happened(Kind.REDEMPTION, OUT_REDEMPTION, touchpoint=outcome[:, OUT_REDEMPTION])
    happened(Kind.STAGE, OUT_STAGE, outcome=outcome[:, OUT_STAGE])
    asked = outcome[:, OUT_INBOUND] >= 0
    events.add(who[asked], day + 1, 0, Kind.INBOUND, channel=outcome[asked, OUT_INBOUND])


def _table(
    journey: Journey, span: Span, events: Ints, values: Floats, chances: Floats, label: str
) -> pa.Table:
    """Numbers to the log's columns; names are dictionaries, so nothing is written twice."""
    scenario, rows = journey.scenario, events.shape[1]
    kind = events[KIND]
    customer = pc.binary_join_element_wise(journey.cluster.name, _text(events[WHO]), "-")
    position = np.arange(rows) - np.searchsorted(events[WHO], events[WHO])  # in the customer's timeline
    decided = (kind == Kind.DECISION) | (kind == Kind.CONTACT)
    decision = pc.binary_join_element_wise(customer, _text(events[DAY]), ".d")
    nothing = pa.scalar(None, pa.string())
    columns = {
        "event_id": pc.binary_join_element_wise(customer, _text(position), "."),
        "source": _same("simulation", rows),
        "customer_id": pc.dictionary_encode(customer),
        "occurred_at": _moments(span, scenario.timezone, events[DAY], events[SECOND]),
        "kind": _names(kind, [k.name.lower() for k in Kind]),
        "direction": _names(_direction(kind), ["in", "out"]),
        "channel": _names(events[CHANNEL], [c.name for c in scenario.channels]),
        "touchpoint": _names(events[TOUCHPOINT], [t.name for t in scenario.touchpoints]),
        "outcome": _names(events[OUTCOME], [s.name for s in scenario.stages]),
        "value": pa.array(values, from_pandas=True),
        "currency": _names(np.where(kind == Kind.PURCHASE, 0, NONE), [scenario.currency]),
        "decision_id": pc.if_else(pa.array(decided), decision, nothing),
        "propensity": pa.array(chances, from_pandas=True),
        "eligible": _eligible(journey, events[LEGAL]),
        "policy_version": _names(np.where(kind == Kind.DECISION, 0, NONE), [label]),
    }
    arrays = [columns.get(f.name, pa.nulls(rows, f.type)) for f in LOG_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LOG_SCHEMA)


def _text(numbers: Ints) -> pa.StringArray:
    return pa.array(numbers).cast(pa.string())


def _same(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([text]))


def _names(numbers: Ints, names: list[str]) -> pa.DictionaryArray:
    """Numbers as dictionary-coded names; -1 is null."""
    codes = pa.array(numbers.astype(np.int32), mask=numbers < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))


def _direction(kind: Ints) -> Ints:
    inward = np.isin(kind, [Kind.RESPONSE, Kind.OPT_OUT, Kind.INBOUND, Kind.OPT_IN, Kind.PURCHASE])
    return np.where(kind == Kind.CONTACT, 1, np.where(inward, 0, NONE))


def _eligible(journey: Journey, legal: Ints) -> pa.DictionaryArray:
    """Legal action keys of decisions; -1 is null."""
    sets, codes = np.unique(legal, return_inverse=True)
    keys = [action.key for action in journey.actions]
    names = [
        ELIGIBLE_SEPARATOR.join(k for a, k in enumerate(keys) if bits >> a & 1) for bits in sets.tolist()
    ]
    return _names(
        np.where(legal >= 0, codes, NONE),
        ["" if bits < 0 else n for bits, n in zip(sets, names, strict=True)],
    )


def _moments(span: Span, zone: str, day: Ints, second: Ints) -> pa.TimestampArray:
    """UTC times of local days and seconds; the zone's offset is taken once a day and clock hour."""
    hours = second // 3600
    pairs, codes = np.unique(day * 24 + hours, return_inverse=True)
    starts = []
    for pair in pairs.tolist():
        date = span.first_day + dt.timedelta(days=pair // 24)
        local = dt.datetime.combine(date, dt.time(pair % 24), ZoneInfo(zone))
        starts.append(int(local.timestamp()) * 1_000_000)
    moments = np.array(starts, dtype=np.int64)[codes] + (second - hours * 3600) * 1_000_000
    return pa.array(moments).cast(pa.timestamp("us", tz="UTC"))


def _customers(journeys: list[Journey], span: Span) -> pa.Table:
    """customer_id and the cluster, under the name by which the scenario assigns clusters."""
    ids, clusters = [], []
    for number, journey in enumerate(journeys):
        who = np.arange(number * span.customers, (number + 1) * span.customers)
        ids.append(pc.binary_join_element_wise(journey.cluster.name, _text(who), "-"))
        clusters.append(_same(journey.cluster.name, span.customers).cast(pa.string()))
    column = journeys[0].scenario.assignment.column or "cluster"
    return pa.table({"customer_id": pa.concat_arrays(ids), column: pa.concat_arrays(clusters)})
