"""A mapping: how a raw log becomes the event log, and what the log itself cannot say.

States columns, time zone, currency, identity, refunds, initial consent with its legal basis,
decision opportunities, clusters, and the scenario whose behaviour is estimated. The small
vocabulary (column, constant, table, concat, values) has no expressions; it is applied by
`raw_log.py`. Leaves out all estimation (`training/fit`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from envs.errors import ConfigError
from envs.files.document import Document, did_you_mean, read_document
from envs.files.scenario_file import load_scenario, parse_scenario
from envs.files.schema_errors import validated
from envs.scenario.events import KINDS, LOG_COLUMNS
from envs.scenario.schema import Name, Rate, Scenario, Strict

Scalar = str | int | float | bool


class Value(Strict):
    """Where a column's values come from: one source, then `as` and `values`.

    `column` copies a raw column; `constant` is the same for every row; `table` with `key`
    and `take` looks up a declared table; `concat` joins the parts that are not empty.
    """

    column: str | None = None
    constant: Scalar | None = None
    table: str | None = None
    key: Value | str | None = None  # plain text names a column
    take: str | None = None
    concat: list[Value | str] | None = None
    separator: str = "_"
    as_: Annotated[Literal["text", "integer", "lower"], Field(alias="as")] = "text"  # "4.0" → "4"
    values: dict[str, Scalar | None] | None = None  # renames; null drops the value
    default: Scalar | None = None  # for a value that `values` does not name; absent: kept


class Table(Strict):
    """A small table to look values up in, with columns of its own derived first."""

    file: str  # beside the log, else beside the mapping
    key: str  # column
    key_as: Literal["text", "integer", "lower"] = "text"
    derive: dict[str, Value] = {}


class Time(Strict):
    """How a raw time is written. Without `zone`, a time without an offset is an error."""

    column: str = "occurred_at"
    format: str = "iso"  # iso, epoch_s, epoch_ms, hours_since, days_since, or a strptime pattern
    origin: dt.datetime | None = None  # of hours_since and days_since, wall clock of `zone`
    zone: str | None = None


class EventRule(Strict):
    """Raw rows that match become one event each; a row may match several rules."""

    file: str = "*"  # pattern of file names
    when: dict[str, Scalar | list[Scalar]] = {}
    present: list[str] = []  # columns that must not be empty
    kind: str | Value
    time: Time | None = None  # default: the mapping's
    columns: dict[str, Value | str] = {}  # log column → source; plain text names a raw column


class Attribute(Strict):
    """A customer attribute as a number or a category, known before the first modelled day.

    A category becomes a number with `equals` (1 where the raw value is that one).
    """

    column: str
    kind: Literal["number", "category", "year"] = "number"
    format: str = "%Y%m%d"  # of `year`
    equals: Scalar | None = None
    missing: list[Scalar] = []  # raw values that mean: absent


class Customers(Strict):
    """The second table: one row a customer."""

    file: str
    id: str = "customer_id"
    as_of: str | None = None  # column with the day a row was known; later rows count as absent
    attributes: dict[Name, Attribute] = {}


class Consent(Strict):
    """Consent to a channel before the log's first event, and on what legal basis."""

    state: Literal["granted", "denied", "column"] = "denied"
    column: str | None = None  # of the customers' table: 1, true, yes or granted
    legal_basis: str = ""


class Decisions(Strict):
    """When a decision was made and with what probability.

    `log`: the log has decision rows. `contacts`: a contact is a decision, a day without one
    waited. `calendar`: a decision a customer on each of the scenario's calendar days; rows
    are written for them. `at` is the moment of a day that the log does not state.
    """

    source: Literal["log", "contacts", "calendar"] = "log"
    at: dt.time = dt.time(9, 0)
    propensity: dict[str, Annotated[float, Field(gt=0.0, le=1.0)]] = {}  # action key, or `*`


class Window(Strict):
    """The modelled days, in local time. Features and attributes come from before them."""

    first_day: dt.date | None = None
    last_day: dt.date | None = None
    start: Literal["first_event", "window"] = "first_event"  # window: everybody starts on first_day


class Find(Strict):
    """Clusters found by k-means on standardised attributes, k chosen by held-out likelihood."""

    attributes: list[Name] = Field(min_length=1)
    k: list[Annotated[int, Field(ge=1, le=24)]] = Field(default=[1, 2, 3, 4], min_length=1)


class Clusters(Strict):
    """Who belongs together: a column that says so, or attributes to find out from."""

    column: str | None = None
    find: Find | None = None
    default: Name | None = None  # customers without usable attributes; default: a cluster of their own


class Identity(Strict):
    """A merge table: rows of one person under several ids."""

    file: str
    from_column: str = "from_id"
    to_column: str = "customer_id"


class Estimation(Strict):
    """What is chosen by held-out likelihood, and on whom."""

    held_out: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2  # share of customers
    grid: dict[str, list[int]] = {}  # `memory.engagement.points: [2, 3]`, `channels.email.fatigue_points`
    seed: int = 0


class Mapping(Strict):
    """The whole mapping file."""

    name: Name
    description: str = ""
    timezone: str = "UTC"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    scenario: str | dict[str, Any]  # a scenario file beside the mapping, or a skeleton
    layout: Literal["event_log", "raw"] = "event_log"
    customer: Value | str = "customer_id"
    time: Time = Time()
    tables: dict[Name, Table] = {}
    events: list[EventRule] = []
    customers: Customers | None = None
    identity: Identity | None = None
    refund: Literal["subtract", "ignore"] = "subtract"  # a purchase below 0
    initial_consent: dict[Name, Consent] = {}
    initial_stage: Value | None = None  # of the customers' table; default: the scenario's new customer
    decisions: Decisions = Decisions()
    window: Window = Window()
    clusters: Clusters = Clusters()
    not_observed: list[Literal["opt_out", "response", "resolution", "purchase", "stage", "inbound"]] = []
    estimation: Estimation = Estimation()
    max_share: Rate = 0.05  # of rows, of each fault that `check` counts


@dataclass(frozen=True)
class LoadedMapping:
    """A mapping with where it came from and the scenario it fills."""

    mapping: Mapping
    folder: Path
    scenario: Scenario


def load_mapping(path: Path) -> LoadedMapping:
    """Read and check a mapping; raises `ConfigError` with key, file and line."""
    document = read_document(path, ConfigError)
    mapping = validated(Mapping, document, ConfigError)
    fail = partial(_fail, str(path))
    _check_events(mapping, fail)
    _check_zones(mapping, fail)
    scenario = _scenario(mapping, path)
    _check_against(mapping, scenario, fail)
    return LoadedMapping(mapping=mapping, folder=path.parent, scenario=scenario)


def _fail(where: str, what: str, got: object = None, expected: str = "", hint: str = "") -> ConfigError:
    return ConfigError(what, where=where, got=got, expected=expected, hint=hint)


def _scenario(mapping: Mapping, path: Path) -> Scenario:
    if isinstance(mapping.scenario, str):
        return load_scenario(path.parent / mapping.scenario)
    stated = {"timezone": mapping.timezone, "currency": mapping.currency, "name": mapping.name}
    return complete_skeleton(stated | mapping.scenario, str(path))


def complete_skeleton(skeleton: dict[str, Any], where: str) -> Scenario:
    """A scenario without behaviour, given a placeholder one for `fit` to replace."""
    data = dict(skeleton)
    stages = data.get("stages") or [{}]
    first = stages[0].get("name", "") if isinstance(stages[0], dict) else ""
    data.setdefault("new_customer", {"stage": first})
    data.setdefault("assignment", {"default": "everyone"})
    if "clusters" not in data:
        data["clusters"] = [{"name": "everyone", "share": 1.0}]
        data.setdefault("start", {"stages": {first: 1.0}})
        data.setdefault("behavior", _placeholder(data))
    return parse_scenario(Document(data, where))


def _placeholder(data: dict[str, Any]) -> dict[str, Any]:
    """Small rates everywhere, so that every stage can be reached before anything is known."""
    names = [s["name"] for s in data.get("stages", []) if isinstance(s, dict) and "name" in s]
    channels = [c["name"] for c in data.get("channels", []) if isinstance(c, dict) and "name" in c]
    small = dict.fromkeys(names[:-1], 0.01)
    return {
        "response": {"rate": dict.fromkeys(channels, 0.05)},
        "purchase": {"rate": small},
        "churn": {"rate": small},
        "advance": {"rate": {s["name"]: 0.01 for s in data.get("stages", []) if s.get("advance_to")}},
        "lapse": {"rate": {s["name"]: 0.01 for s in data.get("stages", []) if s.get("lapse_to")}},
    }


def _check_events(mapping: Mapping, fail: Callable[..., ConfigError]) -> None:
    if mapping.layout == "raw" and not mapping.events:
        raise fail("events: missing", expected="at least one rule for a raw log")
    if mapping.layout == "event_log" and mapping.events:
        raise fail("events: an event log needs no rules", hint="set layout: raw")
    for number, rule in enumerate(mapping.events):
        if isinstance(rule.kind, str) and rule.kind not in KINDS:
            advice = did_you_mean(rule.kind, list(KINDS))
            raise fail(f"events[{number}].kind: unknown kind", got=rule.kind, hint=advice)
        for column in rule.columns:
            if column not in LOG_COLUMNS:
                advice = did_you_mean(column, list(LOG_COLUMNS))
                raise fail(f"events[{number}].columns: unknown log column", got=column, hint=advice)
        for column, value in rule.columns.items():
            _check_value(value, f"events[{number}].columns.{column}", mapping, fail)
    _check_value(mapping.customer, "customer", mapping, fail)


def _check_value(
    value: Value | str | None, key: str, mapping: Mapping, fail: Callable[..., ConfigError]
) -> None:
    if not isinstance(value, Value):
        return
    sources = [n for n in ("column", "constant", "table", "concat") if getattr(value, n) is not None]
    if len(sources) != 1:
        raise fail(key, expected="one of column, constant, table, concat", got=", ".join(sources) or "none")
    if value.table is not None:
        if value.table not in mapping.tables:
            raise fail(f"{key}.table: unknown table", got=value.table, expected=", ".join(mapping.tables))
        if value.key is None or value.take is None:
            raise fail(f"{key}: a lookup needs key and take")
        _check_value(value.key, f"{key}.key", mapping, fail)
    for number, part in enumerate(value.concat or []):
        _check_value(part, f"{key}.concat[{number}]", mapping, fail)


def _check_zones(mapping: Mapping, fail: Callable[..., ConfigError]) -> None:
    times = [mapping.time, *(rule.time for rule in mapping.events if rule.time)]
    for zone in (mapping.timezone, *(time.zone for time in times if time.zone)):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise fail("unknown zone", got=zone, expected="a name such as Europe/Berlin") from error
    for time in times:
        if time.format in ("hours_since", "days_since") and time.origin is None:
            raise fail("time.origin: missing", expected=f"the moment that {time.format} counts from")


def _check_against(mapping: Mapping, scenario: Scenario, fail: Callable[..., ConfigError]) -> None:
    """Names in the mapping that the scenario must have."""
    channels = [c.name for c in scenario.channels]
    for channel, consent in mapping.initial_consent.items():
        if channel not in channels:
            raise fail("initial_consent: unknown channel", got=channel, hint=did_you_mean(channel, channels))
        if consent.state != "denied" and not consent.legal_basis:
            raise fail(f"initial_consent.{channel}.legal_basis: missing", expected="why contact was allowed")
        if (consent.state == "column") != (consent.column is not None):
            raise fail(f"initial_consent.{channel}", expected="state: column together with column: NAME")
    if mapping.timezone != scenario.timezone:
        raise fail("timezone differs from the scenario's", got=mapping.timezone, expected=scenario.timezone)
    if mapping.currency != scenario.currency:
        raise fail("currency differs from the scenario's", got=mapping.currency, expected=scenario.currency)
    calendar = scenario.memory.opportunities.every == "calendar"
    if mapping.decisions.source == "calendar" and not calendar:
        raise fail(
            "decisions.source: calendar", expected="memory.opportunities.every: calendar in the scenario"
        )
    if mapping.window.start == "window" and mapping.window.first_day is None:
        raise fail("window.first_day: missing", expected="the day on which everybody starts")
    if mapping.clusters.column and mapping.clusters.find:
        raise fail("clusters", expected="column or find, not both")
    known = set(mapping.customers.attributes) if mapping.customers else set()
    wanted = mapping.clusters.find.attributes if mapping.clusters.find else []
    for name in (*wanted, *([mapping.clusters.column] if mapping.clusters.column else [])):
        if name not in known:
            raise fail(
                "clusters: unknown attribute",
                got=name,
                expected=", ".join(sorted(known)) or "customers.attributes",
            )
    _check_grid(mapping, scenario, fail)


GRID_KEYS = ("memory.engagement.points", "memory.engagement.capacity", "memory.fatigue_capacity",
             "memory.goodwill.capacity", "memory.goodwill.neutral", "memory.inbox.patience_days")  # fmt: skip


def _check_grid(mapping: Mapping, scenario: Scenario, fail: Callable[..., ConfigError]) -> None:
    keys = [*GRID_KEYS, *(f"channels.{c.name}.fatigue_points" for c in scenario.channels),
            *(f"touchpoints.{t.name}.offer_days" for t in scenario.touchpoints)]  # fmt: skip
    for key, values in mapping.estimation.grid.items():
        if key not in keys:
            raise fail("estimation.grid: unknown fold constant", got=key, hint=did_you_mean(key, keys))
        if not values:
            raise fail(f"estimation.grid.{key}: empty", expected="at least one value")
