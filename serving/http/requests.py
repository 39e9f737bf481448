"""How requests are read: strict JSON, bounded bodies, stalled senders, metrics.

`json.loads` takes NaN, and lone surrogates only fail when the answer is written; both are
refused on arrival. CloudEvents in binary mode become structured ones here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import Problem, problem, respond
from serving.service import Service
from serving.store.idempotency import Reply

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and request again get the first answer, without a second effect.",
    ),
]


class StrictRequest(Request):
    """JSON as RFC 8259 has it: UTF-8, no NaN, no lone surrogates, bounded depth."""

    async def json(self) -> object:
        """The parsed body."""
        body = await self.body()
        try:
            content = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        if "ce-specversion" in self.headers and isinstance(content, dict):
            attributes = {k[3:]: v for k, v in self.headers.items() if k.startswith("ce-")}
            return {**attributes, "data": content}
        return content


class StrictRoute(APIRoute):
    """A route whose request bodies are read by `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, None, Response]]:
        """The framework's handler behind the stricter request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def service_of(request: Request) -> Service:
    """The server's service."""
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(service_of)]


def reply(answer: Reply) -> Response:
    """A stored or fresh answer as it is, marked when it is a repetition."""
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, media_type="application/json", headers=headers)


class BodyLimits:
    """A request body may be so large and take so long: else 413 or 408, not a socket for ever.

    The framework's own limit answers in plain text, and a timeout would reach it as a 400;
    an `HTTPException` raised while the body is read arrives as itself.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass through, watching the body arrive."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await respond(self._too_large(scope), {"Connection": "close"})(scope, receive, send)
            return
        complete, size = False, 0
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def watched_receive() -> Message:
            nonlocal complete, size
            if complete:  # what follows is the wait for a disconnect
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self._seconds:g} s") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > self._max_bytes:
                raise HTTPException(413, self._too_large(scope).detail)
            return message

        await self._app(scope, watched_receive, send)

    def _too_large(self, scope: Scope) -> Problem:
        return problem(413, f"expected at most {self._max_bytes} bytes", scope["path"])


class Measured:
    """Counts requests and their time by route template, never by path (paths name customers)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass through and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, perf_counter()

        async def watched_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.requests.labels(scope["method"], route, str(status)).inc()
            self._metrics.latency.labels(route).observe(perf_counter() - start)
