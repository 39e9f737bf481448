"""Thousands of customers as one native Gymnasium `VectorEnv`: a call a day for all of them.

Finished journeys start anew in the same step (the last observation is in
`infos["final_obs"]`); with `staggered` clocks the cuts at the horizon are spread over time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.day.masks import unpack
from envs.scenario.schema import Scenario
from envs.simulate.gym_env import observation_space, open_journey
from envs.simulate.simulator import Simulator


class CustomerJourneyVectorEnv(VectorEnv[Any, Any, Any]):
    """`num_envs` customers of one cluster; illegal actions pass as `wait`."""

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int,
        scenario: str | Path | Scenario,
        cluster: str | None = None,
        objective: str | None = None,
        episode_days: int = 365,
        staggered: bool = False,
    ) -> None:
        self.num_envs = num_envs
        self.journey = open_journey(scenario, cluster)
        self.episode_days = episode_days
        self.single_observation_space = observation_space(self.journey)
        self.single_action_space = spaces.Discrete(len(self.journey.actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._weights = self.journey.weights(objective).astype(np.float32)
        self._simulator: Simulator | None = None
        self._staggered = staggered
        self._clock = np.zeros(num_envs, dtype=np.int64)
        self._next = 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """`num_envs` new customers; a list of seeds is not supported, one seed rules them all."""
        if isinstance(seed, list):
            raise gymnasium.error.Error("expected one seed: customers are streams of the same seed")
        super().reset(seed=seed)
        if seed is not None or self._simulator is None:
            stream = seed if seed is not None else int(self.np_random.integers(2**62))
            self._simulator, self._next = Simulator(self.journey, self.num_envs, stream), self.num_envs
        else:
            self._start(np.arange(self.num_envs))
        self._clock = (
            np.arange(self.num_envs) * self.episode_days // self.num_envs
            if self._staggered
            else np.zeros(self.num_envs, dtype=np.int64)
        )
        return self._running().observations.copy(), {"action_mask": self.action_masks()}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One day of every customer."""
        simulator = self._running()
        wished = np.asarray(actions, dtype=np.int64)
        illegal = simulator.legal >> wished & 1 == 0
        outcome = simulator.step(np.where(illegal, 0, wished))
        rewards = outcome.rewards @ self._weights
        self._clock += 1
        terminated = outcome.churned
        truncated = ~terminated & (self._clock >= self.episode_days)
        infos: dict[str, Any] = {"illegal": illegal, "components": outcome.rewards.copy()}
        over = terminated | truncated
        if over.any():
            who = np.flatnonzero(over)
            final = np.empty(self.num_envs, dtype=object)
            for i in who:
                final[i] = simulator.observations[i].copy()
            infos |= {"final_obs": final, "_final_obs": over}
            self._start(who)
            self._clock[who] = 0
        infos["action_mask"] = self.action_masks()
        return simulator.observations.copy(), rewards, terminated, truncated, infos

    def action_masks(self) -> Any:
        """(num_envs, A) booleans."""
        return unpack(self._running().legal, len(self.journey.actions))

    def _start(self, who: Any) -> None:
        self._running().reset(who, np.arange(self._next, self._next + len(who)))
        self._next += len(who)

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise gymnasium.error.ResetNeeded("call reset() before step() or action_masks()")
        return self._simulator
