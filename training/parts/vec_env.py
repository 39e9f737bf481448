"""A cluster's customers as a native stable-baselines3 `VecEnv` on the batch simulator.

What anybody's `MaskablePPO`, `PPO` or `DQN` trains on, and what the project's own learners build upon
(`train_env.py`). A step is a day of every customer. Episodes end with churn, or are cut after
`episode_days`, which `infos` tells as stable-baselines3 wants it (`TimeLimit.truncated`,
`terminal_observation`); the next customer follows in the same step. An action that the rules forbid
passes as `wait`. Judging is not done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from envs.arrays import Floats, Ints, Mask
from envs.day.masks import unpack
from envs.journey.journey import Journey
from envs.scenario.schema import Scenario
from envs.simulate.gym_env import observation_space, whole_actions
from envs.simulate.opening import episode_length, objective_weights, open_journey, whole_number, whole_seed
from envs.simulate.simulator import Outcomes, Simulator

Info = dict[str, Any]


class JourneyVecEnv(VecEnv):
    """`num_envs` customers of one cluster, paid sampled rewards in objective units."""

    render_mode = None

    def __init__(
        self, journey: Journey, weights: Floats, num_envs: int, episode_days: int, seed: int, staggered: bool
    ) -> None:
        super().__init__(num_envs, observation_space(journey), spaces.Discrete(len(journey.actions)))
        self.journey, self.weights, self.episode_days = journey, weights, episode_days
        self.simulator = Simulator(journey, num_envs, seed)
        self.tick = 0
        self._next_customer = num_envs
        self._first_days = np.arange(num_envs) * (episode_days if staggered else 0) // num_envs
        self._clock = self._first_days.copy()
        self._actions: Ints = np.zeros(num_envs, dtype=np.int64)

    def reset(self) -> Floats:
        """(N, F) observations of new customers; after `seed`, of that seed's first."""
        wished = self._seeds[0]
        if wished is not None:
            self.simulator = Simulator(self.journey, self.num_envs, wished)
            self._next_customer = self.num_envs
        elif self.tick:
            self._renew(np.arange(self.num_envs))
        self._reset_seeds()
        self._clock = self._first_days.copy()
        return self.simulator.observations.copy()

    def action_masks(self) -> Mask:
        """(N, A) legal actions."""
        return unpack(self.simulator.legal, len(self.journey.actions))

    def step_async(self, actions: Ints) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Floats, Floats, Mask, list[Info]]:
        """One day of every customer."""
        simulator, actions = self.simulator, self._allowed(self._actions)
        before = simulator.states.copy()
        outcomes = simulator.step(actions)
        rewards = self._paid(before, actions, outcomes)
        self.tick += 1
        self._clock += 1
        cut = (self._clock >= self.episode_days) & ~outcomes.churned
        over = outcomes.churned | cut
        infos = self._infos(over, cut)
        who = np.flatnonzero(over)
        if len(who):
            self._renew(who)
        return simulator.observations.copy(), rewards, over, infos

    def _allowed(self, actions: Ints) -> Ints:
        """What the rules forbid, or does not exist, passes as `wait`."""
        wished = whole_actions(actions, (self.num_envs,))
        inside = (wished >= 0) & (wished < len(self.journey.actions))
        legal = self.simulator.legal >> np.where(inside, wished, 0) & 1 == 1
        return np.where(inside & legal, wished, 0)

    def _paid(self, before: Ints, actions: Ints, outcomes: Outcomes) -> Floats:
        """(N,) float32 rewards of the day."""
        return (outcomes.rewards @ self.weights).astype(np.float32)

    def _infos(self, over: Mask, cut: Mask) -> list[Info]:
        infos: list[Info] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(over).tolist():
            last = self.simulator.observations[i].copy()
            infos[i] = {"terminal_observation": last, "TimeLimit.truncated": bool(cut[i])}
        return infos

    def _renew(self, who: Ints) -> None:
        """The next customers take the places `who`."""
        ids = np.arange(self._next_customer, self._next_customer + len(who))
        self._next_customer += len(who)
        self.simulator.reset(who, ids)
        self._clock[who] = 0

    def close(self) -> None:
        """Nothing is held."""

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> Any:
        """sb3-contrib asks for `action_masks` this way and stacks what it gets: one row an index."""
        found = getattr(self, method_name)(*method_args, **method_kwargs)
        if indices is None:
            return found
        return [found[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The same attribute for every customer asked for."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: object, indices: VecEnvIndices = None) -> None:
        """Set an attribute once for all."""
        setattr(self, attr_name, value)

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Native: nothing is wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """The population of the next reset; one seed rules all customers."""
        self._seeds = [None if seed is None else whole_seed(seed)] * self.num_envs
        return self._seeds


def journey_vec_env(
    scenario: str | Path | Scenario,
    num_envs: int = 1024,
    *,
    cluster: str | None = None,
    objective: str | None = None,
    episode_days: int | None = None,
    seed: int = 0,
    staggered: bool = False,
) -> JourneyVecEnv:
    """One cluster (default: the first) as a stable-baselines3 `VecEnv`; see `JourneyVecEnv`.

    `objective` is one of the scenario's (default: its own), `episode_days` 365 by default, and with
    `staggered` the first episodes are cut at different days. Raises `ScenarioError` for names the
    scenario does not have, `ConfigError` for numbers that cannot be.
    """
    journey = open_journey(scenario, cluster)
    return JourneyVecEnv(
        journey, objective_weights(journey, objective), whole_number(num_envs, "num_envs"),
        episode_length(episode_days), whole_seed(seed), staggered,
    )  # fmt: skip
