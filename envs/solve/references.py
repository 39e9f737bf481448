"""What a value is measured against: the optimum, service only, and the best simple baseline.

The score and the edge of design §6; the exact value itself comes from `evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envs.arrays import Array, Floats
from envs.solve.baselines import baselines
from envs.solve.evaluation import policy_values
from envs.solve.kernel import Kernel, start_distribution
from envs.solve.solver import Solution

NEGLIGIBLE = 0.01  # V* − J0 below this share of |V*|: a ratio would mean nothing


@dataclass(frozen=True)
class References:
    """Exact values from d0 of the optimum and of the simple baselines."""

    optimum: float
    service_only: float
    never: float
    baselines: dict[str, float]

    @property
    def best(self) -> tuple[str, float]:
        """Name and value of the best simple baseline."""
        return max(self.baselines.items(), key=lambda item: item[1])

    @property
    def room(self) -> float:
        """V* − J0."""
        return self.optimum - self.service_only

    def score(self, value: float) -> float | None:
        """(J − J0) / (V* − J0); None where there is too little to win."""
        return None if self._flat(self.room) else (value - self.service_only) / self.room

    def edge(self, value: float) -> float | None:
        """(J − J_best) / (V* − J_best); None where the best baseline leaves too little."""
        room = self.optimum - self.best[1]
        return None if self._flat(room) else (value - self.best[1]) / room

    def _flat(self, room: float) -> bool:
        return room < NEGLIGIBLE * abs(self.optimum) or room <= 0.0


def start_value(kernel: Kernel, policy: Array, weights: Floats) -> float:
    """Exact value from d0 of actions (M, S) or probabilities (M, S, A)."""
    return float((start_distribution(kernel) * policy_values(kernel, policy, weights)).sum())


def references(
    kernel: Kernel, weights: Floats, solution: Solution, learned: Mapping[str, Array] | None = None
) -> References:
    """The optimum and every baseline; `learned` adds baselines that need a learner."""
    policies = baselines(kernel, weights) | dict(learned or {})
    values = {name: start_value(kernel, policy, weights) for name, policy in policies.items()}
    return References(
        optimum=solution.start_value(kernel),
        service_only=values["service_only"],
        never=values["never"],
        baselines=values,
    )
