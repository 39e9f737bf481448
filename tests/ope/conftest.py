"""Logs with a known truth: a bandit and a small Markov decision process, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from experiments.support.data import data_folder
from training.ope.panel import Panel

needs_data = pytest.mark.skipif(data_folder() is None, reason="JOURNEY_DATA is missing: no real data here")


@dataclass(frozen=True)
class Chain:
    """A finite-horizon Markov decision process: S states, A actions, T decisions."""

    start: Any  # (S,)
    moves: Any  # (S, A, S)
    means: Any  # (S, A)
    horizon: int = 5

    def value(self, policy: Any) -> float:
        """Exact value of policy (S, A) probabilities, by backward induction."""
        v = np.zeros(len(self.start))
        for _ in range(self.horizon):
            v = np.sum(policy * (self.means + self.moves @ v), axis=1)
        return float(self.start @ v)

    def log(self, behavior: Any, customers: int, rng: np.random.Generator) -> Panel:
        """A log of `behavior` (S, A), rewards with unit noise, no journey ends early."""
        count = self.means.shape[1]
        shape = (customers, self.horizon)
        states, actions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        rewards = np.zeros(shape)
        now = _draw(np.broadcast_to(self.start, (customers, len(self.start))), rng)
        for t in range(self.horizon):
            states[:, t], actions[:, t] = now, _draw(behavior[now], rng)
            rewards[:, t] = self.means[now, actions[:, t]] + rng.normal(size=customers)
            now = _draw(self.moves[now, actions[:, t]], rng)
        return Panel(
            features=states[:, :, None].astype(np.float64),
            cells=states,
            actions=actions,
            propensity=behavior[states, actions],
            rewards=rewards,
            legal=np.ones((*shape, count), dtype=bool),
            present=np.ones(shape, dtype=bool),
        )


def _draw(probabilities: Any, rng: np.random.Generator) -> Any:
    """One category a row of (n, K) probabilities."""
    return (rng.random((len(probabilities), 1)) > np.cumsum(probabilities, axis=1)).sum(axis=1)


def at_states(policy: Any, panel: Panel) -> Any:
    """(N, T, A) probabilities of a policy (S, A) in the logged states."""
    return policy[panel.cells]


@pytest.fixture(scope="session")
def chain() -> Chain:
    """Four states, three actions; the best action is worth much more than the others."""
    rng = np.random.default_rng(7)
    moves = rng.dirichlet(np.ones(4), size=(4, 3))
    return Chain(np.array([0.7, 0.3, 0.0, 0.0]), moves, rng.uniform(0.0, 3.0, size=(4, 3)))


@pytest.fixture(scope="session")
def behavior() -> Any:
    """(S, A) logging policy with full support."""
    return np.random.default_rng(8).dirichlet(np.full(3, 4.0), size=4)


@pytest.fixture(scope="session")
def target() -> Any:
    """(S, A) a policy far from the logging one: it prefers the last action."""
    return np.tile([0.1, 0.1, 0.8], (4, 1))
