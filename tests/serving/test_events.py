"""What may arrive, in which form, and that nothing counts twice or gets lost."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import at, decide, event, post_events


def timeline(client: TestClient, customer: str = "c-1") -> list[dict[str, Any]]:
    """All stored events of a customer."""
    items: list[dict[str, Any]] = client.get(f"/v1/customers/{customer}/timeline").json()["items"]
    return items


def test_an_event_counts_once_by_source_and_id(client: TestClient) -> None:
    one = event("purchase", at(), value=10.0)
    assert post_events(client, one, one)["duplicate"] == 1
    assert post_events(client, one)["duplicate"] == 1
    assert post_events(client, {**one, "source": "elsewhere"})["accepted"] == 1
    assert len(timeline(client)) == 2


def test_a_list_with_one_bad_event_stores_nothing_and_names_it(client: TestClient) -> None:
    answer = client.post("/v1/events", json=[event("purchase", at()), event("contact", at(), channel="fax")])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/1"
    assert "fax" in answer.json()["detail"]
    assert client.get("/v1/customers/c-1/timeline").status_code == 404


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"kind": "telepathy"}, "kind"),
        ({"occurred_at": "2026-03-02T09:00:00"}, "timezone"),
        ({"occurred_at": 1767225600}, "ISO 8601"),
        ({"occurred_at": "0001-01-01T00:00:00Z"}, "1971"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": "a/b"}, "customer_id"),
        ({"value": "12"}, "value"),
        ({"colour": "red"}, "colour"),
        ({"kind": "stage", "outcome": "nirvana"}, "nirvana"),
        ({"kind": "contact"}, "channel"),
        ({"kind": "survey", "outcome": "very good"}, "survey"),
    ],
)
def test_an_event_that_cannot_be_used_is_refused_with_a_reason(
    client: TestClient, bad: dict[str, Any], says: str
) -> None:
    answer = client.post("/v1/events", json={**event("purchase", at()), **bad})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text


def test_cloudevents_are_understood_in_both_modes(client: TestClient) -> None:
    structured = {
        "specversion": "1.0",
        "id": "a-1",
        "source": "/mailer",
        "type": "com.example.response",
        "time": at(),
        "subject": "c-1",
        "data": {"channel": "email", "touchpoint": "offer"},
        "traceparent": "00-ab-cd-01",
    }
    kind = {"content-type": "application/cloudevents+json"}
    assert client.post("/v1/events", json=structured, headers=kind).json()["accepted"] == 1
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert client.post("/v1/events", json=[structured], headers=batch).json()["duplicate"] == 1
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "a-2",
        "ce-source": "/shop",
        "ce-type": "purchase",
        "ce-time": at(1),
        "ce-subject": "c-1",
    }
    assert client.post("/v1/events", json={"value": 12.5}, headers=binary).json()["accepted"] == 1
    assert [(i["kind"], i["source"]) for i in timeline(client)] == [
        ("response", "/mailer"),
        ("purchase", "/shop"),
    ]


def test_a_cloudevent_of_another_version_or_kind_is_refused(client: TestClient) -> None:
    good = {"specversion": "1.0", "id": "1", "source": "s", "type": "purchase", "subject": "c-1"}
    assert client.post("/v1/events", json={**good, "specversion": "0.3"}).status_code == 422
    assert client.post("/v1/events", json={**good, "type": "com.example.weather"}).status_code == 422
    assert client.post("/v1/events", json={**good, "subject": None}).status_code == 422


def test_segment_track_becomes_an_event_and_what_means_nothing_is_ignored(client: TestClient) -> None:
    calls = [
        {
            "type": "track",
            "messageId": "m-1",
            "userId": "c-1",
            "event": "Order Completed",
            "timestamp": at(),
            "properties": {"revenue": 59.9, "currency": "EUR", "products": [{"sku": "x"}]},
        },
        {
            "type": "track",
            "messageId": "m-2",
            "userId": "c-1",
            "event": "Email Link Clicked",
            "timestamp": at(1),
        },
        {"type": "track", "messageId": "m-3", "userId": "c-1", "event": "Product Viewed", "timestamp": at(2)},
    ]
    answer = client.post("/v1/events", json=calls).json()
    assert [r["status"] for r in answer["results"]] == ["accepted", "accepted", "ignored"]
    assert [(i["kind"], i["value"], i["channel"]) for i in timeline(client)] == [
        ("purchase", 59.9, None),
        ("response", None, "email"),
    ]


def test_segment_identify_places_the_customer(client: TestClient) -> None:
    call = {
        "type": "identify",
        "messageId": "m-1",
        "userId": "c-1",
        "traits": {"segment": "wary", "address": {"city": "x"}},
    }
    assert client.post("/v1/events", json=call).json()["accepted"] == 1
    assert client.post("/v1/events", json=call).json()["duplicate"] == 1
    assert decide(client)["cluster"] == "wary"


def test_segment_alias_joins_two_identities_and_their_opt_outs(client: TestClient) -> None:
    post_events(
        client,
        event("opt_in", at(-3), channel="email"),
        event("opt_out", at(-2), customer="anon-7", channel="email"),
        event("purchase", at(-1), customer="anon-7", value=5.0),
    )
    alias = {"type": "alias", "messageId": "m-1", "userId": "c-1", "previousId": "anon-7"}
    assert client.post("/v1/events", json=alias).json()["accepted"] == 1
    assert [i["kind"] for i in timeline(client)] == ["opt_in", "opt_out", "purchase"]
    assert timeline(client, "anon-7") == timeline(client)
    assert {b["rule"] for b in decide(client)["blocked"] if b["channel"] == "email"} == {
        "consent",
        "capability",
    }
    assert client.get("/v1/customers/c-1/export").json()["identities"] == ["c-1", "anon-7"]
    back = {"type": "alias", "messageId": "m-2", "userId": "anon-7", "previousId": "c-1"}
    assert client.post("/v1/events", json=back).json()["accepted"] == 1  # a circle is no second merge
    assert len(timeline(client)) == 4


def test_an_idempotency_key_on_events_repeats_the_first_answer(client: TestClient) -> None:
    body, headers = event("purchase", at()), {"Idempotency-Key": "e-1"}
    first, second = (client.post("/v1/events", json=body, headers=headers) for _ in range(2))
    assert first.json()["accepted"] == 1
    assert first.content == second.content


def test_events_out_of_order_give_the_state_of_events_in_order(client: TestClient) -> None:
    events = [
        event("opt_in", at(-30), channel="email"),
        event("contact", at(-20), channel="email", touchpoint="offer"),
        event("response", at(-19), channel="email"),
        event("inbound", at(-10), channel="phone"),
        event("resolution", at(-9), channel="phone"),
    ]
    post_events(client, *events)
    post_events(client, *({**e, "customer_id": "c-2", "source": "late"} for e in reversed(events)))
    one, two = (
        client.get(f"/v1/customers/{c}/state", params={"as_of": at()}).json()["components"]
        for c in ("c-1", "c-2")
    )
    assert one == two
    assert one["engagement"] > 0
