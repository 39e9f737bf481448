"""Next steps for a table of customers: the same decision as online, many at a time.

State comes from an event log where one is given; a customer without events stands where a
new one does, or where `stage` and `consent_<channel>` columns say. Logs nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from envs.errors import LogError
from envs.files.log import events_of, read_log, read_table
from envs.scenario.assignment import assign_cluster
from envs.scenario.events import Event
from envs.timeline.occasion import valid_until
from serving.contract.decisions import DecisionRequest
from serving.decide.decider import work_out
from serving.decide.draws import fresh_secret, uniform
from serving.decide.policies import Held
from serving.decide.standing import Evidence

STEP_SCHEMA = pa.schema(
    {
        "customer_id": pa.string(),
        "cluster": pa.string(),
        "action": pa.string(),
        "touchpoint": pa.string(),
        "channel": pa.string(),
        "propensity": pa.float64(),
        "value": pa.float64(),
        "eligible": pa.string(),
        "degraded": pa.bool_(),
        "decided_at": pa.timestamp("us", tz="UTC"),
        "expires_at": pa.timestamp("us", tz="UTC"),
        "policy_name": pa.string(),
        "policy_version": pa.string(),
        "policy_sha256": pa.string(),
    }
)
_AT_ONCE = 10_000


class Step(TypedDict):
    """One customer's next step: a row of `STEP_SCHEMA`."""

    customer_id: str
    cluster: str
    action: str
    touchpoint: str | None  # None: wait
    channel: str | None
    propensity: float
    value: float  # of the action, in objective units
    eligible: str  # legal action keys, separated by |
    degraded: bool
    decided_at: dt.datetime
    expires_at: dt.datetime
    policy_name: str
    policy_version: str
    policy_sha256: str


def read_customers(path: Path) -> list[dict[str, object]]:
    """Rows with a `customer_id`, each customer once."""
    table = read_table(path)
    if "customer_id" not in table.column_names:
        raise LogError(
            "missing column", where=str(path), got=", ".join(table.column_names), expected="customer_id"
        )
    rows: list[dict[str, object]] = table.to_pylist()
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        if row["customer_id"] is None:
            raise LogError("row without a customer", where=f"{path}, row {number}", expected="customer_id")
        row["customer_id"] = customer = str(row["customer_id"])
        if customer in seen:
            raise LogError("customer twice", where=f"{path}, row {number}", got=customer)
        seen.add(customer)
    return rows


def read_events(path: Path | None, moment: dt.datetime) -> dict[str, list[Event]]:
    """Events up to the moment, by customer."""
    events: dict[str, list[Event]] = {}
    for event in () if path is None else events_of(read_log(path)):
        if event.occurred_at <= moment:
            events.setdefault(event.customer_id, []).append(event)
    return events


def score_customers(
    held: Held,
    customers: list[dict[str, object]],
    events: Mapping[str, list[Event]],
    moment: dt.datetime,
    seed: int,
) -> Iterator[Step]:
    """One row of `STEP_SCHEMA` a customer; the draw depends on seed and customer only."""
    secret, request = bytes.fromhex(fresh_secret(seed)), DecisionRequest()
    scenario = held.bundle.scenario
    for row in customers:
        customer = str(row["customer_id"])
        attributes = {name: value for name, value in row.items() if name != "customer_id"}
        cluster = assign_cluster(scenario, attributes)
        stored = events.get(customer) or _stated(held, row, moment)
        u = uniform(secret, "draw", customer)
        worked = work_out(held, cluster, "live", request, moment, Evidence(stored), u)
        journey, choice = held.journey(cluster), worked.choice
        action = journey.actions[choice.action]
        yield {
            "customer_id": customer,
            "cluster": cluster,
            "action": action.key,
            "touchpoint": action.touchpoint or None,
            "channel": action.channel or None,
            "propensity": choice.propensity,
            "value": choice.values[choice.action],
            "eligible": "|".join(journey.actions[n].key for n in choice.legal),
            "degraded": choice.degraded or worked.standing.unreadable > 0,
            "decided_at": moment,
            "expires_at": valid_until(journey, moment, not action.is_wait and not action.service),
            "policy_name": held.name,
            "policy_version": held.version,
            "policy_sha256": held.sha256,
        }


def write_steps(rows: Iterator[Step], out: Path) -> int:
    """Write rows as they come; a failure leaves no half-written file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft, count = out.with_name(f".{out.name}.part"), 0
    try:
        with pq.ParquetWriter(draft, STEP_SCHEMA, compression="zstd") as writer:
            while some := list(islice(rows, _AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(some, schema=STEP_SCHEMA))
                count += len(some)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return count


def _stated(held: Held, row: Mapping[str, object], moment: dt.datetime) -> list[Event]:
    """What the table itself says of a customer without events, as events at the day's start."""
    scenario, customer = held.bundle.scenario, str(row["customer_id"])
    midnight = dt.datetime.combine(held.fold.local_date(moment), dt.time(), tzinfo=held.fold.zone)
    said: list[Event] = []
    stage = row.get("stage")
    if stage is not None:
        if stage not in {s.name for s in scenario.stages}:
            raise LogError("unknown stage", where=customer, got=stage)
        said.append(Event(f"{customer}:stage", customer, midnight, "stage", outcome=str(stage)))
    for channel in scenario.channels:
        granted = row.get(f"consent_{channel.name}")
        if granted in (True, "true", "True", "1", 1):
            event_id = f"{customer}:{channel.name}"
            said.append(Event(event_id, customer, midnight, "opt_in", channel=channel.name))
        elif granted not in (None, False, "false", "False", "0", 0, ""):
            raise LogError(
                "consent is true or false", where=f"{customer}, consent_{channel.name}", got=str(granted)
            )
    return said
