"""Requests made up from the OpenAPI document: every route keeps the document's word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from envs.policy.policy import Bundle
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.conftest import at, event, post_events


@pytest.fixture
def described(bundle: Bundle, tmp_path: Path) -> Any:
    """The document of a server that knows one customer."""
    app = create_app([bundle], Settings(store=f"sqlite:///{tmp_path / 's.db'}", seed=1))
    with TestClient(app) as client:
        post_events(client, event("opt_in", at(-1), customer="c-1042", channel="email"))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(("mode", "examples"), [(GenerationMode.POSITIVE, 8), (GenerationMode.NEGATIVE, 3)])
def test_every_answer_to_a_made_up_request_is_documented_and_no_server_error(
    described: Any, mode: GenerationMode, examples: int
) -> None:
    for found in described.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not [*operation.iter_parameters(), *operation.body]:
            continue  # a request without parts cannot be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def answered(case: schemathesis.Case[Any]) -> None:
            # what fits the schema may still name a channel or an action that the scenario lacks
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answered()
