"""The route that takes events: parse, call, return."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from serving.contract.events import EventPost, EventsAnswer
from serving.http.requests import IdempotencyKey, ServiceOf, StrictRoute, reply

router = APIRouter(prefix="/v1", tags=["events"], route_class=StrictRoute)


@router.post("/events", response_model=EventsAnswer)
async def receive(
    events: Annotated[EventPost, Body()], service: ServiceOf, key: IdempotencyKey = None
) -> Response:
    """One event or a list (own form, CloudEvents 1.0, Segment); each (source, event_id) counts once."""
    return reply(await service.receive(events if isinstance(events, list) else [events], key))
