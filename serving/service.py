"""What the server can do, one method a route: commands through the writer, reads beside it.

Composes decisions, events, customers and policies over one store; knows no HTTP.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, text

from envs.policy.policy import Bundle
from serving import customers, receiving
from serving.contract.customers import Consent, CustomerExport, CustomerState, Erased, TimelinePage
from serving.contract.decisions import (
    Activation,
    ActivationRequest,
    BatchAnswer,
    BatchItem,
    Decision,
    DecisionRequest,
    LoggedDecision,
    Replay,
)
from serving.contract.events import EventsAnswer, Incoming
from serving.contract.policies import ClusterPath, HeldCluster, HeldPolicies, HeldPolicy
from serving.decide import activation
from serving.decide.decider import Decider
from serving.decide.draws import fresh_secret
from serving.decide.policies import Held, Policies
from serving.errors import NotFoundError
from serving.metrics import Metrics
from serving.problems import of_error, of_validation
from serving.settings import Settings
from serving.store import decision_log, idempotency, ledger
from serving.store.clock import now, to_us
from serving.store.idempotency import Reply
from serving.store.store import Store

T = TypeVar("T")


class Service:
    """One store, the bundles held, and everything that can be asked of them."""

    def __init__(self, bundles: Sequence[Bundle], settings: Settings) -> None:
        self.settings = settings
        self.policies = Policies(bundles)
        self.store = Store(settings.store)
        fresh = fresh_secret(settings.seed)
        self._secret = self.store.submit(lambda c: ledger.secret_of(c, fresh)).result()
        self.store.submit(self.policies.restore).result()
        self.decider = Decider(self.store, self.policies, settings, self._secret)
        self.metrics = Metrics(lambda: self.store.queued)

    def close(self) -> None:
        """Write what is queued and stop."""
        self.store.close()

    # --- decisions ------------------------------------------------------------------------------

    async def decide(self, request: DecisionRequest, key: str | None) -> Reply:
        """One decision; stored unless it is for nobody."""
        if request.customer_id is None:
            return Reply((await asyncio.to_thread(self._advise, request)).model_dump_json())
        return await self._once("decisions", key, request, lambda c: self._decide(c, request))

    async def decide_batch(self, items: Sequence[dict[str, object]]) -> BatchAnswer:
        """Each request by itself; one wrong request does not spoil the others."""
        return BatchAnswer(results=await asyncio.gather(*(self._decide_item(item) for item in items)))

    async def activate(self, decision_id: str, request: ActivationRequest) -> Activation:
        """What became of a contact."""
        return await self._command(lambda c: activation.report(self.store, c, decision_id, request))

    def decision(self, decision_id: str) -> LoggedDecision:
        """A logged decision, with what it was made from."""
        with self.store.read() as connection:
            record = decision_log.read(connection, decision_id)
        if record is None:
            raise NotFoundError("no such decision", got=decision_id)
        late = record.status == decision_log.RESERVED and record.expires_at <= now()
        status: Literal["expired"] | decision_log.Status = "expired" if late else record.status
        return LoggedDecision(
            decision=Decision.model_validate(record.answer),
            status=status,
            eligible=list(record.eligible),
            state=record.state,
            observation=record.observation,
            u=record.u,
            request=record.request,
        )

    def replay(self, decision_id: str) -> Replay:
        """A logged decision made again."""
        with self.store.read() as connection:
            return self.decider.replay(connection, decision_id)

    def _advise(self, request: DecisionRequest) -> Decision:
        return self._counted(self.decider.advise(request))

    def _decide(self, connection: Connection, request: DecisionRequest) -> Decision:
        return self._counted(self.decider.decide(connection, request))

    async def _decide_item(self, item: dict[str, object]) -> BatchItem:
        try:
            request = DecisionRequest.model_validate(item)
            reply = await self.decide(request, None)
        except ValidationError as error:
            wrong = of_validation(error.errors(include_input=False))
            return BatchItem(status=wrong.status, problem=wrong.model_dump(exclude_none=True))
        except Exception as error:  # whatever went wrong is this item's answer, not the batch's
            wrong = of_error(error)
            return BatchItem(status=wrong.status, problem=wrong.model_dump(exclude_none=True))
        return BatchItem(status=200, decision=Decision.model_validate_json(reply.body))

    def _counted(self, made: Decision) -> Decision:
        self.metrics.decisions.labels(made.policy.name, made.mode, made.next_step.action).inc()
        if made.degraded:
            self.metrics.degraded.inc()
        return made

    # --- events ---------------------------------------------------------------------------------

    async def receive(self, messages: list[Incoming], key: str | None) -> Reply:
        """Events, attributes and aliases, all of a request or none."""
        received = now()
        arrivals = receiving.interpret(self.policies.active, messages, received)

        def command(connection: Connection) -> EventsAnswer:
            return receiving.receive(self.store, connection, self._secret, arrivals, received)

        named = [arrival.customer_id for arrival in arrivals]
        reply = await self._once("events", key, list(messages), command, named)
        if not reply.replayed:
            for result in EventsAnswer.model_validate_json(reply.body).results:
                self.metrics.events.labels(result.status).inc()
        return reply

    # --- customers ------------------------------------------------------------------------------

    def timeline(self, customer_id: str, cursor: str | None, limit: int) -> TimelinePage:
        """A page of a customer's events."""
        with self.store.read() as connection:
            return customers.timeline(connection, customer_id, cursor, limit)

    def state(self, customer_id: str, as_of: dt.datetime | None) -> CustomerState:
        """Where a customer stands."""
        with self.store.read() as connection:
            return customers.state(connection, self.policies.active, customer_id, as_of)

    def consent(self, customer_id: str, channel: str) -> Consent:
        """Whether a channel may be used."""
        with self.store.read() as connection:
            return customers.consent(connection, self.policies.active, customer_id, channel)

    async def set_consent(self, customer_id: str, channel: str, granted: bool) -> Consent:
        """A customer's wish; the next request obeys it."""
        held = self.policies.active
        return await self._command(
            lambda c: customers.set_consent(self.store, c, held, self._secret, customer_id, channel, granted)
        )

    def export(self, customer_id: str) -> CustomerExport:
        """Everything held about a customer."""
        with self.store.read() as connection:
            return customers.export(connection, customer_id)

    async def erase(self, customer_id: str) -> Erased:
        """Forget a customer."""
        return await self._command(lambda c: customers.erase(c, self._secret, customer_id))

    # --- policies -------------------------------------------------------------------------------

    def held(self) -> HeldPolicies:
        """All policies, the active one marked."""
        return HeldPolicies(policies=[self._shown(held) for held in self.policies.all])

    async def activate_policy(self, name: str, version: str | None) -> HeldPolicy:
        """Answer with another policy from the next request on."""
        return self._shown(await self._command(lambda c: self.policies.activate(c, name, version)))

    def path(self, cluster: str, objective: str | None) -> ClusterPath:
        """The ideal overall path, as the bundle carries it."""
        held = self.policies.active
        wanted = objective or held.bundle.manifest.objective
        paths: Any = held.bundle.paths.get("clusters", {}).get(cluster)
        if paths is None:
            raise NotFoundError("no such cluster", got=cluster, expected=", ".join(held.cluster_names))
        if wanted not in paths:
            raise NotFoundError("no path for this objective", got=wanted, expected=", ".join(paths))
        policy = {"name": held.name, "version": held.version, "sha256": held.sha256}
        return ClusterPath(cluster=cluster, objective=wanted, policy=policy, path=paths[wanted])

    def checks(self) -> dict[str, str]:
        """What must work before traffic is let in."""
        with self.store.read() as connection:
            connection.execute(text("SELECT 1"))
        return {"store": "ok" if self.store.alive else "the writer has stopped", "policy": "ok"}

    def _shown(self, held: Held) -> HeldPolicy:
        manifest = held.bundle.manifest
        return HeldPolicy(
            name=held.name,
            version=held.version,
            sha256=held.sha256,
            active=held is self.policies.active,
            objective=manifest.objective,
            scenario=held.bundle.scenario.name,
            scenario_hash=manifest.scenario_hash,
            exploration=manifest.exploration,
            clusters={
                name: HeldCluster(
                    score=entry.score,
                    score_served=entry.score_served,
                    value=entry.value,
                    optimum=entry.optimum,
                )
                for name, entry in manifest.clusters.items()
            },
        )

    # --- commands -------------------------------------------------------------------------------

    async def _command(self, command: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self.store.submit(command))

    async def _once(
        self,
        route: str,
        key: str | None,
        request: BaseModel | list[Incoming],
        command: Callable[[Connection], BaseModel],
        named: Sequence[str] = (),
    ) -> Reply:
        """Run a command once an Idempotency-Key; its answer is stored with its effect."""

        def run(connection: Connection) -> Reply:
            if key is None:
                return Reply(command(connection).model_dump_json())
            content = idempotency.fingerprint(request)
            if (before := idempotency.earlier(connection, route, key, content)) is not None:
                return before
            body = command(connection).model_dump_json()
            wanted = [*named, *filter(None, [getattr(request, "customer_id", None)])]
            owners = {who.customer_id for name in wanted if (who := ledger.find(connection, name))}
            if owners:  # else nothing was stored, about nobody, and the answer is not kept either
                idempotency.remember(connection, route, key, content, body, owners, to_us(now()))
            return Reply(body)

        return await self._command(run)
