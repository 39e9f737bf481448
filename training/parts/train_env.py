"""The compiled simulator as a native stable-baselines3 VecEnv, one cluster, N customers.

Rewards are either sampled, or expected under the model, E[r | x, a]; either may be shaped by a
potential. Episodes are cut at a horizon with staggered clocks (a cut is not a termination;
churn is). Not the judge: what a policy is worth is `judge.py`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from envs.day.masks import unpack
from envs.errors import ScenarioError
from envs.journey.journey import Journey
from envs.journey.state import COLUMN
from envs.simulate.simulator import Simulator
from training.parts.prior import uniform_prior


@dataclass(frozen=True)
class RewardModel:
    """How a simulated day is paid, in objective units."""

    weights: Any  # (R,)
    discount: float
    consents: Any  # (M,) patterns, the order of the tables
    expected: Any = None  # (M, S, A) E[r + γφ(x') − φ(x) | x, a]; None: rewards are sampled
    phi: Any = None  # (M, S) potential of sampled rewards; None: no shaping


class TrainEnv(VecEnv):
    """`N` customers of one cluster; `dones` are churns and cuts, told apart in `infos`."""

    render_mode = None

    def __init__(
        self, journey: Journey, rewards: RewardModel, customers: int, horizon_days: int, seed: int,
        prior: Any = None, staggered: bool = True,
    ) -> None:  # fmt: skip
        high = np.array(journey.encoding.sizes, dtype=np.float32)
        super().__init__(
            customers,
            spaces.Box(0.0, np.maximum(high, 1.0), dtype=np.float32),
            spaces.Discrete(len(journey.actions)),
        )
        self.journey, self.rewards, self.horizon_days = journey, rewards, horizon_days
        self.simulator = Simulator(journey, customers, seed)
        self.prior = prior  # (M, S, A) logits, or None: every legal action alike
        self.scale = 1.0
        self.tick = 0
        self._next_customer = customers
        self._strides = np.asarray(journey.rules.strides)
        self._block = np.zeros(int(journey.rules.sizes[COLUMN.consent]), dtype=np.int64)
        self._block[rewards.consents] = np.arange(len(rewards.consents))
        self._clock = np.arange(customers) * (horizon_days if staggered else 0) // customers
        self._actions: Any = None

    def reset(self) -> Any:
        """(N, F) observations; customers go on where they are, as clocks are staggered."""
        return self.simulator.observations.copy()

    def action_masks(self) -> Any:
        """(N, A) legal actions."""
        return unpack(self.simulator.legal, len(self.journey.actions))

    def prior_logits(self) -> Any:
        """(N, A) float32 logits of the prior policy, hugely negative where illegal."""
        if self.prior is None:
            return uniform_prior(self.action_masks())
        states = self.simulator.states
        return self.prior[self._block[states[:, COLUMN.consent]], states @ self._strides]

    def step_async(self, actions: Any) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """One day of every customer."""
        simulator, actions = self.simulator, self._actions
        before = simulator.states.copy()
        outcomes = simulator.step(actions)
        rewards = self._paid(before, actions, outcomes)
        self.tick += 1
        self._clock += 1
        cut = (self._clock >= self.horizon_days) & ~outcomes.churned
        over = outcomes.churned | cut
        infos: list[dict[str, Any]] = [_NOTHING] * self.num_envs
        for i in np.flatnonzero(cut).tolist():
            last = simulator.observations[i].copy()
            legal = int(simulator.legal[i])
            infos[i] = {
                "terminal_observation": last, "terminal_legal": legal, "TimeLimit.truncated": True,
            }  # fmt: skip
        who = np.flatnonzero(over)
        if len(who):
            ids = np.arange(self._next_customer, self._next_customer + len(who))
            self._next_customer += len(who)
            simulator.reset(who, ids)
            self._clock[who] = 0
        return simulator.observations.copy(), rewards, over, infos

    def _paid(self, before: Any, actions: Any, outcomes: Any) -> Any:
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
            scaled = (paid * self.scale).astype(np.float32)
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

    def close(self) -> None:
        """Nothing is held."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """sb3-contrib asks for `action_masks` this way and stacks what it gets."""
        return getattr(self, method_name)(*args, **kwargs)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for every customer."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute once for all."""
        setattr(self, attr_name, value)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Native: nothing is wrapped."""
        return [False] * self.num_envs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """The seed belongs to the constructor."""
        return [None] * self.num_envs


_NOTHING: dict[str, Any] = {}
