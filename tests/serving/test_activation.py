"""What becomes of a decided contact: at once, deferred, sent, failed, expired."""

from __future__ import annotations

import datetime as dt

from fastapi.testclient import TestClient

from tests.serving.conftest import contacted, decide, event, opt_in, post_events, rules


def test_a_contact_is_in_the_timeline_at_once(client: TestClient) -> None:
    opt_in(client)
    made = contacted(client)
    kinds = [i["kind"] for i in client.get("/v1/customers/c-1/timeline").json()["items"]]
    assert kinds[-2:] == ["decision", "contact"]
    state = client.get("/v1/customers/c-1/state", params={"as_of": made["decided_at"]}).json()
    assert state["components"]["fatigue"] > 0


def test_a_deferred_contact_is_not_in_the_state_until_it_is_sent(client: TestClient) -> None:
    opt_in(client)
    made = contacted(client, defer_activation=True)
    where = {"as_of": made["decided_at"]}
    before = client.get("/v1/customers/c-1/state", params=where).json()["components"]["fatigue"]
    outcome = {"outcome": "sent", "occurred_at": made["decided_at"]}
    assert client.post(f"/v1/decisions/{made['decision_id']}/activation", json=outcome).status_code == 200
    after = client.get("/v1/customers/c-1/state", params=where).json()["components"]["fatigue"]
    assert (before, after > 0) == (0, True)


def test_a_reserved_contact_binds_the_day_and_a_failure_releases_it(client: TestClient) -> None:
    opt_in(client)
    made = contacted(client, defer_activation=True)
    moment = dt.datetime.fromisoformat(made["decided_at"])
    later = (moment + dt.timedelta(hours=1)).isoformat()
    assert set(rules(decide(client, as_of=later)).values()) == {"daily_limit", "capability"}
    failed = client.post(f"/v1/decisions/{made['decision_id']}/activation", json={"outcome": "failed"})
    assert failed.json() == {"decision_id": made["decision_id"], "outcome": "failed", "released": True}
    assert "daily_limit" not in rules(decide(client, as_of=later)).values()


def test_a_presumed_contact_that_failed_leaves_the_state(client: TestClient) -> None:
    opt_in(client)
    made = contacted(client)
    client.post(f"/v1/decisions/{made['decision_id']}/activation", json={"outcome": "rejected"})
    state = client.get("/v1/customers/c-1/state", params={"as_of": made["decided_at"]}).json()
    assert state["components"]["fatigue"] == 0
    assert client.get(f"/v1/decisions/{made['decision_id']}").json()["status"] == "rejected"


def test_a_reservation_that_expires_folds_as_wait(client: TestClient) -> None:
    opt_in(client)
    made = contacted(client, defer_activation=True)
    tomorrow = (dt.datetime.fromisoformat(made["expires_at"]) + dt.timedelta(minutes=1)).isoformat()
    state = client.get("/v1/customers/c-1/state", params={"as_of": tomorrow}).json()
    assert state["components"]["fatigue"] == 0
    assert "daily_limit" not in rules(decide(client, as_of=tomorrow)).values()
    assert client.get(f"/v1/decisions/{made['decision_id']}").json()["status"] == "expired"


def test_reporting_an_activation_again_changes_nothing_and_another_outcome_is_refused(
    client: TestClient,
) -> None:
    opt_in(client)
    made = contacted(client, defer_activation=True)
    path = f"/v1/decisions/{made['decision_id']}/activation"
    first, second = (client.post(path, json={"outcome": "sent"}) for _ in range(2))
    assert first.json() == second.json()
    kinds = [i["kind"] for i in client.get("/v1/customers/c-1/timeline").json()["items"]]
    assert kinds.count("contact") == 1
    assert client.post(path, json={"outcome": "failed"}).status_code == 409


def test_a_delivery_report_of_our_contact_is_not_a_second_contact(client: TestClient) -> None:
    opt_in(client)
    for defer in (False, True):
        made = contacted(client, day=50 if defer else 0, defer_activation=defer)
        step = made["next_step"]
        report = event(
            "contact",
            made["decided_at"],
            channel=step["channel"],
            touchpoint=step["touchpoint"],
            decision_id=made["decision_id"],
        )
        post_events(client, report)
        items = client.get("/v1/customers/c-1/timeline", params={"limit": 1000}).json()["items"]
        ours = [i for i in items if i["kind"] == "contact" and i["decision_id"] == made["decision_id"]]
        assert len(ours) == 1


def test_a_decision_to_wait_cannot_be_activated(client: TestClient) -> None:
    made = decide(client)
    answer = client.post(f"/v1/decisions/{made['decision_id']}/activation", json={"outcome": "sent"})
    assert answer.status_code == 409
