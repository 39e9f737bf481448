"""One cluster's journey, compiled: everything the five uses share.

`Journey` is what simulator, solver, fit, learners and service receive; a scenario file is
read once, at the boundary (`scenario_file.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from envs.actions import Action, actions_of
from envs.machine import Machine, pack
from envs.model import Tables, tabulate
from envs.observation import Encoding
from envs.parameters import from_behavior
from envs.prices import Prices, compile_prices, weights_of
from envs.rules import Rules, compile_rules
from envs.scenario import Cluster, Scenario


@dataclass(frozen=True)
class Journey:
    """A scenario compiled for one cluster. A actions, C channels, L stages."""

    scenario: Scenario
    cluster: Cluster
    rules: Rules
    prices: Prices
    personas: tuple[Tables, ...]  # one where the cluster has no hidden types
    shares: Any  # (P,) of the personas

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
    def machine(self) -> Any:
        """Rules as compiled functions take them."""
        return self.packed[0].machine

    @cached_property
    def scalar_machine(self) -> tuple[int, ...]:
        """The machine as a tuple, for plain Python calls (`apply.py_func`)."""
        return tuple(self.machine.tolist())

    @cached_property
    def start_stages(self) -> Any:
        """(L,) start probabilities of the stages."""
        mix = self.cluster.start.stages
        out = np.array([mix.get(s.name, 0.0) for s in self.scenario.stages], dtype=np.float64)
        return out / out.sum()  # a file may round its mix

    @cached_property
    def start_consents(self) -> Any:
        """(2**C,) start probabilities of the consent bit patterns."""
        out = np.ones(1)
        for channel in reversed(self.scenario.channels):
            p = self.cluster.start.consent.get(channel.name, 1.0)
            out = np.outer(out, [1 - p, p]).ravel()
        return out

    def weights(self, objective: str | None = None) -> Any:
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
