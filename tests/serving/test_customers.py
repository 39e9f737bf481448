"""A customer's own record: pages, consent, export, and being forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import Serve, at, decide, event, post_events


def test_the_timeline_comes_in_pages_without_gaps_or_repetition(client: TestClient) -> None:
    times = [at(h) for h in (3, 1, 1, 2, 0)]
    post_events(client, *(event("purchase", when, number=n) for n, when in enumerate(times)))
    seen, cursor = [], None
    for _ in range(5):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/customers/c-1/timeline", params=params).json()
        seen += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len({i["event_id"] for i in seen}) == len(seen) == 5
    assert [i["occurred_at"] for i in seen] == sorted(i["occurred_at"] for i in seen)


@pytest.mark.parametrize("cursor", ["x", "MS4y.", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE=", "é"])
def test_a_foreign_cursor_is_refused(client: TestClient, cursor: str) -> None:
    decide(client)
    answer = client.get("/v1/customers/c-1/timeline", params={"cursor": cursor})
    assert answer.status_code == 422


@pytest.mark.parametrize("what", ["timeline", "state", "consents/email", "export"])
def test_an_unknown_customer_is_not_found(client: TestClient, what: str) -> None:
    answer = client.get(f"/v1/customers/nobody/{what}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_consent_never_stated_is_denied_and_an_unknown_channel_is_not_found(client: TestClient) -> None:
    decide(client)
    stated = client.get("/v1/customers/c-1/consents/email").json()
    assert (stated["granted"], stated["since"]) == (False, None)
    assert client.get("/v1/customers/c-1/consents/fax").status_code == 404
    assert client.put("/v1/customers/c-1/consents/fax", json={"granted": True}).status_code == 404


def test_a_wish_stated_now_overrules_consent_dated_in_the_future(client: TestClient) -> None:
    post_events(client, event("opt_in", "2150-01-01T00:00:00Z", channel="email"))
    answer = client.put("/v1/customers/c-1/consents/email", json={"granted": False}).json()
    assert answer["granted"] is False
    assert client.get("/v1/customers/c-1/consents/email").json()["granted"] is False


def test_an_export_holds_everything_the_service_knows(client: TestClient) -> None:
    post_events(client, event("opt_in", at(-1), channel="email"))
    made = decide(client, attributes={"segment": "wary"})
    export = client.get("/v1/customers/c-1/export").json()
    assert export["attributes"] == {"segment": "wary"}
    assert list(export["clusters"].values()) == ["wary"]
    assert [d["decision"] for d in export["decisions"]] == [made]
    assert {e["kind"] for e in export["events"]} >= {"opt_in", "decision"}


def test_an_erased_customer_leaves_no_word_behind_and_does_not_come_back(
    client: TestClient, tmp_path: Path
) -> None:
    name = "a-name-nobody-else-has"
    headers = {"Idempotency-Key": "k"}
    post_events(client, event("opt_in", at(-1), customer=name, channel="email"))
    made = client.post("/v1/decisions", json={"customer_id": name}, headers=headers).json()
    assert client.delete(f"/v1/customers/{name}").json()["events"] >= 2
    assert client.get(f"/v1/customers/{name}/export").status_code == 404
    assert client.get(f"/v1/decisions/{made['decision_id']}").status_code == 404
    late = client.post("/v1/events", json=event("purchase", at(), customer=name)).json()
    assert late["suppressed"] == 1
    again = client.post("/v1/decisions", json={"customer_id": name, "as_of": at()}, headers=headers).json()
    assert (again["next_step"], again["advisory"], again["decision_id"]) == ({"action": "wait"}, True, None)
    assert {b["rule"] for b in again["blocked"]} <= {"consent", "suppression", "capability"}
    client.app.state.service.close()  # type: ignore[attr-defined]
    assert name.encode() not in (tmp_path / "journey.db").read_bytes()


def test_an_erased_customer_who_asks_for_contact_starts_anew(client: TestClient) -> None:
    post_events(client, event("purchase", at()))
    client.delete("/v1/customers/c-1")
    assert client.put("/v1/customers/c-1/consents/email", json={"granted": False}).json()["granted"] is False
    assert client.get("/v1/customers/c-1/export").status_code == 404
    client.put("/v1/customers/c-1/consents/email", json={"granted": True})
    kinds = [i["kind"] for i in client.get("/v1/customers/c-1/timeline").json()["items"]]
    assert kinds == ["opt_in"]


def test_everything_survives_a_restart(serve: Serve) -> None:
    first = serve(store="kept.db")
    post_events(first, event("opt_in", at(-1), channel="email"))
    made = decide(first, as_of=at())
    first.app.state.service.close()  # type: ignore[attr-defined]
    second = serve(store="kept.db")
    assert second.get(f"/v1/decisions/{made['decision_id']}").json()["decision"] == made
    assert second.post(f"/v1/decisions/{made['decision_id']}/replay").json()["identical"] is True
    other = decide(second, as_of=at(1))
    assert other["decision_id"] != made["decision_id"]
    assert {b["rule"] for b in other["blocked"] if b["touchpoint"] == "inform"} == {"daily_limit"}
