"""The training environment of a cluster with hidden types: a baseline to correct, paid by it.

The baseline is one day's look ahead on the belief, then QMDP's values or the mean model's plan.
With its values U_p a day pays Σ_p b_p [Q_p(x, a) − U_p(x)]: the exact conditional expectation of
the reward, shaped by φ(x, b) = Σ_p b_p U_p(x), which leaves optimal policies what they are (Ng,
Harada and Russell, 1999). The same figures, sharpened, are the prior's logits. Leaves out what
the judge knows: no plan here acts in order to learn.

P personas, M consent patterns, S kernel states, A actions, N customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.arrays import Floats, Ints
from envs.journey.state import COLUMN
from envs.personas.models import Hidden
from envs.simulate.simulator import Outcomes
from training.parts.prior import ILLEGAL
from training.parts.train_env import RewardModel, TrainEnv

Plan = Literal["mean", "qmdp"]


@dataclass(frozen=True)
class Baseline:
    """What is known before learning, linear in the belief."""

    values: Floats  # (P, M, S) U_p
    gains: Floats  # (P, M, S, A) Q_p − U_p; 0 where illegal
    logits: Floats  # (P, M, S, A) float32, `ILLEGAL` where illegal; weighed by the belief they are a prior

    def prior(self, belief: Floats, block: Ints, state: Ints) -> Floats:
        """(N, A) float32 logits at beliefs (N, P)."""
        here = self.logits[:, block, state]
        out: Floats = np.einsum("np,pna->na", belief.astype(np.float32), here)
        return out


def baseline(hidden: Hidden, plan: Plan, temperature: float) -> Baseline:
    """Either planner; `temperature` in units of the best action's usual lead at the first belief."""
    mean = plan == "mean"
    values, q = (hidden.mean_values, hidden.mean_q) if mean else (hidden.values, hidden.q)
    legal = ~np.isneginf(q)
    gains = np.where(legal, q - values[..., None], 0.0)
    mixed = np.einsum("p,pmsa->msa", hidden.journey.shares, gains)
    best = np.where(legal[0], mixed, -np.inf).max(axis=2)
    unit = float((best - mixed.sum(axis=2) / np.maximum(legal[0].sum(axis=2), 1)).mean())
    logits = np.where(legal, gains / (temperature * unit), ILLEGAL).astype(np.float32)
    return Baseline(values, gains, logits)


class BeliefEnv(TrainEnv):
    """N customers of one cluster; observations end with the belief."""

    def __init__(
        self, hidden: Hidden, base: Baseline, customers: int, horizon_days: int, seed: int,
        staggered: bool = True,
    ) -> None:  # fmt: skip
        model = RewardModel(hidden.weights, hidden.discount, hidden.kernels[0].consents)
        super().__init__(hidden.journey, model, customers, horizon_days, seed, staggered=staggered)
        self._base = base
        self._believed = self.simulator.beliefs.copy()

    def prior_logits(self) -> Floats:
        """(N, A) float32 logits of the baseline at today's beliefs."""
        states = self.simulator.states
        block, here = self._block[states[:, COLUMN.consent]], states @ self._strides
        return self._base.prior(self.simulator.beliefs, block, here)

    def step_async(self, actions: Ints) -> None:
        """Keep the actions, and what is believed when they are chosen."""
        super().step_async(actions)
        self._believed = self.simulator.beliefs.copy()

    def _paid(self, before: Ints, actions: Ints, outcomes: Outcomes) -> Floats:
        block, here = self._block[before[:, COLUMN.consent]], before @ self._strides
        gained = self._base.gains[:, block, here, actions]  # (P, N)
        paid: Floats = (self.scale * np.einsum("np,pn->n", self._believed, gained)).astype(np.float32)
        return paid
