"""States as row numbers: consent pattern × S + kernel index; S kernel states, C patterns.

For whoever keeps tables over states without the kernel: what was met, and what is learned of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.compiled import compiled
from envs.day.masks import legal_bits, unpack
from envs.journey.journey import Journey
from envs.journey.observation import write_observation
from envs.journey.packed import CHURNED, SIZES, STRIDES
from envs.journey.size import kernel_states
from envs.journey.state import COLUMN, State

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

    def of(self, levels: Ints) -> Ints:
        """(N,) rows of states (N, 12)."""
        out = np.empty(len(levels), dtype=np.int64)
        _rows_of(self.journey.machine, self.states, levels, out)
        return out

    def describe(self, rows: Ints) -> tuple[Floats, Mask]:
        """Observations (N, F) float32 and legal actions (N, A) of living rows (N,)."""
        encoding = self.journey.encoding
        observations = np.zeros((len(rows), len(encoding.levels)), dtype=np.float32)
        bits = np.empty(len(rows), dtype=np.int64)
        _describe(
            self.journey.machine, self.states, encoding.source, np.asarray(rows, np.int64), observations, bits
        )
        return observations, unpack(bits, len(self.journey.actions))


@compiled
def decode(m: Any, index: int, consent: int) -> State:
    """Kernel index and consent bits → state."""
    s, n = m[STRIDES], m[SIZES]
    return State(
        index // m[s + COLUMN.stage] % m[n + COLUMN.stage],
        index // m[s + COLUMN.engagement] % m[n + COLUMN.engagement],
        index // m[s + COLUMN.fatigue] % m[n + COLUMN.fatigue],
        index // m[s + COLUMN.goodwill] % m[n + COLUMN.goodwill],
        index // m[s + COLUMN.inbox] % m[n + COLUMN.inbox],
        consent,
        index // m[s + COLUMN.offer] % m[n + COLUMN.offer],
        index // m[s + COLUMN.open_contact] % m[n + COLUMN.open_contact],
        index // m[s + COLUMN.caps] % m[n + COLUMN.caps],
        index // m[s + COLUMN.idle] % m[n + COLUMN.idle],
        index // m[s + COLUMN.gap] % m[n + COLUMN.gap],
        index // m[s + COLUMN.day] % m[n + COLUMN.day],
    )  # fmt: skip


@compiled
def encode(m: Any, state: State) -> int:
    """State → kernel index; the churned stage gives S."""
    s = m[STRIDES]
    if state.stage == m[CHURNED]:
        return m[s + COLUMN.stage] * m[m[SIZES] + COLUMN.stage]
    return (
        state.stage * m[s + COLUMN.stage]
        + state.engagement * m[s + COLUMN.engagement]
        + state.fatigue * m[s + COLUMN.fatigue]
        + state.goodwill * m[s + COLUMN.goodwill]
        + state.inbox * m[s + COLUMN.inbox]
        + state.offer * m[s + COLUMN.offer]
        + state.open_contact * m[s + COLUMN.open_contact]
        + state.caps * m[s + COLUMN.caps]
        + state.idle * m[s + COLUMN.idle]
        + state.gap * m[s + COLUMN.gap]
        + state.day * m[s + COLUMN.day]
    )


_WIDE: Any = np.int64  # one width, so that compiled code is specialised once


@compiled
def load_state(row: Any) -> State:
    """A row of (12,) integers as a `State`."""
    return State(
        _WIDE(row[COLUMN.stage]), _WIDE(row[COLUMN.engagement]), _WIDE(row[COLUMN.fatigue]),
        _WIDE(row[COLUMN.goodwill]), _WIDE(row[COLUMN.inbox]), _WIDE(row[COLUMN.consent]),
        _WIDE(row[COLUMN.offer]), _WIDE(row[COLUMN.open_contact]), _WIDE(row[COLUMN.caps]),
        _WIDE(row[COLUMN.idle]), _WIDE(row[COLUMN.gap]), _WIDE(row[COLUMN.day]),
    )  # fmt: skip


@compiled
def store_state(state: State, row: Any) -> None:
    """Write a `State` into a row of (12,) integers."""
    row[COLUMN.stage], row[COLUMN.engagement] = state.stage, state.engagement
    row[COLUMN.fatigue], row[COLUMN.goodwill] = state.fatigue, state.goodwill
    row[COLUMN.inbox], row[COLUMN.consent] = state.inbox, state.consent
    row[COLUMN.offer], row[COLUMN.open_contact] = state.offer, state.open_contact
    row[COLUMN.caps], row[COLUMN.idle] = state.caps, state.idle
    row[COLUMN.gap], row[COLUMN.day] = state.gap, state.day
