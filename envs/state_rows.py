"""States as row numbers: consent pattern × S + kernel index; S kernel states, C patterns.

For whoever keeps tables over states without the kernel: what was met, and what is learned of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.branches import decode, encode
from envs.compiled import compiled
from envs.journey import Journey
from envs.machine import CHURNED
from envs.masks import legal_bits, unpack
from envs.observation import write_observation
from envs.simulator import load_state
from envs.state import State
from envs.state_count import kernel_states

GONE = -1  # the row of the churned


@compiled
def row_of(m: Any, states: int, state: State) -> int:
    """A state's row among C·S; `GONE` after a churn."""
    if state.stage == m[CHURNED]:
        return GONE
    return state.consent * states + encode(m, state)


@compiled
def state_of(m: Any, states: int, row: int) -> State:
    """The state of a row."""
    found: State = decode(m, row % states, row // states)
    return found


@compiled
def _rows_of(m: Any, states: int, levels: Any, out: Any) -> None:
    for n in range(len(out)):
        out[n] = row_of(m, states, load_state(levels[n]))


@compiled
def _describe(m: Any, states: int, source: Any, rows: Any, observations: Any, bits: Any) -> None:
    for n in range(len(rows)):
        state = state_of(m, states, rows[n])
        write_observation(source, state, observations[n])
        bits[n] = legal_bits(m, state)


class StateRows:
    """A journey's states as rows."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self.states = kernel_states(journey)
        self.patterns = len(journey.rules.consent_permits)

    def of(self, levels: Any) -> Any:
        """(N,) rows of states (N, 12)."""
        out = np.empty(len(levels), dtype=np.int64)
        _rows_of(self.journey.machine, self.states, levels, out)
        return out

    def describe(self, rows: Any) -> tuple[Any, Any]:
        """Observations (N, F) float32 and legal actions (N, A) of living rows (N,)."""
        encoding = self.journey.encoding
        observations = np.zeros((len(rows), len(encoding.levels)), dtype=np.float32)
        bits = np.empty(len(rows), dtype=np.int64)
        _describe(
            self.journey.machine, self.states, encoding.source, np.asarray(rows, np.int64), observations, bits
        )
        return observations, unpack(bits, len(self.journey.actions))
