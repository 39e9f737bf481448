"""Whatever arrives, the answer is a problem of RFC 9457 and never a 500."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import Serve, at

JSON = {"content-type": "application/json"}
PROBLEM = {"type", "title", "status", "detail", "instance"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"customer_id": "c", "attributes": {"x": NaN}}',
        b'{"customer_id": "c", "attributes": {"x": Infinity}}',
        b'{"customer_id": "c", "attributes": {"x": 1e999}}',
        b'{"customer_id": "\\ud800"}',
        b'{"customer_id": "c", "attributes": {"\\udfff": 1}}',
        b'{"customer_id": "c", "exclude": ["\\u0000"]}',
        b'{"customer_id": "\xff"}',
        b"[" * 100_000,
        b"{",
        b"",
        b"null",
        b"7",
        b'"text"',
        b'{"customer_id": "c", "attributes": {"x": ' + b"9" * 5_000 + b"}}",
        b'{"customer_id": "c", "attributes": {"x": {"nested": 1}}}',
        b'{"customer_id": "c", "attributs": {}}',
        b'{"customer_id": 7}',
        b'{"customer_id": ".."}',
        b'{"customer_id": "c", "as_of": "yesterday"}',
        b'{"customer_id": "c", "as_of": "9999-12-31T23:59:59-23:00"}',
        b'{"customer_id": "c", "defer_activation": "yes"}',
        b'{"customer_id": "c", "timeline": [{"kind": "purchase"}]}',
        b'{"customer_id": "c", "policy": "another"}',
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_a_problem(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/decisions", content=body, headers=JSON)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) - {"errors"} == PROBLEM
    assert problem["status"] == answer.status_code
    assert problem["instance"] == "/v1/decisions"


def test_a_problem_never_repeats_what_was_sent(client: TestClient) -> None:
    answer = client.post("/v1/decisions", json={"customer_id": "c", "attributes": {"x": ["0049 170 1234"]}})
    assert answer.status_code == 422
    assert "1234" not in answer.text


def test_a_body_that_is_too_large_is_refused(serve: Serve) -> None:
    client = serve(max_body_bytes=2_000)
    answer = client.post("/v1/events", content=b" " * 3_000, headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_too_large_without_a_declared_length_is_refused(serve: Serve) -> None:
    client = serve(max_body_bytes=2_000)
    answer = client.post("/v1/events", content=(b" " * 500 for _ in range(10)), headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/v1/nothing", 404),
        ("get", "/v1/decisions/unknown", 404),
        ("post", "/v1/decisions/unknown/replay", 404),
        ("patch", "/v1/events", 405),
        ("get", "/v1/clusters/nobody/path", 404),
        ("get", "/v1/clusters/keen/path?objective=fame", 404),
        ("post", "/v1/policies/another/activate", 404),
        ("get", "/v1/customers/c/timeline?limit=0", 422),
        ("get", "/v1/customers/c/timeline?limit=many", 422),
        ("get", "/v1/customers/c/state?as_of=today", 422),
        ("delete", "/v1/customers/c", 404),
        ("put", "/v1/customers/c/consents/email", 422),
    ],
)
def test_every_other_error_is_a_problem_as_well(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(client: TestClient, key: str) -> None:
    headers = {"Idempotency-Key": key}
    assert client.post("/v1/decisions", json={"customer_id": "c"}, headers=headers).status_code == 422


def test_a_body_without_a_json_content_type_is_refused(client: TestClient) -> None:
    answer = client.post(
        "/v1/decisions", content=b'{"customer_id": "c"}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422


def test_a_timeline_beyond_its_limit_is_refused(client: TestClient) -> None:
    item = {"kind": "purchase", "occurred_at": at()}
    answer = client.post("/v1/decisions", json={"timeline": [item] * 5_001})
    assert answer.status_code == 422


def test_a_sender_that_stalls_gets_a_408_and_not_a_socket_for_ever(serve: Serve) -> None:
    app: Any = serve(receive_timeout_s=0.05).app
    sent: list[Any] = []

    async def stalled() -> Any:
        if sent_body := not arrived:
            arrived.append(True)
            return {"type": "http.request", "body": b'{"customer', "more_body": sent_body}
        await asyncio.sleep(60)
        raise AssertionError("the service waited for ever")

    async def send(message: Any) -> None:
        sent.append(message)

    arrived: list[bool] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/decisions",
        "raw_path": b"/v1/decisions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, stalled, send))
    assert sent[0]["status"] == 408
    assert (b"content-type", b"application/problem+json") in sent[0]["headers"]


def test_a_store_that_fails_is_a_503_and_nothing_is_recorded(client: TestClient, tmp_path: Any) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "journey.db") as connection:
        connection.execute("ALTER TABLE decisions RENAME TO gone")
    answer = client.post("/v1/decisions", json={"customer_id": "c-1"})
    assert answer.status_code == 503
    with sqlite3.connect(tmp_path / "journey.db") as connection:
        connection.execute("ALTER TABLE gone RENAME TO decisions")
    assert client.get("/v1/customers/c-1/timeline").status_code == 404
    assert client.post("/v1/decisions", json={"customer_id": "c-1"}).status_code == 200
