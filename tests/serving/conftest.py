"""A server over the hand-checkable scenario's exact policy, on a store of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from envs.policy.policy import Bundle, load_bundle
from envs.scenario.schema import Scenario
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.planned import write_planned_bundle

MONDAY = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)  # 09:00 in Berlin

CHANNELS = ("email", "phone")

Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def bundle_path(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exact policy of `tiny`, with a tenth of exploration."""
    return write_planned_bundle(tmp_path_factory.mktemp("bundle") / "tiny", tiny)


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    """The same, loaded."""
    return load_bundle(bundle_path)


@pytest.fixture
def serve(bundle: Bundle, tmp_path: Path) -> Iterator[Serve]:
    """Start servers; each call with the same `store` name continues that store."""
    with ExitStack() as stack:

        def start(*more: Bundle, store: str = "journey.db", **settings: Any) -> TestClient:
            url = f"sqlite:///{tmp_path / store}"
            app = create_app([bundle, *more], Settings(**{"store": url, "seed": 7, **settings}))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A server on a fresh store."""
    return serve()


def at(hours: float = 0.0, days: int = 0) -> str:
    """An ISO time `days` and `hours` after Monday 09:00 in Berlin."""
    return (MONDAY + dt.timedelta(days=days, hours=hours)).isoformat()


def event(kind: str, when: str, number: int = 0, customer: str = "c-1", **fields: Any) -> dict[str, Any]:
    """An event in the service's own form; its id names it."""
    return {
        "event_id": f"{customer}-{kind}-{fields.get('channel')}-{when}-{number}",
        "source": "test",
        "customer_id": customer,
        "occurred_at": when,
        "kind": kind,
        **fields,
    }


def post_events(client: TestClient, *events: dict[str, Any]) -> dict[str, Any]:
    """Post events that must be accepted."""
    answer = client.post("/v1/events", json=list(events))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def decide(client: TestClient, customer: str = "c-1", **fields: Any) -> dict[str, Any]:
    """Ask for a decision that must be given."""
    answer = client.post("/v1/decisions", json={"customer_id": customer, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def opt_in(client: TestClient, customer: str = "c-1", channels: tuple[str, ...] = CHANNELS) -> None:
    """A week before Monday."""
    post_events(client, *(event("opt_in", at(days=-7), customer=customer, channel=c) for c in channels))


def rules(made: dict[str, Any]) -> dict[str, str]:
    """Blocking rule by action key."""
    return {f"{b['touchpoint']}:{b['channel']}": b["rule"] for b in made["blocked"]}


def eligible(client: TestClient, made: dict[str, Any]) -> set[str]:
    """Legal action keys of a logged decision."""
    return set(client.get(f"/v1/decisions/{made['decision_id']}").json()["eligible"])


def contacted(client: TestClient, day: int = 0, customer: str = "c-1", **fields: Any) -> dict[str, Any]:
    """The first decision from `day` on that is a contact."""
    for later in range(day, day + 40):
        made = decide(client, customer, as_of=at(days=later), **fields)
        if made["next_step"]["action"] == "contact":
            return made
    raise AssertionError("forty days without a contact")
