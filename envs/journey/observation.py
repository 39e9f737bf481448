"""The only encoder of a state: a float32 vector of levels, one entry a component in use.

Consent has one entry a channel. The observation determines the state; one-hot encoding is
the network's first, fixed layer and part of the exported file, so nothing is scaled here.
Where a cluster mixes personas, the belief follows in [0, 1], one entry a persona.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.arrays import Floats
from envs.compiled import compiled
from envs.journey.rules import Rules
from envs.journey.state import State
from envs.scenario.schema import Scenario


class Encoding:
    """Names and sizes of the observation's entries, F in all; a belief has the size 0."""

    def __init__(self, scenario: Scenario, rules: Rules, personas: tuple[str, ...] = ()) -> None:
        names: list[str] = []
        sizes: list[int] = []
        source: list[int] = []
        for position, component in enumerate(State._fields):
            if component == "consent":
                names += [f"consent_{channel.name}" for channel in scenario.channels]
                sizes += [2] * len(scenario.channels)
                source += [-1 - c for c in range(len(scenario.channels))]
            elif int(rules.sizes[position]) > 1 or component == "stage":
                names.append(component)
                # the churned stage is observable too (a terminal observation)
                sizes.append(int(rules.sizes[position]) + (component == "stage"))
                source.append(position)
        self.beliefs = tuple(f"belief_{name}" for name in personas)
        self.levels = tuple(names)  # the entries that the state determines come first
        self.names = (*names, *self.beliefs)
        self.sizes = (*sizes, *(0 for _ in personas))
        self.source = np.array(source, dtype=np.int64)  # of levels: component position, or -1 - channel

    def encode(self, state: State, belief: Sequence[float] = ()) -> Floats:
        """One state, and the belief where there is one, as (F,) float32."""
        levels = [state.consent >> -1 - s & 1 if s < 0 else state[s] for s in self.source.tolist()]
        return np.array([*levels, *belief], dtype=np.float32)


@compiled
def write_observation(source: Any, state: State, out: Any) -> None:
    """Write one state's entries into `out` (F,); `source` as in `Encoding`."""
    levels = (
        state.stage,
        state.engagement,
        state.fatigue,
        state.goodwill,
        state.inbox,
        state.consent,
        state.offer,
        state.open_contact,
        state.caps,
        state.idle,
        state.gap,
        state.day,
    )
    for f in range(len(source)):
        s = source[f]
        out[f] = state.consent >> (-1 - s) & 1 if s < 0 else levels[s]
