"""The problem as people write it: what exists, what is allowed, what it costs, how customers behave.

A scenario is a tree of frozen, typed models (stages, channels, touchpoints, memory, prices,
clusters, objectives) in rates, odds ratios and money, plus the few lists that everything else
counts by: event kinds, actions, reward components. Nothing here computes a probability or reads a
file.
"""

from __future__ import annotations

from envs.scenario.actions import Action
from envs.scenario.events import Event, Kind
from envs.scenario.schema import COMPONENT, COMPONENTS, Cluster, Scenario

__all__ = ["COMPONENT", "COMPONENTS", "Action", "Cluster", "Event", "Kind", "Scenario"]
