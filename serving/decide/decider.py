"""Decisions: made, logged, and made again from the record.

A decision is worked out by one pure function of the evidence; what is logged is enough to
do so again (`replay`). Runs inside the store's commands; knows no HTTP.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import count

from sqlalchemy import Connection

from envs.errors import UserError
from envs.scenario.assignment import assign_cluster
from envs.scenario.events import Event
from envs.timeline.occasion import Occasion, live_mask
from serving.contract.decisions import Decision, DecisionRequest, Replay
from serving.contract.intake import requested
from serving.contract.words import Mode
from serving.decide.choice import choose
from serving.decide.draws import token, uniform
from serving.decide.outcome import (
    Worked,
    answer,
    contact_event,
    decision_event,
    recomputed,
    record_of,
    replayed,
)
from serving.decide.policies import Held, Policies
from serving.decide.standing import Evidence, stand
from serving.errors import ConflictError, NotFoundError
from serving.settings import Settings
from serving.store import decision_log, ledger
from serving.store.clock import now, to_us
from serving.store.decision_log import Record
from serving.store.store import Store

ADVISED = "advised"  # stands in for the id where there is no customer


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
    standing = stand(held.fold_of(cluster), evidence, moment)
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
        record = record_of(held, customer, seq, request, made, worked)
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
        worked = work_out(held, record.cluster, record.mode, request, record.decided_at, evidence, record.u)
        stored = replayed(record)
        again = replayed(recomputed(held, record, worked))
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
