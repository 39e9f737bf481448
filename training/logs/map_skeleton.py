"""A first draft of a mapping: what the columns of a raw log look like, as commented YAML.

Guesses customer, time and event columns by name and content, lists the values that tell events
apart, and leaves what a log cannot say (consent, legal basis, scenario) for a person to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from envs.errors import LogError
from envs.files.log import REQUIRED, read_table
from envs.scenario.events import KINDS

HINTS = {
    "customer": ("customer_id", "customer", "cust", "user_id", "user", "client", "mql_id", "person", "id"),
    "time": ("occurred_at", "timestamp", "time", "date", "first_contact_date", "created_at", "won_date"),
    "event": ("kind", "event", "event_type", "type", "action"),
    "channel": ("channel", "medium", "origin", "source"),
    "touchpoint": ("touchpoint", "campaign", "offer", "message", "template", "content"),
    "value": ("value", "amount", "revenue", "spend", "price"),
}
KIND_WORDS = {
    "contact": ("sent", "send", "received", "delivered", "contact", "impression", "call"),
    "response": ("view", "viewed", "open", "opened", "click", "clicked", "response", "visit"),
    "opt_out": ("unsub", "unsubscribe", "opt_out", "optout"),
    "opt_in": ("subscribe", "opt_in", "optin", "consent"),
    "redemption": ("completed", "redeem", "redeemed", "redemption", "used"),
    "purchase": ("transaction", "purchase", "order", "buy", "bought", "sale", "won"),
    "inbound": ("inbound", "ticket", "request", "complaint", "enquiry"),
    "resolution": ("resolved", "resolution", "closed"),
    "stage": ("stage", "status"),
    "survey": ("survey", "nps", "csat"),
}
MOST_VALUES = 20


def skeleton(paths: Sequence[Path]) -> tuple[str, dict[str, str | None]]:
    """The YAML text, and the column guessed for each role."""
    tables = [(path, read_table(path)) for path in paths]
    for path, table in tables:
        if table.num_rows == 0:
            raise LogError("empty log", where=str(path), expected="at least one event")
    first = tables[0][1]
    if all(name in first.column_names for name in REQUIRED):
        return _own_layout(paths), {name: name for name in REQUIRED}
    guessed = {role: _guess(first, role) for role in HINTS}
    return _raw_layout(tables, guessed), guessed


def _guess(table: pa.Table, role: str) -> str | None:
    """The column of a role: by its name, the best hint first."""
    names: dict[str, str] = {name.lower(): name for name in table.column_names}
    for hint in HINTS[role]:
        if hint in names:
            return names[hint]
    return next((n for low, n in names.items() if any(hint in low for hint in HINTS[role][:3])), None)


def _head(name: str, layout: str) -> list[str]:
    return [
        "# A mapping: how this log becomes an event log, and what the log cannot say.",
        "# Lines marked TODO need a person. Then: journey check LOG --mapping THIS_FILE",
        f"name: {name}",
        "timezone: UTC  # TODO the customers' local zone, such as Europe/Berlin; days are cut there",
        "currency: EUR  # TODO",
        "scenario: scenario.yaml  # TODO a scenario beside this file; fit keeps its structure, not its rates",
        f"layout: {layout}",
    ]


def _tail() -> list[str]:
    return [
        "",
        "refund: subtract  # a purchase below 0 is taken off the last purchase; or: ignore",
        "",
        "# Consent before the first event, a channel, and why contact was allowed.",
        "# Without a line a channel is denied until an opt_in event.",
        "initial_consent: {}",
        "#  email: {state: granted, legal_basis: TODO}",
        "#  sms: {state: column, column: sms_opt_in, legal_basis: TODO}",
        "",
        "decisions:",
        "  source: contacts  # log: decision rows; contacts: a contact is one; calendar: the scenario's days",
        '  at: "09:00"  # when a day without a contact is taken to have been decided',
        '#  propensity: {wait: 0.25, "*": 0.075}  # only where contacts were drawn at random',
        "",
        "# customers:  # one row a customer, known before the first modelled day",
        "#   file: customers.csv",
        "#   id: customer_id",
        "#   attributes:",
        "#     income: {column: income}",
        "#     segment: {column: segment, kind: category}",
        "# clusters: {column: segment}  # or: find: {attributes: [income], k: [1, 2, 3, 4]}",
        "",
        "not_observed: []  # such as [opt_out]: then its probability is 0",
        "estimation:",
        "  held_out: 0.2",
        "  grid: {}  # such as memory.engagement.points: [2, 3], chosen by held-out likelihood",
        "max_share: 0.05  # of rows, of each fault; above it fit refuses",
        "",
    ]


def _own_layout(paths: Sequence[Path]) -> str:
    return "\n".join([*_head(_name(paths[0]), "event_log"), *_tail()])


def _name(path: Path) -> str:
    stem = path.name.split(".")[0].lower()
    cleaned = "".join(c if c.isalnum() else "_" for c in stem)
    return cleaned if cleaned[:1].isalpha() else f"log_{cleaned}"


def _raw_layout(tables: list[tuple[Path, pa.Table]], guessed: dict[str, str | None]) -> str:
    path, table = tables[0]
    lines = _head(_name(path), "raw")
    for where, columns in tables:
        lines += ["", f"# {where.name}: {columns.num_rows:,} rows"]
        lines += [f"#   {name}: {_described(columns[name])}" for name in columns.column_names]
    lines += ["", f"customer: {guessed['customer'] or 'TODO'}", _time_line(table, guessed["time"])]
    lines += ["", "events:  # one rule a kind; a row that matches none is left out and counted"]
    lines += _rules(table, guessed)
    return "\n".join([*lines, *_tail()])


def _described(column: pa.ChunkedArray) -> str:
    distinct = pc.count_distinct(column).as_py()
    some = pc.unique(column.slice(0, 10_000)).to_pylist()[:4]
    empty = f", {column.null_count:,} empty" if column.null_count else ""
    return f"{distinct:,} different{empty}, such as {', '.join(map(repr, some))}"


def _time_line(table: pa.Table, column: str | None) -> str:
    if column is None:
        return "time: {column: TODO, format: iso, zone: UTC}  # TODO"
    sample = next((v for v in table[column].slice(0, 100).to_pylist() if v is not None), "")
    text = str(sample)
    if text.replace(".", "", 1).isdigit():
        form = "epoch_s" if float(text) > 1e8 else "hours_since, origin: 2026-01-01T00:00:00"
        return f"time: {{column: {column}, format: {form}, zone: UTC}}  # TODO is {text} that?"
    if len(text) > 5 and text[2:3] in "-/.":
        pattern = text[2].join(["%d", "%m", "%Y"]) + (" %H:%M" if ":" in text else "")
        return f'time: {{column: {column}, format: "{pattern}", zone: UTC}}  # TODO check day and month'
    return f"time: {{column: {column}, format: iso, zone: UTC}}  # TODO drop zone where times carry an offset"


def _rules(table: pa.Table, guessed: dict[str, str | None]) -> list[str]:
    columns = {role: guessed[role] for role in ("channel", "touchpoint") if guessed[role]}
    event = guessed["event"]
    values = pc.unique(table[event]).drop_null().to_pylist() if event else []
    if not values or len(values) > MOST_VALUES:
        text = ", ".join(f"{role}: {name}" for role, name in columns.items())
        return [f"  - {{kind: contact, columns: {{{text}}}}}  # TODO which rows are which kind"]
    out = []
    for value in values:
        kind = _kind(str(value))
        used = dict(columns)
        if kind == "purchase":
            used = {"value": guessed["value"]} if guessed["value"] else {}
        text = ", ".join(f"{role}: {name}" for role, name in used.items())
        written = yaml.safe_dump(str(value), default_flow_style=True).splitlines()[0]
        when = f"when: {{{event}: {written}}}"
        tail = "" if kind else f"  # TODO one of {', '.join(k for k in KINDS if k != 'decision')}"
        out.append(f"  - {{{when}, kind: {kind or 'contact'}, columns: {{{text}}}}}{tail}")
    return out


def _kind(value: str) -> str | None:
    low = value.lower().replace("-", "_").replace(" ", "_")
    return next((k for k, words in KIND_WORDS.items() if low == k or any(w in low for w in words)), None)
