"""The batch simulator as the project's own learners are paid by it: one cluster, N customers.

Rewards are either sampled, or expected under the model, E[r | x, a]; either may be shaped by a
potential. Episodes are cut at a horizon with staggered clocks (a cut is not a termination;
churn is). Not the judge: what a policy is worth is `judging/judge.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.errors import ScenarioError
from envs.journey.journey import Journey
from envs.journey.state import COLUMN
from envs.simulate.simulator import Outcomes
from training.parts.prior import uniform_prior
from training.parts.vec_env import Info, JourneyVecEnv


@dataclass(frozen=True)
class RewardModel:
    """How a simulated day is paid, in objective units."""

    weights: Floats  # (R,)
    discount: float
    consents: Ints  # (M,) patterns, the order of the tables
    expected: Floats | None = None  # (M, S, A) E[r + γφ(x') − φ(x) | x, a]; None: rewards are sampled
    phi: Floats | None = None  # (M, S) potential of sampled rewards; None: no shaping


class TrainEnv(JourneyVecEnv):
    """`N` customers of one cluster; `dones` are churns and cuts, told apart in `infos`."""

    def __init__(
        self, journey: Journey, rewards: RewardModel, customers: int, horizon_days: int, seed: int,
        prior: Floats | None = None, staggered: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(journey, rewards.weights, customers, horizon_days, seed, staggered)
        self.rewards = rewards
        self.prior = prior  # (M, S, A) logits, or None: every legal action alike
        self.scale = 1.0
        self._strides = np.asarray(journey.rules.strides)
        self._block = np.zeros(int(journey.rules.sizes[COLUMN.consent]), dtype=np.int64)
        self._block[rewards.consents] = np.arange(len(rewards.consents))

    def reset(self) -> Floats:
        """(N, F) observations; customers go on where they are, as clocks are staggered."""
        return self.simulator.observations.copy()

    def prior_logits(self) -> Floats:
        """(N, A) float32 logits of the prior policy, hugely negative where illegal."""
        if self.prior is None:
            alike: Floats = uniform_prior(self.action_masks())
            return alike
        states = self.simulator.states
        wished: Floats = self.prior[self._block[states[:, COLUMN.consent]], states @ self._strides]
        return wished

    def _allowed(self, actions: Ints) -> Ints:
        """Learners choose among legal actions; the simulator raises where one does not."""
        return actions

    def _infos(self, over: Mask, cut: Mask) -> list[Info]:
        """Only cuts are told: what comes after a churn is worth nothing."""
        infos: list[Info] = [_NOTHING] * self.num_envs
        for i in np.flatnonzero(cut).tolist():
            last = self.simulator.observations[i].copy()
            legal = int(self.simulator.legal[i])
            infos[i] = {
                "terminal_observation": last, "terminal_legal": legal, "TimeLimit.truncated": True,
            }  # fmt: skip
        return infos

    def _paid(self, before: Ints, actions: Ints, outcomes: Outcomes) -> Floats:
        """(N,) float32 scaled rewards; a number that is not finite stops the run."""
        model = self.rewards
        block, here = self._block[before[:, COLUMN.consent]], before @ self._strides
        if model.expected is not None:
            paid = model.expected[block, here, actions]
        else:
            paid = outcomes.rewards @ model.weights
            if model.phi is not None:
                states = self.simulator.states
                there = np.minimum(states @ self._strides, model.phi.shape[1] - 1)
                # the churned stage lies beyond the table and is worth 0
                ahead = np.where(
                    outcomes.churned, 0.0, model.phi[self._block[states[:, COLUMN.consent]], there]
                )
                paid = paid + model.discount * ahead - model.phi[block, here]
        with np.errstate(over="ignore"):
            scaled: Floats = (paid * self.scale).astype(np.float32)
        if not np.isfinite(scaled).all():
            i = int(np.flatnonzero(~np.isfinite(scaled))[0])
            raise ScenarioError(
                "a reward is not finite",
                where=f"tick {self.tick}, customer {self.simulator.customers[i]}",
                got=float(paid[i]),
                hint=f"action {self.journey.actions[int(actions[i])].key}; check prices and values",
            )
        return scaled

    def calibrate(self, target: float, days: int, seed: int) -> None:
        """Choose `scale` so that discounted returns of the prior policy have this size.

        What is learned is measured against the prior: near it, returns and their differences are
        small, and would be lost among the value network's errors on any larger scale.
        """
        random = np.random.default_rng(seed)
        total, factor = np.zeros(self.num_envs), 1.0
        alive = np.ones(self.num_envs, dtype=bool)
        self.scale = 1.0
        for _ in range(days):
            noise = random.gumbel(size=(self.num_envs, len(self.journey.actions)))
            self.step_async((self.prior_logits() + noise).argmax(axis=1))  # a draw from the softmax
            _, rewards, over, _ = self.step_wait()
            total += factor * alive * rewards
            alive &= ~over
            factor *= self.rewards.discount
        size = float(np.abs(total).mean())
        self.scale = target / size if size > 0 else 1.0


_NOTHING: Info = {}
