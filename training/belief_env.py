"""The training environment of a cluster with hidden types: paid what not knowing the type costs.

A day pays −Σ_p b_p [V_p(x) − Q_p(x, a)]: the exact conditional expectation of the reward,
shaped by φ(x, b) = Σ_p b_p V_p(x), which leaves optimal policies what they are (Ng, Harada and
Russell, 1999). Looking one day ahead on φ is QMDP, the policy learning starts beside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.hidden import Hidden
from envs.masks import unpack
from training.train_env import CONSENT, RewardModel, TrainEnv


class BeliefEnv(TrainEnv):
    """N customers of one cluster; observations end with the belief."""

    def __init__(self, hidden: Hidden, customers: int, horizon_days: int, seed: int) -> None:
        model = RewardModel(hidden.weights, hidden.discount, hidden.kernels[0].consents)
        super().__init__(hidden.journey, model, customers, horizon_days, seed)
        self._lost = hidden.regret  # (P, M, S, A)
        self._believed = self.simulator.beliefs.copy()
        room = hidden.from_start(hidden.values) - hidden.from_start(hidden.values_of(hidden.service_only))
        self.scale = 2.0 / max(room, 1e-9)  # returns are then of the order of 1

    def action_masks(self) -> Any:
        """(N, A) legal actions."""
        return unpack(self.simulator.legal, len(self.journey.actions))

    def step_async(self, actions: Any) -> None:
        """Keep the actions, and what is believed when they are chosen."""
        super().step_async(actions)
        self._believed = self.simulator.beliefs.copy()

    def _paid(self, before: Any, actions: Any, outcomes: Any) -> Any:
        block, here = self._block[before[:, CONSENT]], before @ self._strides
        lost = self._lost[:, block, here, actions]  # (P, N)
        return (-self.scale * np.einsum("np,pn->n", self._believed, lost)).astype(np.float32)
