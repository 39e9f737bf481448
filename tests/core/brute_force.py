"""The whole problem of a tiny scenario, written out: one dense table a component, consent included.

The judge of the solver: states are numbered consent by consent, churned comes last and earns
nothing. Only for a few hundred states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from envs.journey.journey import Journey
from envs.scenario.schema import COMPONENTS
from tests.core.plain_day import PlainDay
from tests.core.states import index_of, state_at


@dataclass(frozen=True)
class Written:
    """X = 2**C · S + 1 states, A actions, R components."""

    states: int  # S
    legal: Any  # (X, A) bool
    rows: Any  # (X · A, X) sparse, row x · A + a
    reward: Any  # (X, A, R)

    def optimum(self, weights: Any, discount: float, sweeps: int) -> Any:
        """(X,) values by value iteration from 0: exact for a horizon of `sweeps` days."""
        values = np.zeros(len(self.legal))
        for _ in range(sweeps):
            values = self.action_values(values, weights, discount).max(1)
        return values

    def action_values(self, values: Any, weights: Any, discount: float) -> Any:
        """(X, A) with −inf where illegal."""
        q = self.reward @ weights + discount * (self.rows @ values).reshape(self.legal.shape)
        return np.where(self.legal, q, -np.inf)

    def components(self, policy: Any, discount: float) -> Any:
        """(X, R) exact components of probabilities (X, A), by one dense linear solve."""
        move = self.moves(policy)
        gain = np.einsum("xa,xar->xr", policy, self.reward)
        return np.linalg.solve(np.eye(len(move)) - discount * move, gain)

    def moves(self, policy: Any) -> Any:
        """(X, X) dense transition matrix of probabilities (X, A)."""
        size, actions = policy.shape
        rows = np.repeat(np.arange(size), actions)
        weights = csr_array((policy.ravel(), (rows, np.arange(size * actions))), (size, size * actions))
        return (weights @ self.rows).toarray()

    def flat(self, table: Any, consents: Any, churned: float | Any = 0.0) -> Any:
        """The solver's (M, S, …) in this numbering; unreachable consents stay 0."""
        out = np.zeros((len(self.legal), *table.shape[2:]))
        for m, pattern in enumerate(consents.tolist()):
            out[pattern * self.states : (pattern + 1) * self.states] = table[m]
        out[-1] = churned
        return out


def write_out(journey: Journey) -> Written:
    """Every branch of every legal (state, action), consent included."""
    day, actions = PlainDay(journey), len(journey.actions)
    per_consent = int(journey.rules.strides[0] * journey.rules.sizes[0])
    patterns = 2 ** len(journey.scenario.channels)
    size = patterns * per_consent + 1
    legal = np.zeros((size, actions), dtype=bool)
    cells: list[tuple[int, int, float]] = [((size - 1) * actions + a, size - 1, 1.0) for a in range(actions)]
    reward = np.zeros((size, actions, len(COMPONENTS)))
    legal[-1, 0] = True
    for pattern in range(patterns):
        for index in range(per_consent):
            x, state = pattern * per_consent + index, state_at(journey, index, pattern)
            reading = day.fold.notation.read(state)
            for number, action in enumerate(day.actions):
                legal[x, number] = day.fold.legal(reading, action)
                if not legal[x, number]:
                    continue
                for branch in day.branches(state, number):
                    after = index_of(journey, branch.state)
                    y = branch.state.consent * per_consent + after if after < per_consent else size - 1
                    cells.append((x * actions + number, y, branch.chance))
                    reward[x, number] += branch.chance * np.array(branch.reward)
    row, column, chance = np.array(cells).T
    rows = csr_array((chance, (row.astype(int), column.astype(int))), (size * actions, size))  # sums doubles
    return Written(per_consent, legal, rows, reward)
