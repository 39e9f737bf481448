"""How requests are read: strict JSON, bounded bodies, stalled senders, metrics.

`json.loads` takes NaN, and lone surrogates only fail when the answer is written; both are
refused on arrival. CloudEvents in binary mode become structured ones here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.idempotency import Reply
from serving.metrics import Metrics
from serving.problems import problem, respond
from serving.service import Service

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

    async def json(self) -> Any:
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

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
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


class ReceiveTimeout:
    """A request body must arrive in time: a stalled sender gets 408, not a socket for ever."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass through, with a limit on the wait for the whole body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = complete = False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def timed_receive() -> Message:
            nonlocal complete
            if complete:  # what follows is the wait for a disconnect
                return await receive()
            async with asyncio.timeout_at(deadline):
                message = await receive()
            complete = not message.get("more_body", False)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, timed_receive, watched_send)
        except TimeoutError:
            if started or complete:
                raise
            late = problem(408, f"the body did not arrive within {self._seconds:g} s", scope["path"])
            await respond(late, {"Connection": "close"})(scope, receive, send)


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
