"""One cluster's journey, compiled: everything the five uses share.

`Journey` is what simulator, solver, fit, learners and service receive; a scenario file is
read once, at the boundary (`files/scenario_file.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from envs.arrays import Floats, Packed
from envs.errors import ScenarioError
from envs.journey.logits import from_behavior
from envs.journey.observation import Encoding
from envs.journey.packed import Machine, pack
from envs.journey.prices import Prices, compile_prices, weights_of
from envs.journey.rules import Rules, compile_rules
from envs.journey.tables import Tables, tabulate
from envs.scenario.actions import Action, actions_of
from envs.scenario.schema import Cluster, Scenario


@dataclass(frozen=True, repr=False)
class Journey:
    """A scenario compiled for one cluster. A actions, C channels, L stages."""

    scenario: Scenario
    cluster: Cluster
    rules: Rules
    prices: Prices
    personas: tuple[Tables, ...]  # one where the cluster has no hidden types
    shares: Floats  # (P,) of the personas

    def __repr__(self) -> str:
        hidden = f", {len(self.personas)} hidden types" if len(self.personas) > 1 else ""
        return f"Journey({self.scenario.name}/{self.cluster.name}: {len(self.actions)} actions{hidden})"

    @property
    def tables(self) -> Tables:
        """The probabilities of the only persona."""
        if len(self.personas) > 1:
            raise ValueError("a cluster of several personas has no single table")
        return self.personas[0]

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """(A,) with wait at 0."""
        return actions_of(self.scenario)

    @cached_property
    def encoding(self) -> Encoding:
        """Names and sizes of the observation."""
        hidden = len(self.personas) > 1
        return Encoding(self.scenario, self.rules, self.persona_names if hidden else ())

    @property
    def persona_names(self) -> tuple[str, ...]:
        """(P,) names of the hidden types; empty where the cluster has none."""
        return tuple(p.name for p in self.cluster.personas)

    @cached_property
    def packed(self) -> tuple[Machine, ...]:
        """(P,) the compiled form, one a persona; their `machine` and `price` are alike."""
        return tuple(pack(self.rules, tables, self.prices) for tables in self.personas)

    @property
    def machine(self) -> Packed:
        """Rules as compiled functions take them."""
        return self.packed[0].machine

    @cached_property
    def scalar_machine(self) -> tuple[int, ...]:
        """The machine as a tuple, for plain Python calls (`apply.py_func`)."""
        return tuple(self.machine.tolist())

    @cached_property
    def start_stages(self) -> Floats:
        """(L,) start probabilities of the stages."""
        mix = self.cluster.start.stages
        out = np.array([mix.get(s.name, 0.0) for s in self.scenario.stages], dtype=np.float64)
        return out / out.sum()  # a file may round its mix

    @cached_property
    def start_consents(self) -> Floats:
        """(2**C,) start probabilities of the consent bit patterns."""
        out = np.ones(1)
        for channel in reversed(self.scenario.channels):
            p = self.cluster.start.consent.get(channel.name, 1.0)
            out = np.outer(out, [1 - p, p]).ravel()
        return out

    def weights(self, objective: str | None = None) -> Floats:
        """(R,) reward weights of an objective (default: the scenario's)."""
        return weights_of(self.scenario.objectives[objective or self.scenario.default_objective])


def compile_journey(scenario: Scenario, cluster: str) -> Journey:
    """Compile one cluster of a validated scenario."""
    spec = scenario.cluster(cluster)
    rules = compile_rules(scenario)
    behaviors = [p.behavior for p in spec.personas] or [spec.behavior]
    shares = np.array([p.share for p in spec.personas] or [1.0])
    return Journey(
        scenario=scenario,
        cluster=spec,
        rules=rules,
        prices=compile_prices(scenario),
        personas=tuple(tabulate(from_behavior(b, scenario, rules), scenario, rules) for b in behaviors),
        shares=shares / shares.sum(),
    )


_BY_SHARE = (
    "response", "opt_out", "resolution", "purchase", "churn", "advance", "lapse", "inbound",
    "inbound_channel", "value",
)  # fmt: skip


def mean_journey(journey: Journey) -> Journey:
    """The journey of one persona whose chances are the share-weighted means."""
    tables, shares = journey.personas, journey.shares
    mean = {
        name: sum(share * np.asarray(getattr(t, name)) for share, t in zip(shares, tables, strict=True))
        for name in _BY_SHARE
    }
    one: Tables = tables[0]._replace(**mean)
    return replace(journey, personas=(one,), shares=np.ones(1))


def persona_journey(journey: Journey, persona: int) -> Journey:
    """The journey of a customer known to be of one persona."""
    return replace(journey, personas=(journey.personas[persona],), shares=np.ones(1))


def refuse_hidden(journey: Journey) -> None:
    """Raise `ScenarioError` where a cluster mixes hidden types: one exact kernel would be a wrong one."""
    if len(journey.personas) > 1:
        raise ScenarioError(
            "hidden types have no exact optimum",
            where=f"clusters.{journey.cluster.name}.personas",
            got=", ".join(journey.persona_names),
            expected="a cluster without personas",
            hint="`journey train configs/training/personas.yaml` learns on its belief",
        )
