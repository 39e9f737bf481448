"""Every error as RFC 9457 `application/problem+json`: the one place that maps errors to codes.

UserError             422
├── NotFoundError     404  a customer, decision, policy, cluster or channel nobody knows
├── ConflictError     409  a report that contradicts an earlier one, a policy no longer held
├── KeyReusedError    422  an Idempotency-Key sent again with another request
└── InvalidError      422  several things wrong at once, each with its place
StoreClosedError      503  the server is stopping (as any error of the database: nothing recorded)

Answers never repeat the input: it may be personal, or not printable.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from envs.errors import JourneyError, UserError
from serving.errors import ConflictError, NotFoundError
from serving.store.store import StoreClosedError

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 50
_log = logging.getLogger("journey.serving")


class InvalidError(UserError):
    """Messages of one request that cannot be used, each with its place."""

    def __init__(self, items: Sequence[ProblemItem]) -> None:
        self.items = tuple(items)
        more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
        super().__init__(f"{items[0].pointer}: {items[0].detail}{more}; nothing was stored")


class ProblemItem(BaseModel):
    """One thing that is wrong, and where in the body."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:journey:problem:not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "no such customer: got 'c-1'",
                    "instance": "/v1/customers/c-1/state",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[ProblemItem] | None = None


_TITLES = {
    400: ("bad-request", "The request cannot be read"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    408: ("request-timeout", "The request took too long to arrive"),
    409: ("conflict", "In conflict with what is on record"),
    413: ("too-large", "The request body is too large"),
    422: ("invalid-request", "The request does not fit the contract"),
    500: ("internal", "The service failed"),
    503: ("unavailable", "The store cannot be used now"),
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    code: {
        "description": _TITLES[code][1],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code in (400, 404, 408, 409, 413, 422, 503)
}
"""For every route's OpenAPI entry."""


def problem(
    status: int, detail: str, instance: str | None = None, errors: Sequence[ProblemItem] | None = None
) -> Problem:
    """A problem with its type and title."""
    name, title = _TITLES.get(status, ("error", "Error"))
    listed = list(errors) if errors else None
    return Problem(
        type=f"urn:journey:problem:{name}",
        title=title,
        status=status,
        detail=detail,
        instance=instance,
        errors=listed,
    )


def of_error(error: Exception, instance: str | None = None) -> Problem:
    """Any error as a problem; what was not foreseen says nothing about the inside."""
    if isinstance(error, NotFoundError):
        return problem(404, str(error), instance)
    if isinstance(error, ConflictError):
        return problem(409, str(error), instance)
    if isinstance(error, InvalidError):
        return problem(422, str(error), instance, error.items[:_MOST_ERRORS])
    if isinstance(error, (SQLAlchemyError, StoreClosedError)):
        return problem(503, "the store refused; nothing was recorded, try again", instance)
    if isinstance(error, JourneyError):
        return problem(422, str(error), instance)
    return problem(500, "an unexpected error; it is in the server's log", instance)


def of_validation(errors: Sequence[ErrorDetails], instance: str | None = None) -> Problem:
    """Pydantic's complaints, each with a JSON pointer, without the input."""
    items = [_item(error) for error in errors[:_MOST_ERRORS]]
    first = items[0] if items else ProblemItem(pointer="", detail="invalid")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(422, f"{first.pointer or 'body'}: {first.detail}{more}", instance, items)


def _item(error: ErrorDetails) -> ProblemItem:
    if error.get("type") == "json_invalid":
        return ProblemItem(pointer="", detail=f"not JSON: {_plain(error['ctx']['error'])}")
    place = [str(part) for part in error.get("loc", ()) if part != "body"]
    return ProblemItem(
        pointer="".join(f"/{_plain(part)}" for part in place), detail=_plain(str(error["msg"]))
    )


def _plain(text: str) -> str:
    """Text that any client can print and encode."""
    return text.encode("utf-8", "replace").decode("utf-8")[:200]


def respond(body: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as an HTTP answer."""
    return JSONResponse(body.model_dump(exclude_none=True), body.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Override every error answer of the framework."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return respond(of_validation(error.errors(), request.url.path))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        return respond(problem(error.status_code, _plain(str(error.detail)), request.url.path), headers)

    @app.exception_handler(JourneyError)
    async def foreseen(request: Request, error: JourneyError) -> JSONResponse:
        return respond(of_error(error, request.url.path))

    @app.exception_handler(SQLAlchemyError)
    async def store(request: Request, error: SQLAlchemyError) -> JSONResponse:
        _log.error("store: %s", error)
        return respond(of_error(error, request.url.path))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        _log.error("unforeseen", exc_info=error)
        return respond(of_error(error, request.url.path))
