"""Routes about the policies held: parse, call, return."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from serving.contract.policies import ActivatePolicy, ClusterPath, HeldPolicies, HeldPolicy
from serving.http.requests import ServiceOf, StrictRoute

router = APIRouter(prefix="/v1", tags=["policies"], route_class=StrictRoute)
Name = Annotated[str, Path(min_length=1, max_length=200, examples=["omnichannel_retail"])]


@router.get("/policies")
def policies(service: ServiceOf) -> HeldPolicies:
    """The policies this server holds, and which one answers."""
    return service.held()


@router.post("/policies/{name}/activate")
async def activate(name: Name, service: ServiceOf, request: ActivatePolicy | None = None) -> HeldPolicy:
    """Answer with this policy from the next request on; survives a restart."""
    return await service.activate_policy(name, request.version if request else None)


@router.get("/clusters/{name}/path")
def path(
    name: Annotated[str, Path(min_length=1, max_length=40, examples=["loyal"])],
    service: ServiceOf,
    objective: Annotated[str | None, Query(max_length=40, examples=["lifetime_value"])] = None,
) -> ClusterPath:
    """The ideal overall path of a cluster."""
    return service.path(name, objective)
