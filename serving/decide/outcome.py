"""A decision worked out, as everything that is made of it: answer, record, events.

No store and no rule: the words of the contract on one side, the event log's on the other.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from envs.scenario.events import Event
from envs.timeline.occasion import LiveMask, valid_until
from serving.contract.decisions import Decision, DecisionRequest, PolicyRef, Replayed
from serving.contract.words import Mode
from serving.decide.choice import Choice, alternatives, blocked, reason, step_of
from serving.decide.policies import Held
from serving.decide.standing import Standing
from serving.store import ledger
from serving.store.decision_log import RESERVED, Record


@dataclass(frozen=True, slots=True)
class Worked:
    """A decision worked out: where the customer stands, what is legal, what was drawn."""

    standing: Standing
    mask: LiveMask
    choice: Choice
    u: float


def answer(
    held: Held,
    cluster: str,
    mode: Mode,
    request: DecisionRequest,
    moment: dt.datetime,
    worked: Worked,
    decision_id: str | None,
) -> Decision:
    """A worked-out decision in the contract's words."""
    journey, choice = held.journey(cluster), worked.choice
    action = journey.actions[choice.action]
    marketing = not action.is_wait and not action.service
    return Decision(
        decision_id=decision_id,
        customer_id=request.customer_id,
        cluster=cluster,
        policy=PolicyRef(name=held.name, version=held.version, sha256=held.sha256),
        mode=mode,
        next_step=step_of(action),
        propensity=choice.propensity,
        alternatives=alternatives(journey.actions, choice),
        blocked=blocked(journey.actions, worked.mask),
        reason=reason(journey, choice),
        not_before=worked.mask.not_before,
        expires_at=valid_until(journey, moment, marketing),
        decided_at=moment,
        degraded=choice.degraded or worked.standing.unreadable > 0,
        advisory=decision_id is None,
    )


def decision_event(record: Record, activated: bool | None = None) -> Event:
    """The decision as the event log writes it; `activated` once that is known."""
    touchpoint, channel = record.pair
    return Event(
        event_id=record.decision_id,
        source=ledger.OWN_SOURCE,
        customer_id=record.customer_id,
        occurred_at=record.decided_at,
        kind="decision",
        direction="out",
        channel=channel or None,
        touchpoint=touchpoint or None,
        decision_id=record.decision_id,
        propensity=record.propensity,
        eligible=record.eligible,
        policy_version=f"{record.policy_name}@{record.policy_version}",
        activated=activated,
    )


def contact_event(record: Record, moment: dt.datetime) -> Event:
    """The contact that a decision leads to."""
    touchpoint, channel = record.pair
    return Event(
        event_id=f"{record.decision_id}:contact",
        source=ledger.OWN_SOURCE,
        customer_id=record.customer_id,
        occurred_at=moment,
        kind="contact",
        direction="out",
        channel=channel,
        touchpoint=touchpoint,
        decision_id=record.decision_id,
        policy_version=f"{record.policy_name}@{record.policy_version}",
    )


def replayed(record: Record) -> Replayed:
    """The parts of a record that its inputs determine."""
    return Replayed(
        cluster=record.cluster,
        state=record.state,
        observation=record.observation,
        eligible=list(record.eligible),
        action=record.action,
        propensity=record.propensity,
    )


def record_of(
    held: Held, customer: str, seq: int, request: DecisionRequest, made: Decision, worked: Worked
) -> Record:
    """A live decision as it is logged."""
    contact = worked.choice.action > 0 and made.mode != "shadow"
    return Record(
        decision_id=made.decision_id or "",
        seq=seq,
        customer_id=customer,
        cluster=made.cluster,
        decided_at=made.decided_at,
        expires_at=made.expires_at,
        mode=made.mode,
        policy_name=held.name,
        policy_version=held.version,
        policy_sha256=held.sha256,
        u=worked.u,
        request=request.model_dump(mode="json", exclude_none=True),
        answer=made.model_dump(mode="json"),
        deferred=request.defer_activation,
        status="none" if not contact else RESERVED if request.defer_activation else "sent",
        **_determined(held, made.cluster, worked),
    )


def recomputed(held: Held, record: Record, worked: Worked) -> Record:
    """A record with everything that its inputs determine made again."""
    return replace(record, **_determined(held, record.cluster, worked))


def _determined(held: Held, cluster: str, worked: Worked) -> dict[str, Any]:
    """What a record says of a decision that its inputs determine."""
    journey, choice = held.journey(cluster), worked.choice
    return {
        "action": journey.actions[choice.action].key,
        "propensity": choice.propensity,
        "eligible": tuple(journey.actions[n].key for n in choice.legal),
        "state": {name: int(level) for name, level in worked.standing.live.state._asdict().items()},
        "observation": dict(zip(journey.encoding.names, choice.observation, strict=True)),
    }
