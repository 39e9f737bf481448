"""The ASGI application: routes, limits, errors and the OpenAPI document, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from envs.policy.policy import Bundle
from serving import problems
from serving.contract.words import Model
from serving.http.requests import BodyLimits, Measured
from serving.http.routes import customers, decisions, events, health, policies
from serving.service import Service
from serving.settings import Settings


class JourneyApp(FastAPI):
    """FastAPI whose OpenAPI document knows the problem type of every error."""

    def openapi(self) -> dict[str, object]:
        """The document, built once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            _restore_examples(schemas)
            schemas["Problem"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return self.openapi_schema or {}


def _restore_examples(schemas: dict[str, Any]) -> None:
    """The framework drops every null from the document, also where an example needs one."""
    models = [*Model.__subclasses__()]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "examples" in schemas.get(model.__name__, {}):
            schemas[model.__name__]["examples"] = extra["examples"]


def create_app(bundles: Sequence[Bundle], settings: Settings) -> FastAPI:
    """An application over verified bundles; opens the store at once, closes it on shutdown."""
    service = Service(bundles, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.store.start()
        yield
        service.close()

    app = JourneyApp(
        title="Journey optimizer",
        version=version("journey-optimizer"),
        description="The next step of a customer's journey, with its probability and its reasons.",
        lifespan=lifespan,
        docs_url=None,  # the framework's page loads its scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, seconds=settings.receive_timeout_s)
    app.add_middleware(Measured, metrics=service.metrics)
    problems.install(app)
    for module in (decisions, events, customers, policies):
        app.include_router(module.router, responses=problems.DOCUMENTED)
    app.include_router(health.router)
    return app
