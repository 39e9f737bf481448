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

from envs.errors import ScenarioError
from envs.journey import Journey
from envs.masks import unpack
from envs.simulator import Simulator
from envs.state import State

CONSENT = State._fields.index("consent")


@dataclass(frozen=True)
class RewardModel:
    """How a simulated day is paid, in objective units."""

    weights: Any  # (R,)
    discount: float
    expected: Any = None  # (S, A) E[r + γφ' − φ] before opt-out costs; None: rewards are sampled
    opt_out_cost: Any = None  # (S, A) paid where the channel's consent is held
    phi: Any = None  # (S,) potential of sampled rewards; None: no shaping


class TrainEnv(VecEnv):
    """`N` customers of one cluster; `dones` are churns and cuts, told apart in `infos`."""

    def __init__(
        self, journey: Journey, rewards: RewardModel, customers: int, horizon_days: int, seed: int
    ) -> None:
        high = np.array(journey.encoding.sizes, dtype=np.float32)
        super().__init__(
            customers,
            spaces.Box(0.0, np.maximum(high, 1.0), dtype=np.float32),
            spaces.Discrete(len(journey.actions)),
        )
        self.journey, self.rewards, self.horizon_days = journey, rewards, horizon_days
        self.simulator = Simulator(journey, customers, seed)
        self.scale = 1.0
        self.tick = 0
        self._next_customer = customers
        self._strides = np.asarray(journey.rules.strides)
        channel = np.asarray(journey.rules.action_channel)
        self._channel_bit = np.where(channel >= 0, 1 << np.maximum(channel, 0), 0)
        self._clock = np.arange(customers) * horizon_days // customers
        self._actions: Any = None

    def reset(self) -> Any:
        """(N, F) observations; customers go on where they are, as clocks are staggered."""
        return self.simulator.observations.copy()

    def action_masks(self) -> Any:
        """(N, A) legal actions."""
        return unpack(self.simulator.legal, len(self.journey.actions))

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
            infos[i] = {"terminal_observation": last, "TimeLimit.truncated": True}
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
        here = before @ self._strides
        if model.expected is not None:
            held = (before[:, CONSENT] & self._channel_bit[actions]) > 0
            paid = model.expected[here, actions] - np.where(held, model.opt_out_cost[here, actions], 0.0)
        else:
            paid = outcomes.rewards @ model.weights
            if model.phi is not None:
                there = self.simulator.states @ self._strides
                # the churned stage lies beyond the table and is worth 0
                after = np.where(outcomes.churned, 0.0, model.phi[np.minimum(there, len(model.phi) - 1)])
                paid = paid + model.discount * after - model.phi[here]
        if not np.isfinite(paid).all():
            i = int(np.flatnonzero(~np.isfinite(paid))[0])
            raise ScenarioError(
                "a reward is not finite",
                where=f"tick {self.tick}, customer {self.simulator.customers[i]}",
                got=float(paid[i]),
                hint=f"action {self.journey.actions[int(actions[i])].key}; check prices and values",
            )
        return (paid * self.scale).astype(np.float32)

    def calibrate(self, target: float, days: int, seed: int) -> None:
        """Choose `scale` so that discounted returns of random legal play have this size."""
        random = np.random.default_rng(seed)
        total, factor = np.zeros(self.num_envs), 1.0
        alive = np.ones(self.num_envs, dtype=bool)
        self.scale = 1.0
        for _ in range(days):
            odds = random.random((self.num_envs, len(self.journey.actions))) * self.action_masks()
            self.step_async(odds.argmax(axis=1))
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

    def seed(self, seed: int | None = None) -> Sequence[None | int]:
        """The seed belongs to the constructor."""
        return [None] * self.num_envs


_NOTHING: dict[str, Any] = {}
