"""What a bundle is worth: exactly in a scenario, or estimated from a log nobody planned it on.

Exact where the solver applies, paired rollouts with an interval beyond it. From a log:
`training.ope`, with its gates. Values from a model that was fitted are labelled so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.arrays import Floats
from envs.day.masks import unpack
from envs.errors import BundleError, GateError, ScenarioError
from envs.journey.journey import Journey, compile_journey
from envs.journey.size import refuse_above_limit
from envs.policy.policy import Bundle, Policy
from envs.scenario.schema import Scenario
from envs.simulate.simulator import Simulator
from training.judging.judge import judge, references
from training.learner import Problem
from training.logs.logged import LoggedCustomers
from training.ope.compare import Interval, Settings, document, evaluate_logged, evaluate_targets
from training.ope.estimate import Contributions
from training.ope.estimate import judge as estimate
from training.ope.log_panel import LoggedJourneys, logged_journeys
from training.ope.panel import Panel
from training.ope.regression import RidgeModel
from training.ope.targets import always, best_single_action, bundle_policy, nothing

MOST_CUSTOMER_DAYS = 2_000_000  # about half a gigabyte of features
MOST_SLOPES = 1_000  # features times actions; beyond, actions get no slopes of their own


def in_scenario(
    bundle: Bundle, scenario: Scenario, customers: int, days: int, seed: int, simulate: bool = False
) -> dict[str, Any]:
    """One row a cluster: the exact value in `scenario`, or a simulated one where it is too large."""
    _require_same_layout(bundle, scenario)
    rows = []
    for name in bundle.manifest.clusters:
        journey = compile_journey(scenario, name)
        if simulate or len(journey.personas) > 1 or not _solvable(journey):
            rows.append(_simulated(bundle, journey, customers, days, seed))
        else:
            rows.append(_exact(bundle, journey, seed))
    weight = sum(scenario.cluster(r["name"]).share for r in rows)
    return {
        "bundle": str(bundle.folder),
        "scenario": scenario.name,
        "scenario_hash": scenario.digest(),
        "same_scenario": scenario.digest() == bundle.manifest.scenario_hash,
        "objective": bundle.manifest.objective,
        "clusters": rows,
        "weighted_value": sum(scenario.cluster(r["name"]).share * r["value"] for r in rows) / weight,
    }


def _require_same_layout(bundle: Bundle, scenario: Scenario) -> None:
    """The scenario must have the bundle's clusters, observation and actions."""
    known, where = [c.name for c in scenario.clusters], str(bundle.folder)
    lost = [name for name in bundle.manifest.clusters if name not in known]
    if lost:
        raise ScenarioError(
            "the bundle's cluster is not in it", where=scenario.name, got=lost[0], expected=", ".join(known)
        )
    journey = compile_journey(scenario, next(iter(bundle.manifest.clusters)))
    mine, theirs = list(journey.encoding.levels), bundle.manifest.observation
    if mine != theirs or journey.encoding.sizes != bundle.journey(journey.cluster.name).encoding.sizes:
        raise BundleError("made for another observation", where=where, got=theirs, expected=str(mine))
    actions = [a.key for a in journey.actions]
    if actions != bundle.manifest.actions:
        got = bundle.manifest.actions
        raise BundleError("made for other actions", where=where, got=got, expected=str(actions))


def _solvable(journey: Journey) -> bool:
    try:
        refuse_above_limit(journey)
    except ScenarioError:
        return False
    return True


def _exact(bundle: Bundle, journey: Journey, seed: int) -> dict[str, Any]:
    name, entry = journey.cluster.name, bundle.manifest.clusters[journey.cluster.name]
    problem = Problem(journey, bundle.manifest.objective, seed)
    known = references(problem)
    verdict = judge(problem, bundle.policy(name), known, bundle.manifest.exploration, entry.max_regret)
    best, best_value = known.best
    return {
        "name": name,
        "method": "exact",
        "horizon": f"infinite, discounted {journey.scenario.discount} a day",
        "value": verdict.value,
        "value_served": verdict.value_served,
        "optimum": known.optimum,
        "service_only": known.service_only,
        "never": known.never,
        "best_baseline": {"name": best, "value": best_value},
        "score": verdict.score,
        "score_served": verdict.score_served,
        "edge": verdict.edge,
        "money_gap": verdict.money_gap,
        "components": verdict.components,
    }


def _simulated(bundle: Bundle, journey: Journey, customers: int, days: int, seed: int) -> dict[str, Any]:
    """Paired rollouts of the policy and of waiting, with common random numbers."""
    name, weights = journey.cluster.name, journey.weights(bundle.manifest.objective)
    policy = rollout(journey, bundle.policy(name), weights, customers, days, seed)
    never = rollout(journey, None, weights, customers, days, seed)
    value = estimate(Contributions("simulation", policy))
    return {
        "name": name,
        "method": "simulated",
        "horizon": f"{days} days, discounted {journey.scenario.discount} a day",
        "value": float(policy.mean()),
        "interval": value.document(),
        "never": float(never.mean()),
        "over_never": estimate(Contributions("paired simulation", policy - never)).document(),
        "score": None,
    }


def rollout(
    journey: Journey, policy: Policy | None, weights: Floats, customers: int, days: int, seed: int
) -> Floats:
    """(N,) discounted returns of the greedy policy; None waits always."""
    simulator = Simulator(journey, customers, seed)
    total, factor = np.zeros(customers), 1.0
    actions = np.zeros(customers, dtype=np.int64)
    for _ in range(days):
        if policy is not None:
            legal = unpack(simulator.legal, len(journey.actions))
            actions = policy.evaluate(simulator.observations, legal)[0].argmax(axis=1)
        total += factor * (simulator.step(actions).rewards @ weights)
        factor *= journey.scenario.discount
    return total


# --- from a log ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogOptions:
    """How a log is used to estimate."""

    against: tuple[str, ...] = ()  # actions `touchpoint:channel` to compare with
    discount: float = 1.0  # a day
    seed: int = 0
    served: bool = False  # also the sampler with its exploration
    bootstrap: int = 0  # resamples over customers; 0: normal intervals
    customer_days: int = MOST_CUSTOMER_DAYS  # beyond, a sample of the customers is evaluated


def on_log(bundle: Bundle, logged: LoggedCustomers, options: LogOptions) -> dict[str, Any]:
    """Off-policy estimates of the bundle against nothing, single actions and the logged policy.

    Raises `GateError` where not even one decision at a time can be estimated.
    """
    for name in bundle.manifest.clusters:
        if bundle.journey(name).encoding.beliefs:
            raise GateError(f"cluster {name} mixes hidden types: a log's rows do not carry its belief")
    journeys = journeys_of(bundle, logged.sample(options.customer_days, options.seed), options.discount)
    panel, scenario = journeys.panel, bundle.scenario
    slopes = panel.features.shape[2] * panel.count
    settings = Settings(RidgeModel(interactions=slopes <= MOST_SLOPES), seed=options.seed)
    targets = {"policy": bundle_policy(bundle, journeys)}
    if options.served:
        targets["policy_served"] = bundle_policy(bundle, journeys, served=True)
    targets["nothing"] = nothing(journeys)
    targets |= {f"always {key}": always(journeys, scenario, key) for key in options.against}
    results = evaluate_targets(panel, targets, settings)
    interval = Interval(bootstrap=options.bootstrap, seed=options.seed)
    figures = document([*results, evaluate_logged(panel)], interval)
    first = figures["policies"]["policy"]["one_decision_ipw"]
    if first["refused"]:
        raise GateError(f"one decision of the policy, {first['method']}: {first['reason']}")
    decided = panel.present & (panel.legal.sum(axis=2) > 1)
    return {
        "bundle": str(bundle.folder),
        "objective": bundle.manifest.objective,
        "customers": len(journeys.customers),
        "customers_in_the_log": len(logged.clusters),
        "decisions": int(decided.sum()),
        "horizon": f"the log's {panel.actions.shape[1]} decisions, discounted {options.discount} a day",
        "reward": "one decision: up to the next decision; journey: from the first decision to the log's end",
        "currency": scenario.currency,
        "rows_before_the_first_decision": journeys.unpriced,
        "chosen": _chosen(panel, targets["policy"], bundle.manifest.actions),
        **figures,
    }


def journeys_of(bundle: Bundle, logged: LoggedCustomers, discount: float) -> LoggedJourneys:
    """The log cut at its decisions, priced by the bundle's objective."""
    scenario = bundle.scenario
    weights = bundle.journey(scenario.clusters[0].name).weights(bundle.manifest.objective)
    return logged_journeys(
        logged.columns, scenario, logged.plan, logged.starts, logged.clusters, weights, discount
    )


def single_action_on(bundle: Bundle, logged: LoggedCustomers) -> str:
    """The best single action by this log; judge it on other customers."""
    return best_single_action(journeys_of(bundle, logged, 1.0), bundle.scenario)


def _chosen(panel: Panel, target: Floats, keys: list[str]) -> dict[str, float]:
    """Share of each action the policy chooses in the logged states, where it has a choice."""
    rows = panel.present & (panel.legal.sum(axis=2) > 1)
    shares = target[rows].mean(axis=0)
    return {key: float(share) for key, share in zip(keys, shares, strict=True) if share > 0.0}
