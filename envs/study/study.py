"""A scenario opened: its clusters' optimum, what any policy is worth there, and days simulated.

    keen = envs.load("configs/scenarios/tiny.yaml").journey("keen")
    best = keen.solve()
    keen.evaluate(lambda states: "offer:email").score

Values are of the start distribution, discounted, in objective units; the score is 0 for service only
and 1 for the optimum. A cluster of hidden types has no exact optimum and is refused, but simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from envs.arrays import Floats
from envs.errors import ScenarioError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, refuse_hidden
from envs.policy.policy import Bundle
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.log import Span, simulated_log
from envs.simulate.logging_policy import Decider, by_table, deciders, served
from envs.simulate.opening import objective_weights, open_journey, whole_number, whole_seed
from envs.solve.evaluation import evaluate_policy
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.paths import ideal_path
from envs.solve.references import References, references
from envs.solve.solver import Solution
from envs.solve.solver import solve as solve_kernel
from envs.study.policies import ACTION, Policy, policy_arrays
from envs.study.states import named_states


@dataclass(frozen=True)
class Worth:
    """What a policy is worth."""

    policy: str
    value: float
    score: float | None  # 0 service only, 1 the optimum; None where there is too little to win
    components: dict[str, float]  # unweighted, discounted
    overruled: float  # share of the time in which the rules forbade what it wished, and it waited

    def __repr__(self) -> str:
        score = "no score" if self.score is None else f"score {self.score:.4f}"
        held = f", overruled {self.overruled:.1%} of the time" if self.overruled > 0 else ""
        return f"Worth({self.policy}: {self.value:.4f}, {score}{held})"

    def _repr_html_(self) -> str:
        """The components as a table."""
        title = repr(self).removeprefix("Worth(").removesuffix(")")
        money = pd.Series(self.components, name="discounted").round(4).to_frame()
        return f"<p>{title}</p>{money.to_html()}"


@dataclass(frozen=True)
class Optimum:
    """The exact optimum of a cluster under one objective."""

    kernel: Kernel
    solution: Solution
    known: References

    @property
    def value(self) -> float:
        """V* from the start distribution."""
        return self.known.optimum

    @property
    def bound(self) -> float:
        """Largest error of any state's value."""
        return self.solution.bound

    @property
    def baselines(self) -> dict[str, float]:
        """Values of the simple policies, by name."""
        return dict(self.known.baselines)

    def table(self) -> pd.DataFrame:
        """A row a state: its components by name, the best `action` and its `value`."""
        keys = [action.key for action in self.kernel.journey.actions]
        best = np.array(keys, dtype=object)[self.solution.actions.ravel()]
        values = self.solution.values.ravel()
        return named_states(self.kernel).assign(**{ACTION: best}, value=values)

    def path(self) -> pd.DataFrame:
        """The ideal path: a row a run of equal days from the likeliest start to the best stage."""
        return pd.DataFrame(ideal_path(self.kernel, self.solution.values, self.solution.actions)["steps"])

    def __repr__(self) -> str:
        journey = self.kernel.journey
        name, best = self.known.best
        return (
            f"Optimum({journey.scenario.name}/{journey.cluster.name}: {self.value:.4f}, "
            f"best baseline {name} {best:.4f}, service only {self.known.service_only:.4f})"
        )

    def _repr_html_(self) -> str:
        """The optimum beside the baselines."""
        rows = pd.Series({"optimum": self.value, **self.baselines}, name="value").sort_values(ascending=False)
        return f"<p>{self!r}</p>{rows.round(4).to_frame().to_html()}"


class JourneyStudy:
    """One cluster: solved, evaluated and simulated. What was computed is kept."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self._optima: dict[str, Optimum] = {}

    @cached_property
    def kernel(self) -> Kernel:
        """The exact model; raises `ScenarioError` where it is too large, or types are hidden."""
        refuse_hidden(self.journey)
        return build_kernel(self.journey)

    @cached_property
    def states(self) -> pd.DataFrame:
        """Every state by name, as a policy function gets them."""
        return named_states(self.kernel)

    @property
    def actions(self) -> list[str]:
        """Action keys, `wait` first."""
        return [action.key for action in self.journey.actions]

    def solve(self, objective: str | None = None) -> Optimum:
        """The optimum under an objective (default: the scenario's)."""
        weights = self._weights(objective)
        name = objective or self.journey.scenario.default_objective
        if name not in self._optima:
            solution = solve_kernel(self.kernel, weights)
            self._optima[name] = Optimum(self.kernel, solution, references(self.kernel, weights, solution))
        return self._optima[name]

    def evaluate(self, policy: Policy, objective: str | None = None) -> Worth:
        """What a policy is worth, exactly.

        `policy` is a baseline's name (`service_only`, `business_rules`, …); a DataFrame with a column
        `action` and any columns of `states`; a function that takes `states` and returns an action
        key for each row, or one for all (a Series is read by its index); or a bundle, without its
        exploration. A wish that the rules forbid passes as `wait`.
        """
        weights, known = self._weights(objective), self.solve(objective).known
        arrays, overruled = policy_arrays(self.kernel, policy, self.states, weights)
        found = evaluate_policy(self.kernel, arrays, weights)
        time = found.occupancy.sum()
        return Worth(
            policy=_name(policy),
            value=found.value,
            score=known.score(found.value),
            components=dict(zip(COMPONENTS, found.components.tolist(), strict=True)),
            overruled=float((found.occupancy * overruled).sum() / time) if time else 0.0,
        )

    def simulate(
        self, customers: int, days: int = 60, policy: Policy = "business_rules", seed: int = 0
    ) -> pd.DataFrame:
        """An event log of new customers, one row an event, with the propensity of every decision.

        `policy` as in `evaluate`, or a mixture such as `business_rules:0.9+random_legal:0.1`; a
        bundle, or its folder's name, decides as the service would, exploration included.
        """
        span = Span(whole_number(customers, "customers"), whole_number(days, "days"), whole_seed(seed))
        log = simulated_log(self.journey, self._decider(policy), span, _name(policy))
        return log.to_pandas()

    def _decider(self, policy: Policy) -> Decider:
        if isinstance(policy, str):
            return deciders(policy, where="policy")(self.journey)
        if isinstance(policy, Bundle):
            return served(policy, self.journey, "policy")
        arrays, _ = policy_arrays(self.kernel, policy, self.states, self._weights(None))
        return by_table(self.kernel, arrays)

    def _weights(self, objective: str | None) -> Floats:
        return objective_weights(self.journey, objective)

    def __repr__(self) -> str:
        journey = self.journey
        hidden = f", {len(journey.personas)} hidden types" if len(journey.personas) > 1 else ""
        name = f"{journey.scenario.name}/{journey.cluster.name}"
        return f"JourneyStudy({name}: {len(self.actions)} actions{hidden})"


class Study:
    """A scenario and its clusters."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    @property
    def clusters(self) -> list[str]:
        """Names of the clusters, in the file's order."""
        return [cluster.name for cluster in self.scenario.clusters]

    @property
    def objectives(self) -> list[str]:
        """Names of the objectives."""
        return list(self.scenario.objectives)

    def journey(self, cluster: str | None = None) -> JourneyStudy:
        """One cluster (default: the first); raises `ScenarioError` for another name."""
        return JourneyStudy(open_journey(self.scenario, cluster))

    def __repr__(self) -> str:
        return f"Study({self.scenario!r})"

    def _repr_html_(self) -> str:
        """The clusters as a table."""
        rows = [(c.name, c.label, c.share, len(c.personas) or 1) for c in self.scenario.clusters]
        table = pd.DataFrame(rows, columns=["cluster", "label", "share", "types"])
        return f"<p>{self!r}</p>{table.to_html(index=False)}"


def load(scenario: str | Path) -> Study:
    """Open a scenario file; raises `ScenarioError` with file, key and line."""
    if not isinstance(scenario, (str, Path)) or not str(scenario):
        raise ScenarioError("not a scenario file", where="load", got=scenario, expected="a path")
    return Study(load_scenario(Path(scenario)))


def _name(policy: Policy) -> str:
    if isinstance(policy, str):
        return policy
    if isinstance(policy, pd.DataFrame):
        return "table"
    manifest = getattr(policy, "manifest", None)
    return str(manifest.name if manifest is not None else getattr(policy, "__name__", "policy"))
