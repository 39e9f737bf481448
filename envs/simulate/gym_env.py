"""`journey/CustomerJourney-v0`: one customer of one cluster as a Gymnasium environment.

A step is a day. Rewards are the objective's weights times the sampled components (which are
in `info`). An action that the rules forbid, or that does not exist, is not carried out: the day
passes as `wait` and `info["illegal"]` says so; `action_masks()` and `info["action_mask"]` say what is
legal, in the type that `action_space.sample(mask=)` takes. `render()` tells the day in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.arrays import Floats, Ints
from envs.day.masks import unpack
from envs.errors import UserError
from envs.journey.journey import Journey
from envs.scenario.schema import COMPONENTS, Scenario
from envs.simulate.narrative import told_day, told_start
from envs.simulate.opening import episode_length, objective_weights, open_journey, refuse_unknown, whole_seed
from envs.simulate.simulator import Simulator

ARGUMENTS = ("scenario", "cluster", "objective", "episode_days", "render_mode")


def observation_space(journey: Journey) -> spaces.Box:
    """(F,) levels, from 0 to the size of each component less one; beliefs from 0 to 1."""
    high = np.maximum(np.array(journey.encoding.sizes, dtype=np.float32) - 1.0, 1.0)
    return spaces.Box(np.zeros_like(high), high, dtype=np.float32)


def whole_actions(actions: object, shape: tuple[int, ...]) -> Ints:
    """Actions as whole numbers of a shape; raises `UserError` for anything else."""
    expected = "a whole number" if shape == () else f"{shape[0]} whole numbers"
    try:
        given = np.asarray(actions)
    except (TypeError, ValueError) as error:
        raise UserError(str(error), where="step", expected=expected) from None
    if given.dtype.kind not in "iu" or given.size != int(np.prod(shape)):
        shown = actions if given.size <= 8 else f"{given.dtype} {given.shape}"
        raise UserError("not an action", where="step", got=shown, expected=expected)
    return given.reshape(shape).astype(np.int64)


def action_mask(legal: Ints, actions: int) -> Ints:
    """(..., A) int8 of bits: 1 where legal."""
    return unpack(legal, actions).astype(np.int8)


class CustomerJourneyEnv(gymnasium.Env[Any, Any]):
    """One customer a time; each reset is the next customer of the seed's population."""

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self,
        scenario: str | Path | Scenario | None = None,
        cluster: str | None = None,
        objective: str | None = None,
        episode_days: int | None = None,
        render_mode: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(unknown, ARGUMENTS)
        if render_mode not in (None, "ansi"):
            raise UserError(
                "unknown render mode", where="render_mode", got=render_mode, expected="ansi or None"
            )
        self.journey = open_journey(scenario, cluster)
        self.episode_days = episode_length(episode_days)
        self.render_mode = render_mode
        self.observation_space = observation_space(self.journey)
        self.action_space = spaces.Discrete(len(self.journey.actions))
        self._weights = objective_weights(self.journey, objective)
        self._simulator: Simulator | None = None
        self._action = np.zeros(1, dtype=np.int64)
        self._told = ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """The next customer; with a seed, the first customer of that seed's population."""
        super().reset(seed=None if seed is None else whole_seed(seed))
        if seed is not None or self._simulator is None:
            stream = int(seed) if seed is not None else int(self.np_random.integers(2**62))
            self._simulator = Simulator(self.journey, 1, stream)
        else:
            self._simulator.reset([0], self._simulator.customers + 1)
        simulator = self._simulator
        if self.render_mode == "ansi":
            who, legal = int(simulator.customers[0]), int(simulator.legal[0])
            self._told = told_start(self.journey, who, simulator.states[0], legal)
        return simulator.observations[0].copy(), {"action_mask": self.action_masks()}

    def step(self, action: object) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One day."""
        simulator = self._running()
        whole = isinstance(action, (int, np.integer)) and not isinstance(action, bool)
        wished = int(action) if whole else int(whole_actions(action, ()))  # type: ignore[call-overload]
        illegal = (
            wished < 0 or wished >= len(self.journey.actions) or not int(simulator.legal[0]) >> wished & 1
        )
        self._action[0] = 0 if illegal else wished
        outcome = simulator.step(self._action)
        reward = float(outcome.rewards[0] @ self._weights)
        info = {
            "action_mask": self.action_masks(),
            "components": dict(zip(COMPONENTS, outcome.rewards[0].tolist(), strict=True)),
            "illegal": illegal,
        }
        terminated, day = bool(outcome.churned[0]), int(simulator.days[0])
        truncated = not terminated and day >= self.episode_days
        if self.render_mode == "ansi":
            self._told = told_day(
                self.journey, day, int(self._action[0]), wished, outcome.outcomes[0],
                float(outcome.values[0]), simulator.states[0], int(simulator.legal[0]),
            )  # fmt: skip
        return simulator.observations[0].copy(), reward, terminated, truncated, info

    def render(self) -> str | None:
        """The last day in words with `render_mode="ansi"`, else None."""
        self._running()
        return self._told if self.render_mode == "ansi" else None

    def action_masks(self) -> Ints:
        """(A,) int8, 1 where legal: what sb3-contrib asks for and `action_space.sample(mask=)` takes."""
        return action_mask(self._running().legal, len(self.journey.actions))[0]

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise gymnasium.error.ResetNeeded("call reset() before step(), render() or action_masks()")
        return self._simulator
