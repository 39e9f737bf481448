"""`Idempotency-Key`: the same request again gets the first answer, byte for byte.

The key is stored in the transaction of the effect, so there is no moment at which one
exists without the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pydantic import BaseModel
from sqlalchemy import Connection, insert, select

from serving.errors import KeyReusedError
from serving.store.tables import idempotency, idempotency_customers


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's JSON, and whether it is a repetition."""

    body: str
    replayed: bool = False


def fingerprint(request: BaseModel | Sequence[BaseModel]) -> str:
    """What makes two requests the same: their content."""
    many = [request] if isinstance(request, BaseModel) else request
    content = [item.model_dump(mode="json", exclude_unset=True) for item in many]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def earlier(connection: Connection, route: str, key: str, content: str) -> Reply | None:
    """The answer given to this key before; `KeyReusedError` when the request was another."""
    row = connection.execute(
        select(idempotency).where(idempotency.c.route == route, idempotency.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != content:
        raise KeyReusedError("Idempotency-Key was used for another request", hint="send a new key")
    return Reply(row.body, replayed=True)


def remember(
    connection: Connection,
    route: str,
    key: str,
    content: str,
    body: str,
    customers: Iterable[str],
    now_us: int,
) -> None:
    """Keep an answer under its key, and whose data it repeats."""
    connection.execute(
        insert(idempotency).values(route=route, key=key, fingerprint=content, body=body, created_us=now_us)
    )
    for customer in sorted(set(customers)):
        connection.execute(insert(idempotency_customers).values(route=route, key=key, customer_id=customer))
