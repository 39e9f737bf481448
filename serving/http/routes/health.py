"""Routes for those who run the server: alive, ready, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from serving.contract.policies import Health
from serving.http.docs_page import PAGE
from serving.http.requests import ServiceOf
from serving.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])
_EXAMPLE = 'journey_requests_total{method="POST",route="/v1/decisions",status="200"} 1.0'
_METRICS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"example": _EXAMPLE}}}}


@router.get("/livez")
def alive() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
def ready(service: ServiceOf, response: Response) -> Health:
    """The store can be read and written, and a policy is loaded."""
    checks = service.checks()
    fine = all(state == "ok" for state in checks.values())
    response.status_code = 200 if fine else 503
    return Health(status="ok" if fine else "unavailable", checks=checks)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """The documentation, for people."""
    return HTMLResponse(PAGE)


@router.get("/metrics", response_class=Response, responses=_METRICS)
def metrics(service: ServiceOf) -> Response:
    """Prometheus exposition."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
