"""Decisions: made, logged, activated and made again from the record.

A decision is worked out by one pure function of the evidence; what is logged is enough to
do so again (`replay`). Runs inside the store's commands; knows no HTTP.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import Connection

from envs.assignment import assign_cluster
from envs.errors import UserError
from envs.events import Event
from envs.live import LiveMask, Occasion, live_mask, valid_until
from serving import decision_log, ledger
from serving.chance import token, uniform
from serving.choice import Choice, alternatives, blocked, choose, reason, step_of
from serving.clock import now, to_us
from serving.decision_contract import Decision, DecisionRequest, PolicyRef, Replay, Replayed
from serving.decision_log import RESERVED, Record
from serving.intake import requested
from serving.policies import Held, Policies
from serving.problems import ConflictError, NotFoundError
from serving.settings import Settings
from serving.standing import Evidence, Standing, stand
from serving.store import Store
from serving.words import Mode

ADVISED = "advised"  # stands in for the id where there is no customer


@dataclass(frozen=True, slots=True)
class Worked:
    """A decision worked out: where the customer stands, what is legal, what was drawn."""

    standing: Standing
    mask: LiveMask
    choice: Choice
    u: float


def work_out(
    held: Held,
    cluster: str,
    mode: Mode,
    request: DecisionRequest,
    moment: dt.datetime,
    evidence: Evidence,
    u: float,
    suppressed: bool = False,
) -> Worked:
    """The whole decision as a function of what is known; the same inputs, the same answer."""
    journey = held.journey(cluster)
    standing = stand(held.fold, evidence, moment)
    occasion = Occasion(
        moment=moment,
        replies_only=request.purpose == "service",
        channels=None if request.channels is None else frozenset(request.channels),
        excluded=frozenset(request.exclude),
        suppressed=suppressed,
        holdout=mode == "holdout",
        day_used=standing.day_used,
        elsewhere=standing.elsewhere,
    )
    mask = live_mask(journey, standing.live, occasion)
    return Worked(standing, mask, choose(held, cluster, standing.live, mask, u), u)


class Decider:
    """Makes decisions against a store."""

    def __init__(self, store: Store, policies: Policies, settings: Settings, secret: bytes) -> None:
        self._store, self._policies, self._settings, self._secret = store, policies, settings, secret
        self._advised = count()

    def advise(self, request: DecisionRequest) -> Decision:
        """An answer for nobody in particular: nothing is read, nothing is stored."""
        held, moment = self._policies.get(request.policy), request.as_of or now()
        check_names(held, request)
        cluster = assign_cluster(held.bundle.scenario, request.attributes)
        given = None if request.timeline is None else _given(request, ADVISED)
        u = uniform(self._secret, ADVISED, f"{to_us(now())}:{next(self._advised)}")
        worked = work_out(held, cluster, self._settings.mode, request, moment, Evidence(given=given), u)
        return answer(held, cluster, self._settings.mode, request, moment, worked, None)

    def decide(self, connection: Connection, request: DecisionRequest) -> Decision:
        """Decide for a customer and log it; a command."""
        if request.customer_id is None:
            raise UserError("customer_id missing", expected="a customer to decide for")
        held, present = self._policies.get(request.policy), now()
        moment = request.as_of or present
        check_names(held, request)
        customer = ledger.root_of(connection, request.customer_id)
        if ledger.suppressed(connection, [ledger.hash_of(self._secret, customer)]):
            return self._for_the_erased(held, request, moment)
        cluster = self._cluster(connection, held, customer, request, to_us(present))
        mode: Mode = "holdout" if self._held_out(customer) else self._settings.mode
        seq = self._store.next_seq()
        evidence = _evidence(connection, ledger.known(connection, customer), request, moment)
        u = uniform(self._secret, "draw", str(seq))
        worked = work_out(held, cluster, mode, request, moment, evidence, u)
        decision_id = "d_" + token(self._secret, "decision", str(seq))
        made = answer(held, cluster, mode, request, moment, worked, decision_id)
        record = _record(held, customer, seq, request, made, worked)
        decision_log.write(connection, record)
        self._join_timeline(connection, record, to_us(present))
        return made

    def replay(self, connection: Connection, decision_id: str) -> Replay:
        """Make a logged decision again from the stored events."""
        record = decision_log.read(connection, decision_id)
        if record is None:
            raise NotFoundError("no such decision", got=decision_id)
        held = self._policies.by_hash(record.policy_sha256)
        if held is None:
            raise ConflictError(
                "the policy that decided is not loaded",
                got=f"{record.policy_name} {record.policy_version}",
                hint="serve that bundle as well",
            )
        request = DecisionRequest.model_validate(record.request)
        who = ledger.known(connection, record.customer_id, record.seq)
        evidence = _evidence(connection, who, request, record.decided_at, record.seq)
        mode: Any = record.mode
        worked = work_out(held, record.cluster, mode, request, record.decided_at, evidence, record.u)
        stored = replayed(record)
        again = replayed(_recomputed(held, record, worked))
        return Replay(decision_id=decision_id, identical=stored == again, stored=stored, recomputed=again)

    def _for_the_erased(self, held: Held, request: DecisionRequest, moment: dt.datetime) -> Decision:
        """Nobody is contacted and nothing is stored about a customer who asked to be erased."""
        cluster = assign_cluster(held.bundle.scenario, None)
        mode = self._settings.mode
        worked = work_out(held, cluster, mode, request, moment, Evidence(), 0.0, suppressed=True)
        return answer(held, cluster, mode, request, moment, worked, None)

    def _cluster(
        self, connection: Connection, held: Held, customer: str, request: DecisionRequest, now_us: int
    ) -> str:
        """The frozen cluster, or a new one from every attribute known by now."""
        ledger.ensure(connection, customer, now_us)
        attributes = ledger.attributes_of(connection, customer)
        if request.attributes:
            attributes |= request.attributes
            ledger.put_attributes(connection, customer, attributes)
        frozen = ledger.assigned_cluster(connection, customer, held.sha256)
        if frozen is not None:
            return frozen
        cluster = assign_cluster(held.bundle.scenario, attributes)
        ledger.freeze_cluster(connection, customer, held.sha256, cluster)
        return cluster

    def _held_out(self, customer: str) -> bool:
        return uniform(self._secret, "holdout", customer) < self._settings.holdout_share

    def _join_timeline(self, connection: Connection, record: Record, now_us: int) -> None:
        """A live decision is an event; its contact is one at once unless activation is deferred."""
        if record.mode == "shadow":
            return
        sent = record.status == "sent"
        ledger.append(connection, decision_event(record, True if sent else None), record.seq, now_us)
        if sent:
            contact = contact_event(record, record.decided_at)
            ledger.append(connection, contact, self._store.next_seq(), now_us)


def check_names(held: Held, request: DecisionRequest) -> None:
    """Exclusions and channels must exist in the scenario: a typing error must not widen a mask."""
    scenario = held.bundle.scenario
    channels = {c.name for c in scenario.channels}
    steps = {t.name for t in scenario.touchpoints} | {
        f"{t.name}:{channel}" for t in scenario.touchpoints for channel in t.channels
    }
    for what, names, known in (
        ("exclude", request.exclude, steps),
        ("channels", request.channels or [], channels),
    ):
        for name in names:
            if name not in known:
                raise UserError(f"unknown name in {what}", got=name, expected=", ".join(sorted(known)))


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
        reason=reason(journey.actions, choice),
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


def _evidence(
    connection: Connection,
    who: ledger.Known,
    request: DecisionRequest,
    moment: dt.datetime,
    seq: int | None = None,
) -> Evidence:
    """What is (or, with `seq`, what was) known of a customer."""
    pending = decision_log.reserved(connection, who, moment, seq)
    return Evidence(
        stored=ledger.timeline(connection, who, seq),
        given=None if request.timeline is None else _given(request, who.customer_id),
        reserved=[contact_event(record, record.decided_at) for record in pending],
    )


def _given(request: DecisionRequest, customer_id: str) -> Sequence[Event]:
    return [requested(item, customer_id) for item in request.timeline or ()]


def _record(
    held: Held, customer: str, seq: int, request: DecisionRequest, made: Decision, worked: Worked
) -> Record:
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


def _recomputed(held: Held, record: Record, worked: Worked) -> Record:
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
