"""A contextual bandit as a baseline: masked LinUCB on the money of the same day.

One ridge regression an action on the one-hot observation (Li et al., 2010,
doi:10.1145/1772690.1772758). It learns from simulated days and knows nothing of tomorrow;
open requests are answered as J0 answers them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.masks import unpack
from envs.simulator import Simulator
from training.learner import Problem

CUSTOMERS, DAYS, HORIZON = 1024, 90, 45
OPTIMISM = 1.0  # standard errors above the mean
RIDGE = 1.0


def linear_bandit(problem: Problem) -> Any:
    """(M, S) int8 greedy policy of the learned means."""
    journey = problem.journey
    simulator = Simulator(journey, CUSTOMERS, problem.seed)
    learner = LinUCB(journey.encoding.sizes, len(journey.actions))
    marketing = unpack(np.array(journey.rules.marketing | 1), len(journey.actions))
    for day in range(DAYS):
        before = simulator.observations.copy()
        legal = unpack(simulator.legal, len(journey.actions)) & marketing
        actions = learner.choose(before, legal)
        outcomes = simulator.step(actions)
        learner.update(before, actions, outcomes.rewards @ problem.weights)
        if (day + 1) % HORIZON == 0:
            simulator.reset(None, np.arange(CUSTOMERS) + (day + 1) * CUSTOMERS)
        elif outcomes.churned.any():
            gone = np.flatnonzero(outcomes.churned)
            simulator.reset(gone, gone + (day + 1) * CUSTOMERS)
    means = learner.means(problem.observations)
    chosen = np.where(problem.legal & marketing, means, -np.inf).argmax(axis=1)
    chosen = chosen.reshape(problem.blocks, -1)
    return np.where(problem.service_only != 0, problem.service_only, chosen).astype(np.int8)


class LinUCB:
    """Disjoint linear models with optimism; D one-hot entries, A actions."""

    def __init__(self, sizes: tuple[int, ...], actions: int) -> None:
        self._sizes = sizes
        width = sum(sizes)
        self._gram = np.tile(RIDGE * np.eye(width), (actions, 1, 1))  # (A, D, D)
        self._moment = np.zeros((actions, width))
        self._inverse = np.linalg.inv(self._gram)

    def _features(self, observations: Any) -> Any:
        """(N, D) one-hot."""
        blocks = [observations[:, f : f + 1] == np.arange(size) for f, size in enumerate(self._sizes)]
        return np.concatenate(blocks, axis=1).astype(np.float64)

    def means(self, observations: Any) -> Any:
        """(N, A) expected reward of the day."""
        theta = np.einsum("ade,ae->ad", self._inverse, self._moment)
        return self._features(observations) @ theta.T

    def choose(self, observations: Any, legal: Any) -> Any:
        """(N,) the legal action of the largest upper bound."""
        x = self._features(observations)
        width = np.stack([((x @ inverse) * x).sum(axis=1) for inverse in self._inverse], axis=1)
        bound = self.means(observations) + OPTIMISM * np.sqrt(np.maximum(width, 0.0))
        return np.where(legal, bound, -np.inf).argmax(axis=1)

    def update(self, observations: Any, actions: Any, rewards: Any) -> None:
        """Add a day of (N,) actions and rewards."""
        x = self._features(observations)
        for a in np.unique(actions):
            rows = x[actions == a]
            self._gram[a] += rows.T @ rows
            self._moment[a] += rows.T @ rewards[actions == a]
            self._inverse[a] = np.linalg.inv(self._gram[a])
