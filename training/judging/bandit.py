"""A contextual bandit as a baseline: masked LinUCB on the money of the same day.

One ridge regression an action on the one-hot observation (Li et al., 2010,
doi:10.1145/1772690.1772758). It learns from simulated days and knows nothing of tomorrow;
open requests are answered as J0 answers them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from envs.arrays import Floats, Ints, Mask
from envs.day.masks import unpack
from envs.journey.state import COLUMN
from envs.scenario.schema import Strict
from envs.simulate.simulator import Simulator
from envs.solve.relaxation import expected_rewards
from training.learner import Problem

Count = Annotated[int, Field(ge=1)]


class BanditSettings(Strict):
    """Also a learner's settings; the defaults are the baseline."""

    customers: Count = 1024
    days: Count = 90
    horizon_days: Count = 45  # then everybody begins anew
    rewards: Literal["expected", "sampled"] = "sampled"
    optimism: Annotated[float, Field(ge=0.0)] = 1.0  # standard errors above the mean
    ridge: Annotated[float, Field(gt=0.0)] = 1.0


BASELINE = BanditSettings()


def linear_bandit(problem: Problem, settings: BanditSettings = BASELINE) -> Ints:
    """(M, S) int8 greedy policy of the learned means."""
    journey, customers = problem.journey, settings.customers
    simulator = Simulator(journey, customers, problem.seed)
    learner = LinUCB(journey.encoding.sizes, len(journey.actions), settings)
    marketing = unpack(np.array(journey.rules.marketing | 1), len(journey.actions))
    paid = _Paid(problem, settings)
    for day in range(settings.days):
        before, states = simulator.observations.copy(), simulator.states.copy()
        legal = unpack(simulator.legal, len(journey.actions)) & marketing
        actions = learner.choose(before, legal)
        outcomes = simulator.step(actions)
        learner.update(before, actions, paid(states, actions, outcomes.rewards))
        if (day + 1) % settings.horizon_days == 0:
            simulator.reset(None, np.arange(customers) + (day + 1) * customers)
        elif outcomes.churned.any():
            gone = np.flatnonzero(outcomes.churned)
            simulator.reset(gone, gone + (day + 1) * customers)
    means = learner.means(problem.observations)
    chosen = np.where(problem.legal & marketing, means, -np.inf).argmax(axis=1)
    chosen = chosen.reshape(problem.blocks, -1)
    return np.where(problem.service_only != 0, problem.service_only, chosen).astype(np.int8)


class _Paid:
    """The money of a day: as drawn, or its mean under the model."""

    def __init__(self, problem: Problem, settings: BanditSettings) -> None:
        self._weights, self._expected = problem.weights, None
        if settings.rewards == "expected":
            nothing = np.zeros((problem.blocks, problem.kernel.states))
            self._expected = expected_rewards(problem.kernel, problem.weights, nothing)
            rules = problem.journey.rules
            self._strides = np.asarray(rules.strides)
            self._block = np.zeros(int(rules.sizes[COLUMN.consent]), dtype=np.int64)
            self._block[problem.kernel.consents] = np.arange(problem.blocks)

    def __call__(self, states: Ints, actions: Ints, rewards: Floats) -> Floats:
        """(N,) of (N, 12) states before, (N,) actions and (N, R) drawn components."""
        if self._expected is None:
            return rewards @ self._weights
        out: Floats = self._expected[self._block[states[:, COLUMN.consent]], states @ self._strides, actions]
        return out


class LinUCB:
    """Disjoint linear models with optimism; D one-hot entries, A actions."""

    def __init__(self, sizes: tuple[int, ...], actions: int, settings: BanditSettings = BASELINE) -> None:
        self._sizes, self._optimism = sizes, settings.optimism
        width = sum(sizes)
        self._gram = np.tile(settings.ridge * np.eye(width), (actions, 1, 1))  # (A, D, D)
        self._moment = np.zeros((actions, width))
        self._inverse = np.linalg.inv(self._gram)

    def _features(self, observations: Floats) -> Floats:
        """(N, D) one-hot."""
        blocks = [observations[:, f : f + 1] == np.arange(size) for f, size in enumerate(self._sizes)]
        return np.concatenate(blocks, axis=1).astype(np.float64)

    def means(self, observations: Floats) -> Floats:
        """(N, A) expected reward of the day."""
        theta = np.einsum("ade,ae->ad", self._inverse, self._moment)
        out: Floats = self._features(observations) @ theta.T
        return out

    def choose(self, observations: Floats, legal: Mask) -> Ints:
        """(N,) the legal action of the largest upper bound."""
        x = self._features(observations)
        width = np.stack([((x @ inverse) * x).sum(axis=1) for inverse in self._inverse], axis=1)
        bound = self.means(observations) + self._optimism * np.sqrt(np.maximum(width, 0.0))
        out: Ints = np.where(legal, bound, -np.inf).argmax(axis=1)
        return out

    def update(self, observations: Floats, actions: Ints, rewards: Floats) -> None:
        """Add a day of (N,) actions and rewards."""
        x = self._features(observations)
        for a in np.unique(actions):
            rows = x[actions == a]
            self._gram[a] += rows.T @ rows
            self._moment[a] += rows.T @ rewards[actions == a]
            self._inverse[a] = np.linalg.inv(self._gram[a])
