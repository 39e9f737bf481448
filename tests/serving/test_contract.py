"""Every route of design §9: its answer fits the OpenAPI document and has exactly the named keys."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import at, decide, event, post_events

DECISION_KEYS = {
    "decision_id",
    "customer_id",
    "cluster",
    "policy",
    "mode",
    "next_step",
    "propensity",
    "alternatives",
    "blocked",
    "reason",
    "not_before",
    "expires_at",
    "decided_at",
    "degraded",
    "advisory",
}
LOG_FIELDS = {
    "event_id",
    "source",
    "customer_id",
    "occurred_at",
    "kind",
    "direction",
    "channel",
    "touchpoint",
    "topic",
    "outcome",
    "value",
    "currency",
    "case_id",
    "decision_id",
    "propensity",
    "eligible",
    "policy_version",
    "activated",
    "agent_id",
    "queue",
}
ROUTES = [  # method, template, path, body, keys of the answer
    ("post", "/v1/decisions", "/v1/decisions", {"customer_id": "c-1", "as_of": at(1)}, DECISION_KEYS),
    (
        "post",
        "/v1/decisions:batch",
        "/v1/decisions:batch",
        {"decisions": [{"customer_id": "c-1"}, {"customer_id": 7}]},
        {"results"},
    ),
    (
        "post",
        "/v1/decisions/{decision_id}/activation",
        "/v1/decisions/{contact}/activation",
        {"outcome": "sent"},
        {"decision_id", "outcome", "released"},
    ),
    (
        "get",
        "/v1/decisions/{decision_id}",
        "/v1/decisions/{contact}",
        None,
        {"decision", "status", "eligible", "state", "observation", "u", "request"},
    ),
    (
        "post",
        "/v1/decisions/{decision_id}/replay",
        "/v1/decisions/{contact}/replay",
        None,
        {"decision_id", "identical", "stored", "recomputed"},
    ),
    (
        "post",
        "/v1/events",
        "/v1/events",
        event("response", at(2), channel="email"),
        {"accepted", "duplicate", "ignored", "suppressed", "results"},
    ),
    (
        "get",
        "/v1/customers/{customer_id}/timeline",
        "/v1/customers/c-1/timeline?limit=2",
        None,
        {"customer_id", "items", "next_cursor"},
    ),
    (
        "get",
        "/v1/customers/{customer_id}/state",
        "/v1/customers/c-1/state",
        None,
        {"customer_id", "cluster", "as_of", "local_date", "components", "levels", "observation"},
    ),
    (
        "get",
        "/v1/customers/{customer_id}/consents/{channel}",
        "/v1/customers/c-1/consents/email",
        None,
        {"customer_id", "channel", "granted", "since", "source"},
    ),
    (
        "put",
        "/v1/customers/{customer_id}/consents/{channel}",
        "/v1/customers/c-1/consents/phone",
        {"granted": True},
        {"customer_id", "channel", "granted", "since", "source"},
    ),
    (
        "get",
        "/v1/customers/{customer_id}/export",
        "/v1/customers/c-1/export",
        None,
        {"customer_id", "identities", "attributes", "clusters", "events", "decisions"},
    ),
    (
        "delete",
        "/v1/customers/{customer_id}",
        "/v1/customers/c-1",
        None,
        {"customer_id", "erased", "events", "decisions"},
    ),
    ("get", "/v1/policies", "/v1/policies", None, {"policies"}),
    (
        "post",
        "/v1/policies/{name}/activate",
        "/v1/policies/tiny/activate",
        {"version": "1"},
        {
            "name",
            "version",
            "sha256",
            "active",
            "objective",
            "scenario",
            "scenario_hash",
            "exploration",
            "clusters",
        },
    ),
    (
        "get",
        "/v1/clusters/{name}/path",
        "/v1/clusters/keen/path?objective=lifetime_value",
        None,
        {"cluster", "objective", "policy", "path"},
    ),
    ("get", "/livez", "/livez", None, {"status", "checks"}),
    ("get", "/readyz", "/readyz", None, {"status", "checks"}),
]


@pytest.fixture
def document(client: TestClient) -> Any:
    """The OpenAPI document as served."""
    return client.get("/openapi.json").json()


def answer_schema(document: Any, method: str, template: str) -> Any:
    """The documented schema of a 200 answer, resolvable by itself."""
    described = document["paths"][template][method]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    return {**described, "components": document["components"]}


def contacting_decision(client: TestClient) -> str:
    """A customer with consent, decided about until the answer is a contact."""
    post_events(client, event("opt_in", at(-1), channel="email"), event("opt_in", at(-1), channel="phone"))
    for day in range(20):
        made = decide(client, as_of=at(days=day), defer_activation=True)
        if made["next_step"]["action"] == "contact":
            return str(made["decision_id"])
    raise AssertionError("twenty days without a contact")


@pytest.mark.parametrize(
    ("method", "template", "path", "body", "keys"), ROUTES, ids=[f"{r[0]} {r[2]}" for r in ROUTES]
)
def test_every_answer_fits_its_schema_and_has_exactly_the_named_keys(
    client: TestClient, document: Any, method: str, template: str, path: str, body: Any, keys: set[str]
) -> None:
    contact = contacting_decision(client)
    answer = client.request(method, path.replace("{contact}", contact), json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == keys
    jsonschema_rs.validator_for(answer_schema(document, method, template)).validate(answer.json())


def test_the_parts_of_a_decision_have_the_named_keys(client: TestClient) -> None:
    contacting_decision(client)
    made = decide(client, as_of=at(days=30))
    assert set(made["policy"]) == {"name", "version", "sha256"}
    assert set(made["reason"]) == {"summary", "gap_to_next", "runner_up"}
    assert all(set(a) == {"touchpoint", "channel", "value", "propensity"} for a in made["alternatives"])
    assert all(set(b) == {"touchpoint", "channel", "rule"} for b in made["blocked"])
    assert made["next_step"] == {"action": "wait"} or set(made["next_step"]) == {
        "action",
        "touchpoint",
        "channel",
    }


def test_timeline_items_have_the_event_logs_fields(client: TestClient) -> None:
    contacting_decision(client)
    items = client.get("/v1/customers/c-1/timeline").json()["items"]
    assert items
    assert all(set(item) == LOG_FIELDS for item in items)


def test_the_document_names_every_route_and_no_other(document: Any) -> None:
    documented = {(method, path) for path, item in document["paths"].items() for method in item}
    assert documented == {(method, template) for method, template, *_ in ROUTES} | {("get", "/metrics")}


def references(schema: Any) -> list[str]:
    """Names of the component schemas that a schema is, or is a choice of."""
    direct = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
    choices = [*schema.get("oneOf", []), *schema.get("anyOf", [])]
    return direct + [name for choice in choices for name in references(choice)]


def test_every_route_has_an_example_of_its_answer_and_its_body_and_they_fit(document: Any) -> None:
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for operation in item.values():
            bodies = [operation["responses"]["200"], *filter(None, [operation.get("requestBody")])]
            for body in bodies:
                (media,) = body["content"].values()
                schema = media.get("schema", {})
                found = [e for name in references(schema) for e in schemas[name].get("examples", [])]
                assert found or "example" in media, f"{path}: no example"
                validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
                for example in found:
                    validator.validate(example)


def test_errors_are_documented_as_problems(document: Any) -> None:
    for path, item in document["paths"].items():
        if path.startswith("/v1"):
            for operation in item.values():
                assert set(operation["responses"]["422"]["content"]) == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_interactive_documentation_and_the_metrics_are_served(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text  # nothing is fetched from elsewhere
    decide(client)
    text = client.get("/metrics").text
    assert 'journey_requests_total{method="POST",route="/v1/decisions",status="200"} 1.0' in text
    assert "c-1" not in text
