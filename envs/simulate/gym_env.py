"""`journey/CustomerJourney-v0`: one customer of one cluster as a Gymnasium environment.

A step is a day. Rewards are the objective's weights times the sampled components (which are
in `info`). An action that the rules forbid is not carried out: the day passes as `wait` and
`info["illegal"]` says so; `action_masks()` and `info["action_mask"]` say what is legal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.day.masks import unpack
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.simulator import Simulator


def open_journey(scenario: str | Path | Scenario, cluster: str | None) -> Journey:
    """The compiled journey of one cluster (default: the scenario's first)."""
    problem = scenario if isinstance(scenario, Scenario) else load_scenario(Path(scenario))
    return compile_journey(problem, cluster or problem.clusters[0].name)


def observation_space(journey: Journey) -> spaces.Box:
    """(F,) levels, from 0 to the size of each component less one."""
    high = np.maximum(np.array(journey.encoding.sizes, dtype=np.float32) - 1.0, 1.0)
    return spaces.Box(np.zeros_like(high), high, dtype=np.float32)


class CustomerJourneyEnv(gymnasium.Env[Any, Any]):
    """One customer a time; each reset is the next customer of the seed's population."""

    metadata = {"render_modes": []}

    def __init__(
        self,
        scenario: str | Path | Scenario,
        cluster: str | None = None,
        objective: str | None = None,
        episode_days: int = 365,
    ) -> None:
        self.journey = open_journey(scenario, cluster)
        self.episode_days = episode_days
        self.observation_space = observation_space(self.journey)
        self.action_space = spaces.Discrete(len(self.journey.actions))
        self._weights = self.journey.weights(objective)
        self._simulator: Simulator | None = None
        self._action = np.zeros(1, dtype=np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The next customer; with a seed, the first customer of that seed's population."""
        super().reset(seed=seed)
        if seed is not None or self._simulator is None:
            stream = seed if seed is not None else int(self.np_random.integers(2**62))
            self._simulator = Simulator(self.journey, 1, stream)
        else:
            self._simulator.reset([0], self._simulator.customers + 1)
        return self._simulator.observations[0].copy(), {"action_mask": self.action_masks()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One day."""
        simulator = self._running()
        number = int(action)
        illegal = not int(simulator.legal[0]) >> number & 1
        self._action[0] = 0 if illegal else number
        outcome = simulator.step(self._action)
        reward = float(outcome.rewards[0] @ self._weights)
        info = {
            "action_mask": self.action_masks(),
            "components": dict(zip(COMPONENTS, outcome.rewards[0].tolist(), strict=True)),
            "illegal": illegal,
        }
        terminated = bool(outcome.churned[0])
        truncated = not terminated and int(simulator.days[0]) >= self.episode_days
        return simulator.observations[0].copy(), reward, terminated, truncated, info

    def action_masks(self) -> Any:
        """(A,) booleans, as sb3-contrib asks for them."""
        return unpack(self._running().legal, len(self.journey.actions))[0]

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise gymnasium.error.ResetNeeded("call reset() before step() or action_masks()")
        return self._simulator
