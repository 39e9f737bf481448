"""What the service may decide, and what it must remember of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from envs.policy.policy import Bundle
from tests.serving.conftest import (
    CHANNELS,
    Serve,
    at,
    contacted,
    decide,
    eligible,
    event,
    opt_in,
    post_events,
    rules,
)


def test_a_new_customer_may_not_be_contacted(client: TestClient) -> None:
    made = decide(client)
    assert made["next_step"] == {"action": "wait"}
    assert made["propensity"] == 1.0
    assert rules(made)["offer:email"] == "consent"
    assert rules(made)["reply:email"] == "capability"


def test_customer_who_opted_out_is_never_contacted_on_that_channel(client: TestClient) -> None:
    opt_in(client)
    post_events(client, event("opt_out", at(-1), channel="email"))
    for day in range(60):
        made = decide(client, as_of=at(days=day))
        assert made["next_step"].get("channel") != "email"
        assert rules(made)["offer:email"] == "consent"


def test_an_opt_out_binds_a_decision_that_is_dated_before_it(client: TestClient) -> None:
    opt_in(client)
    post_events(client, event("opt_out", at(days=3), channel="email"))
    assert rules(decide(client, as_of=at()))["offer:email"] == "consent"


def test_a_timeline_in_the_request_cannot_undo_a_stored_opt_out(client: TestClient) -> None:
    post_events(client, event("opt_out", at(days=-1), channel="email"))
    sent = [{"kind": "opt_in", "occurred_at": at(-2), "channel": c} for c in CHANNELS]
    made = decide(client, timeline=sent, as_of=at())
    assert rules(made)["offer:email"] == "consent"
    assert "offer:phone" in eligible(client, made)


def test_a_second_decision_in_a_day_is_reply_only(client: TestClient) -> None:
    opt_in(client)
    first = decide(client, as_of=at(0))
    assert {"inform:email", "offer:email", "offer:phone"} <= eligible(client, first)
    post_events(client, event("inbound", at(5), channel="phone"))
    second = decide(client, as_of=at(5))
    assert eligible(client, second) == {"wait", "reply:email", "reply:phone"}
    assert set(rules(second).values()) == {"daily_limit"}


def test_asking_again_after_wait_is_no_second_chance(client: TestClient) -> None:
    opt_in(client)
    waited = next(
        day for day in range(60) if decide(client, as_of=at(days=day))["next_step"] == {"action": "wait"}
    )
    again = decide(client, as_of=at(1, days=waited))
    assert again["next_step"] == {"action": "wait"}
    assert set(rules(again).values()) == {"daily_limit", "capability"}


def test_the_daily_limit_counts_the_local_day_not_the_utc_one(client: TestClient) -> None:
    opt_in(client)
    decide(client, as_of="2026-03-02T22:30:00Z")  # 23:30 in Berlin
    tomorrow_there = decide(client, as_of="2026-03-02T23:30:00Z")
    assert "daily_limit" not in rules(tomorrow_there).values()


def test_another_systems_contact_uses_up_the_day(client: TestClient) -> None:
    opt_in(client)
    post_events(client, event("contact", at(-1), channel="email", touchpoint="a_print_catalogue"))
    assert rules(decide(client, as_of=at()))["offer:email"] == "daily_limit"


def test_a_service_decision_offers_replies_only_and_leaves_the_day_free(client: TestClient) -> None:
    opt_in(client)
    post_events(client, event("inbound", at(-1), channel="phone"))
    served = decide(client, as_of=at(), purpose="service")
    assert eligible(client, served) == {"wait", "reply:email", "reply:phone"}
    assert rules(served)["offer:email"] == "excluded"
    assert "offer:email" in eligible(client, decide(client, as_of=at(1)))


def test_the_callers_channels_and_exclusions_are_obeyed(client: TestClient) -> None:
    opt_in(client)
    made = decide(client, as_of=at(), channels=["email"], exclude=["inform", "offer:email"])
    found = rules(made)
    assert (found["offer:phone"], found["inform:email"], found["offer:email"]) == (
        "availability",
        "excluded",
        "excluded",
    )


def test_an_unknown_name_in_an_exclusion_is_an_error_not_a_wider_mask(client: TestClient) -> None:
    answer = client.post("/v1/decisions", json={"customer_id": "c-1", "exclude": ["ofer"]})
    assert answer.status_code == 422
    assert "ofer" in answer.json()["detail"]


def test_a_consent_withdrawn_binds_the_next_request(client: TestClient) -> None:
    for channel in CHANNELS:
        client.put(f"/v1/customers/c-1/consents/{channel}", json={"granted": True})
    assert "offer:phone" in eligible(client, decide(client))
    client.put("/v1/customers/c-1/consents/phone", json={"granted": False})
    assert rules(decide(client))["offer:phone"] == "consent"


def test_the_propensity_is_that_of_the_sampler(serve: Serve) -> None:
    """600 customers alike; the shares chosen lie within four standard errors of the propensities."""
    client = serve(store="sampler.db")
    many = 600
    ids = [f"c-{n}" for n in range(many)]
    post_events(client, *(event("opt_in", at(-1), customer=i, channel="email") for i in ids))
    asked = [{"customer_id": i, "as_of": at(), "channels": ["email"]} for i in ids]
    keys: list[str] = []
    expected: dict[str, float] = {}
    for result in client.post("/v1/decisions:batch", json={"decisions": asked}).json()["results"]:
        made = result["decision"]
        step = made["next_step"]
        keys.append("wait" if step["action"] == "wait" else f"{step['touchpoint']}:{step['channel']}")
        for option in made["alternatives"]:
            key = f"{option['touchpoint']}:{option['channel']}" if option["channel"] else "wait"
            expected[key] = option["propensity"]
        assert made["propensity"] == expected[keys[-1]]
    assert sum(expected.values()) == pytest.approx(1.0)
    for key, p in expected.items():
        error = 4 * np.sqrt(max(p * (1 - p), 1e-12) / many)
        assert abs(keys.count(key) / many - p) <= error, key


def test_no_action_outside_the_eligible_set_has_a_propensity(client: TestClient) -> None:
    opt_in(client, channels=("email",))
    made = decide(client, as_of=at())
    options = {f"{a['touchpoint']}:{a['channel']}" if a["channel"] else "wait" for a in made["alternatives"]}
    assert options == eligible(client, made)
    assert sum(a["propensity"] for a in made["alternatives"]) == pytest.approx(1.0)


def test_a_decision_for_nobody_is_advice_and_leaves_no_trace(client: TestClient) -> None:
    sent = [{"kind": "opt_in", "occurred_at": at(-2), "channel": "email"}]
    answer = client.post("/v1/decisions", json={"timeline": sent, "as_of": at()}).json()
    assert answer["advisory"] is True
    assert answer["decision_id"] is None
    assert {a["channel"] for a in answer["alternatives"]} == {"email", None}


def test_shadow_decisions_are_logged_and_touch_nothing(serve: Serve) -> None:
    client = serve(mode="shadow")
    opt_in(client)
    made = contacted(client)
    assert made["mode"] == "shadow"
    kinds = {i["kind"] for i in client.get("/v1/customers/c-1/timeline").json()["items"]}
    assert kinds == {"opt_in"}
    assert client.post(f"/v1/decisions/{made['decision_id']}/replay").json()["identical"] is True


def test_held_out_customers_are_served_but_never_marketed_to(serve: Serve) -> None:
    client = serve(holdout_share=0.5)
    modes = set()
    for n in range(12):
        customer = f"c-{n}"
        opt_in(client, customer)
        post_events(client, event("inbound", at(-1), customer=customer, channel="phone"))
        made = decide(client, customer, as_of=at())
        modes.add(made["mode"])
        replies = {"wait", "reply:email", "reply:phone"}
        assert (eligible(client, made) <= replies) == (made["mode"] == "holdout")
    assert modes == {"live", "holdout"}


def test_the_cluster_is_frozen_until_a_new_bundle(client: TestClient) -> None:
    assert decide(client, attributes={"segment": "wary"})["cluster"] == "wary"
    assert decide(client, attributes={"segment": "keen"})["cluster"] == "wary"
    assert decide(client, "c-2")["cluster"] == "keen"


@pytest.mark.parametrize(
    "fields", [{}, {"purpose": "service"}, {"channels": ["email"]}, {"defer_activation": True}]
)
def test_a_replayed_decision_is_identical_whatever_came_later(client: TestClient, fields: Any) -> None:
    opt_in(client)
    made = [decide(client, as_of=at(days=day), **fields) for day in range(8)]
    made.append(decide(client, as_of=at(1, days=7), **fields))
    late = [event("contact", at(days=d, hours=-1), channel="phone", touchpoint="offer") for d in range(4)]
    post_events(client, *late, event("opt_out", at(days=2), channel="email"))
    client.post("/v1/events", json={"type": "alias", "messageId": "m", "userId": "c-9", "previousId": "c-1"})
    for decision in made:
        if decision["next_step"]["action"] == "contact":
            client.post(f"/v1/decisions/{decision['decision_id']}/activation", json={"outcome": "failed"})
        again = client.post(f"/v1/decisions/{decision['decision_id']}/replay").json()
        assert again["identical"] is True, again


def test_a_replay_shows_the_difference_when_the_record_was_tampered_with(
    client: TestClient, tmp_path: Any
) -> None:
    import sqlite3

    opt_in(client)
    made = decide(client, as_of=at())
    with sqlite3.connect(tmp_path / "journey.db") as connection:
        connection.execute("UPDATE events SET channel = 'phone' WHERE channel = 'email'")
    again = client.post(f"/v1/decisions/{made['decision_id']}/replay").json()
    assert again["identical"] is False
    assert again["stored"] != again["recomputed"]


def test_the_same_idempotency_key_gets_the_same_answer_and_has_one_effect(client: TestClient) -> None:
    opt_in(client)
    body, headers = {"customer_id": "c-1", "as_of": at()}, {"Idempotency-Key": "k-1"}
    first, second = (client.post("/v1/decisions", json=body, headers=headers) for _ in range(2))
    assert first.content == second.content
    assert second.headers["Idempotency-Replayed"] == "true"
    kinds = [i["kind"] for i in client.get("/v1/customers/c-1/timeline").json()["items"]]
    assert kinds.count("decision") == 1
    other = client.post("/v1/decisions", json={"customer_id": "c-2"}, headers=headers)
    assert other.status_code == 422
    assert other.headers["content-type"] == "application/problem+json"


def test_a_batch_answers_every_item_and_one_bad_item_spoils_nothing(client: TestClient) -> None:
    items = [{"customer_id": "c-1"}, {"customer_id": "c-2", "purpose": "spam"}, {"customer_id": "c-3"}]
    results = client.post("/v1/decisions:batch", json={"decisions": items}).json()["results"]
    assert [r["status"] for r in results] == [200, 422, 200]
    assert results[1]["problem"]["errors"][0]["pointer"] == "/purpose"
    assert results[2]["decision"]["customer_id"] == "c-3"
    too_many = client.post("/v1/decisions:batch", json={"decisions": [{}] * 1001})
    assert too_many.status_code == 422


def test_two_decisions_at_once_contact_once(client: TestClient) -> None:
    opt_in(client)
    for day in range(12):
        asked = [{"customer_id": "c-1", "as_of": at(days=day)}] * 6
        results = client.post("/v1/decisions:batch", json={"decisions": asked}).json()["results"]
        contacts = [r for r in results if r["decision"]["next_step"]["action"] == "contact"]
        assert len(contacts) <= 1


def test_a_policy_that_cannot_answer_means_wait(client: TestClient, bundle: Bundle) -> None:
    opt_in(client)
    table: Any = bundle.policy("keen")
    worked, table._values = table._values, np.full_like(table._values, np.nan)
    try:
        made = decide(client, as_of=at())
    finally:
        table._values = worked
    assert (made["next_step"], made["propensity"], made["degraded"]) == ({"action": "wait"}, 1.0, True)
