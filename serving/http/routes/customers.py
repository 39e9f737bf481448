"""Routes about one customer: parse, call, return."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from serving.contract.customers import (
    Consent,
    ConsentChange,
    CustomerExport,
    CustomerState,
    Erased,
    TimelinePage,
)
from serving.contract.words import Moment
from serving.http.requests import ServiceOf, StrictRoute

router = APIRouter(prefix="/v1/customers/{customer_id}", tags=["customers"], route_class=StrictRoute)
Id = Annotated[str, Path(min_length=1, max_length=200, examples=["c-1042"])]
Channel = Annotated[str, Path(min_length=1, max_length=40, examples=["email"])]
Cursor = Annotated[str | None, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/timeline")
def timeline(customer_id: Id, service: ServiceOf, cursor: Cursor = None, limit: Limit = 100) -> TimelinePage:
    """A customer's events in time order, a page at a time."""
    return service.timeline(customer_id, cursor, limit)


@router.get("/state")
def state(
    customer_id: Id, service: ServiceOf, as_of: Annotated[Moment | None, Query()] = None
) -> CustomerState:
    """Where the customer stands: the events folded, days closed up to `as_of` (default: now)."""
    return service.state(customer_id, as_of)


@router.get("/consents/{channel}")
def read_consent(customer_id: Id, channel: Channel, service: ServiceOf) -> Consent:
    """Whether the customer may be contacted for marketing on a channel."""
    return service.consent(customer_id, channel)


@router.put("/consents/{channel}")
async def write_consent(
    customer_id: Id, channel: Channel, change: ConsentChange, service: ServiceOf
) -> Consent:
    """Grant or withdraw consent; the next request obeys it."""
    return await service.set_consent(customer_id, channel, change.granted)


@router.get("/export")
def export(customer_id: Id, service: ServiceOf) -> CustomerExport:
    """Everything the service holds about a customer."""
    return service.export(customer_id)


@router.delete("")
async def erase(customer_id: Id, service: ServiceOf) -> Erased:
    """Forget a customer; only a keyed hash stays, so that late events bring nothing back."""
    return await service.erase(customer_id)
