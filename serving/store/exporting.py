"""The store as an event log: decisions with their propensities, and what followed.

This closes the loop: `fit` and `evaluate` read what the service did. Identities that were
joined appear under their main one; what was taken back is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, select

from envs.errors import LogError
from envs.files.log import LogWriter, log_of
from envs.scenario.events import Event
from serving.store.ledger import attributes_of, root_of, to_event
from serving.store.tables import customers, events

_AT_ONCE = 20_000


def write_exported_log(connection: Connection, out: Path) -> tuple[int, int]:
    """Write the log and, beside it, the table of customers; returns (events, customers)."""
    draft = out.with_name(f".{out.name}.part")
    try:
        with LogWriter(draft) as writer:
            for some in _blocks(connection):
                writer.write(log_of(some))
        if writer.rows == 0:
            raise LogError("the store holds no events", where=out.name)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    people = _customers(connection)
    pq.write_table(people, out.with_name(f"{out.stem}.customers.parquet"))
    return writer.rows, people.num_rows


def _blocks(connection: Connection) -> Iterator[list[Event]]:
    """Standing events by customer and time, a block at a time."""
    roots: dict[str, str] = {}
    query = select(events).where(events.c.retracted_seq.is_(None))
    query = query.order_by(events.c.customer_id, events.c.occurred_us, events.c.seq)
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(query)
    for part in rows.partitions():
        block = []
        for row in part:
            event = to_event(row)
            if event.customer_id not in roots:
                roots[event.customer_id] = root_of(connection, event.customer_id)
            block.append(replace(event, customer_id=roots[event.customer_id]))
        yield block


def _customers(connection: Connection) -> pa.Table:
    """customer_id and every attribute anybody has, absent ones null; mixed types become text."""
    found = {}
    for customer_id in connection.scalars(select(customers.c.customer_id)):
        if root_of(connection, customer_id) == customer_id:
            found[customer_id] = attributes_of(connection, customer_id)
    names = sorted({name for attributes in found.values() for name in attributes} - {"customer_id"})
    columns = {"customer_id": pa.array(list(found))}
    for name in names:
        values = [attributes.get(name) for attributes in found.values()]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if value is None else str(value) for value in values])
    return pa.table(columns)
