"""Routes about decisions: parse, call, return."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from serving.contract.decisions import (
    Activation,
    ActivationRequest,
    BatchAnswer,
    Decision,
    DecisionBatch,
    DecisionRequest,
    LoggedDecision,
    Replay,
)
from serving.http.requests import IdempotencyKey, ServiceOf, StrictRoute, reply

router = APIRouter(prefix="/v1", tags=["decisions"], route_class=StrictRoute)
DecisionId = Annotated[str, Path(min_length=1, max_length=64, examples=["d_6f1d2c9a4be84f0c9a31b7e2"])]


@router.post("/decisions", response_model=Decision)
async def decide(request: DecisionRequest, service: ServiceOf, key: IdempotencyKey = None) -> Response:
    """The next step for a customer, logged with its propensity; without a customer, advice."""
    return reply(await service.decide(request, key))


@router.post("/decisions:batch")
async def decide_batch(request: DecisionBatch, service: ServiceOf) -> BatchAnswer:
    """The next steps for up to 1,000 customers, an answer an item."""
    return await service.decide_batch(request.decisions)


@router.post("/decisions/{decision_id}/activation")
async def activate(decision_id: DecisionId, request: ActivationRequest, service: ServiceOf) -> Activation:
    """What became of a decided contact; a failure releases what it had reserved."""
    return await service.activate(decision_id, request)


@router.get("/decisions/{decision_id}")
def read_decision(decision_id: DecisionId, service: ServiceOf) -> LoggedDecision:
    """A logged decision: the answer, and the state, observation and draw behind it."""
    return service.decision(decision_id)


@router.post("/decisions/{decision_id}/replay")
def replay(decision_id: DecisionId, service: ServiceOf) -> Replay:
    """The decision made again from the stored events, beside the one logged."""
    return service.replay(decision_id)
