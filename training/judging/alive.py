"""Is a scenario alive? Facts about its optimum that a dead one fails.

A scenario can be valid and still teach nothing: when looking a day ahead is as good as
looking far, when one action does for everybody, when nobody is ever engaged or tired, or
when ignoring requests pays. Every fact is exact (occupancy under the optimum) but the
requests' ends and the cited rates, which are counted in a simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from envs.arrays import Floats
from envs.errors import ScenarioError
from envs.journey.journey import compile_journey
from envs.journey.state import COLUMN, KERNEL_COMPONENTS
from envs.scenario.schema import Scenario
from envs.solve.baselines import best_single_action, business_rules, levels, myopic, service_only
from envs.solve.evaluation import occupancy
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.references import References, start_value
from envs.solve.solver import Solution, solve
from envs.solve.uncapped import at_cap
from training.judging.marginals import Marginal, count_events, marginals

CUSTOMERS = 4_000  # simulated under the optimum, a cluster
TAIL = 0.05  # the simulation ends when a day weighs this much


@dataclass(frozen=True)
class Fact:
    """One number and the side of a threshold it has to lie on; None: does not apply."""

    name: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """True where the threshold is met, there is none, or the fact does not apply."""
        if self.value is None:
            return True
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def expected(self) -> str:
        """The threshold in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}" if self.at_most is not None else ""


@dataclass(frozen=True)
class ClusterLife:
    """The facts of one cluster, under the scenario's default objective."""

    name: str
    states: int
    optimum: float
    service_only: float
    best_baseline: tuple[str, float]  # name and exact value, of those that roll no dice
    facts: tuple[Fact, ...]
    occupancy: dict[str, list[float]]  # component -> share of living time a level
    choices: dict[str, float]  # action -> share of the choices other than wait


@dataclass(frozen=True)
class AliveReport:
    """What `journey check SCENARIO` found."""

    scenario: str
    scenario_hash: str
    clusters: tuple[ClusterLife, ...]
    marginals: tuple[Marginal, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One line a fact that does not hold; empty for a live scenario."""
        facts = [
            f"{life.name}: {fact.name} is {fact.value:.3g}, expected {fact.expected}"
            for life in self.clusters
            for fact in life.facts
            if not fact.holds
        ]
        rates = [
            f"{m.name} is {'never seen' if m.value is None else f'{m.value:.4f}'}, "
            f"expected {m.low:g} to {m.high:g}"
            for m in self.marginals
            if not m.inside
        ]
        return (*facts, *rates)

    @property
    def alive(self) -> bool:
        """No failures."""
        return not self.failures

    def render(self, console: Console) -> None:
        """The facts as tables, for a person."""
        console.print(f"{self.scenario} (hash {self.scenario_hash[:12]})")
        console.print(_facts_table(self.clusters))
        for life in self.clusters:
            console.print(_life_table(life))
        if self.marginals:
            console.print(_marginals_table(self.marginals))
        for failure in self.failures:
            console.print(f"not alive: {failure}")
        if self.alive:
            console.print("alive: every fact holds")


def check_scenario(scenario: Scenario, seed: int = 0) -> AliveReport:
    """Solve every cluster and state the facts; raises `ScenarioError` where hidden types live."""
    clusters = tuple(_life(scenario, cluster.name, seed) for cluster in scenario.clusters)
    return AliveReport(scenario.name, scenario.digest(), clusters, marginals(scenario, seed))


def _life(scenario: Scenario, cluster: str, seed: int) -> ClusterLife:
    journey = compile_journey(scenario, cluster)
    if len(journey.personas) > 1:
        where = f"clusters.{cluster}.personas"
        raise ScenarioError(
            "hidden types have no exact optimum to look at", where=where, hint="check a persona as a cluster"
        )
    kernel, weights = build_kernel(journey), journey.weights()
    solution = solve(kernel, weights)
    known = _references(kernel, weights, solution)
    visits = occupancy(kernel, solution.actions)
    shares = _component_shares(kernel, visits)
    choices = _choices(kernel, solution, visits)
    facts = (
        *_value_facts(known),
        *_occupancy_facts(kernel, shares, visits),
        *_service_facts(kernel, solution, visits, seed),
        Fact("actions in use", float(sum(share >= 0.02 for share in choices.values())), at_least=4),
    )
    return ClusterLife(
        name=cluster,
        states=kernel.states * len(kernel.consents),
        optimum=known.optimum,
        service_only=known.service_only,
        best_baseline=known.best,
        facts=facts,
        occupancy={name: share.tolist() for name, share in shares.items()},
        choices=choices,
    )


def _references(kernel: Kernel, weights: Floats, solution: Solution) -> References:
    """The optimum beside the baselines that roll no dice: dense policies cost most and win least."""
    replies = service_only(kernel)
    policies = {
        "service_only": replies,
        "never": np.zeros_like(replies),
        "business_rules": business_rules(kernel, replies),
        "myopic": myopic(kernel, weights, replies),
        "best_single_action": best_single_action(kernel, weights, replies),
    }
    values = {name: start_value(kernel, policy, weights) for name, policy in policies.items()}
    return References(solution.start_value(kernel), values["service_only"], values["never"], values)


def _value_facts(known: References) -> tuple[Fact, ...]:
    """Is there something to win, and does it take foresight and more than one action?"""
    room = known.room / abs(known.optimum) if known.optimum else 0.0
    myopic, single = (
        known.score(known.baselines["myopic"]),
        known.score(known.baselines["best_single_action"]),
    )
    return (
        Fact("room above service only", room, at_least=0.01),
        Fact("lost by the myopic policy", None if myopic is None else 1.0 - myopic, at_least=0.1),
        Fact("score of the best single action", single, at_most=0.85),
        Fact("score of the best baseline", known.score(known.best[1])),
    )


def _component_shares(kernel: Kernel, visits: Floats) -> dict[str, Floats]:
    """Share of living time at each level of each component in use."""
    total, living = visits.sum(), visits.sum(axis=0)
    shares = {}
    for name in KERNEL_COMPONENTS:
        size = int(kernel.journey.rules.sizes[getattr(COLUMN, name)])
        if size > 1:
            shares[name] = np.bincount(levels(kernel, name), living, minlength=size) / total
    blocks = visits.sum(axis=1) / total
    for number, channel in enumerate(kernel.journey.scenario.channels):
        granted = float(blocks[kernel.consents >> number & 1 == 1].sum())
        shares[f"consent_{channel.name}"] = np.array([1.0 - granted, granted])
    return shares


def _occupancy_facts(kernel: Kernel, shares: dict[str, Floats], visits: Floats) -> tuple[Fact, ...]:
    """Are people ever engaged, more and less tired, well disposed, and does a cap ever bind?"""
    still = shares.get("engagement", np.ones(1))
    fatigue, goodwill = shares.get("fatigue", np.ones(1)), shares.get("goodwill", np.ones(1))
    caps = kernel.journey.scenario.memory.caps
    capped = float(visits[:, at_cap(kernel)].sum() / visits.sum()) if caps else None
    return (
        Fact("time engaged", 1.0 - float(still[0]), at_least=0.15),
        Fact("fatigue levels with 5 % of the time", float((fatigue >= 0.05).sum()), at_least=3),
        Fact("goodwill levels with 5 % of the time", float((goodwill >= 0.05).sum()), at_least=2),
        Fact("time at a contact cap", capped, at_least=0.05),
    )


def _choices(kernel: Kernel, solution: Solution, visits: Floats) -> dict[str, float]:
    """Share of every action among the optimum's choices other than wait."""
    used = np.bincount(solution.actions.ravel(), visits.ravel(), minlength=kernel.actions)[1:]
    total = max(float(used.sum()), 1e-300)
    keys = [action.key for action in kernel.journey.actions[1:]]
    return {key: float(share) / total for key, share in zip(keys, used, strict=True)}


def _service_facts(kernel: Kernel, solution: Solution, visits: Floats, seed: int) -> tuple[Fact, ...]:
    """Are requests answered, and does the reply's channel matter?"""
    rules = kernel.journey.rules
    channel = np.asarray(rules.action_channel)[solution.actions]
    touchpoint = np.asarray(rules.action_touchpoint)[solution.actions]
    replies = (touchpoint >= 0) & (np.asarray(rules.is_service)[touchpoint] == 1)
    asked = np.asarray(rules.inbox_channel)[levels(kernel, "inbox")]
    answered = float(visits[replies].sum())
    crossed = float(visits[replies & (channel != asked)].sum())
    days = math.ceil(math.log(TAIL) / math.log(kernel.journey.scenario.discount))
    counts = count_events(kernel, solution.actions, CUSTOMERS, days, seed)
    return (
        Fact("replies on another channel", crossed / answered if answered else None, at_least=0.05),
        Fact("requests left unanswered", counts.share_unanswered, at_most=0.2),
    )


def _facts_table(clusters: tuple[ClusterLife, ...]) -> Table:
    table = Table("fact", *(life.name for life in clusters), "expected")
    for row in zip(*(life.facts for life in clusters), strict=True):
        cells = ["-" if fact.value is None else f"{fact.value:.3g}" for fact in row]
        cells = [
            cell if fact.holds else f"[bold]{cell} ![/bold]" for cell, fact in zip(cells, row, strict=True)
        ]
        table.add_row(row[0].name, *cells, row[0].expected)
    return table


def _life_table(life: ClusterLife) -> Table:
    name, value = life.best_baseline
    title = (
        f"{life.name}: {life.states:,} states, V* {life.optimum:.2f}, service only {life.service_only:.2f}, "
        f"best baseline {name} {value:.2f}"
    )
    table = Table("component", "share of living time, by level", title=title, title_justify="left")
    for component, shares in life.occupancy.items():
        table.add_row(component, " ".join(f"{share:.2f}" for share in shares))
    used = sorted(life.choices.items(), key=lambda item: -item[1])
    table.add_row("choices", ", ".join(f"{key} {share:.2f}" for key, share in used if share >= 0.005))
    return table


def _marginals_table(rates: tuple[Marginal, ...]) -> Table:
    table = Table("rate under the business rules", "simulated", "cited", "")
    for rate in rates:
        value = "-" if rate.value is None else f"{rate.value:.4f} ± {rate.error:.4f}"
        table.add_row(rate.name, value, f"{rate.low:g} to {rate.high:g}", "" if rate.inside else "outside")
    return table
