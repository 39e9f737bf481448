"""Thousands of customers as one native Gymnasium `VectorEnv`: a call a day for all of them.

Finished journeys start anew as `autoreset_mode` says, in Gymnasium's three ways: in the next step
(its own default, and what most of its wrappers want), in the same step (the last observation is in
`infos["final_obs"]`), or never, until `reset(options={"reset_mask": ...})`. With `staggered` clocks
the cuts at the horizon are spread over time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.arrays import Floats, Ints, Mask
from envs.errors import ConfigError, UserError
from envs.scenario.schema import Scenario
from envs.simulate.gym_env import action_mask, observation_space, whole_actions
from envs.simulate.opening import (
    episode_length,
    objective_weights,
    open_journey,
    refuse_unknown,
    whole_number,
    whole_seed,
)
from envs.simulate.simulator import Simulator

ARGUMENTS = (
    "scenario", "cluster", "objective", "episode_days", "max_episode_steps", "staggered", "autoreset_mode",
)  # fmt: skip


class CustomerJourneyVectorEnv(VectorEnv[Any, Any, Any]):
    """`num_envs` customers of one cluster; illegal actions pass as `wait`."""

    def __init__(
        self,
        num_envs: int,
        scenario: str | Path | Scenario | None = None,
        cluster: str | None = None,
        objective: str | None = None,
        episode_days: int | None = None,
        staggered: bool = False,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(unknown, ARGUMENTS)
        if render_mode is not None:
            raise UserError(
                "a batch is not told in words", where="render_mode", got=render_mode, expected="None",
                hint='the single environment renders with render_mode="ansi"',
            )  # fmt: skip
        self.num_envs = whole_number(num_envs, "num_envs")
        self.journey = open_journey(scenario, cluster)
        self.episode_days = episode_length(episode_days, max_episode_steps)
        self.autoreset_mode = _autoreset(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = observation_space(self.journey)
        self.single_action_space = spaces.Discrete(len(self.journey.actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._weights = objective_weights(self.journey, objective).astype(np.float32)
        self._simulator: Simulator | None = None
        self._staggered = staggered
        self._clock = np.zeros(num_envs, dtype=np.int64)
        self._over = np.zeros(num_envs, dtype=np.bool_)  # finished, and not yet begun anew
        self._next = 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """`num_envs` new customers, or new ones at `options["reset_mask"]` (num_envs,) only.

        One seed rules them all: customers are numbered streams of it, so a list is refused.
        """
        if isinstance(seed, (list, tuple)):
            raise UserError("one seed rules all customers", where="seed", got=seed, expected="a whole number")
        if options is not None and not isinstance(options, dict):
            raise UserError("not options", where="options", got=type(options).__name__, expected="a dict")
        chosen = None if options is None else options.get("reset_mask")
        if chosen is not None:
            return self._reset_some(chosen, seed)
        super().reset(seed=None if seed is None else whole_seed(seed))
        if seed is not None or self._simulator is None:
            stream = int(seed) if seed is not None else int(self.np_random.integers(2**62))
            self._simulator, self._next = Simulator(self.journey, self.num_envs, stream), self.num_envs
        else:
            self._start(np.arange(self.num_envs))
        if self._staggered:
            self._clock = np.arange(self.num_envs) * self.episode_days // self.num_envs
        else:
            self._clock = np.zeros(self.num_envs, dtype=np.int64)
        self._over[:] = False
        return self._running().observations.copy(), {"action_mask": self.action_masks()}

    def _reset_some(self, chosen: object, seed: int | None) -> tuple[Floats, dict[str, Any]]:
        where = "options['reset_mask']"
        mask = np.asarray(chosen)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise UserError(
                "not a mask of environments", where=where, got=f"{mask.dtype} {mask.shape}",
                expected=f"({self.num_envs},) booleans, one or more true",
            )  # fmt: skip
        if seed is not None:
            raise UserError("a seed begins all customers anew", where=where, got=seed, expected="no seed")
        self._start(np.flatnonzero(mask))
        return self._running().observations.copy(), {"action_mask": self.action_masks()}

    def step(self, actions: object) -> tuple[Floats, Floats, Mask, Mask, dict[str, Any]]:
        """One day of every customer; who begins anew in this step has no day and no reward."""
        simulator, waiting = self._running(), self._over.copy()
        if waiting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            count = int(waiting.sum())
            raise gymnasium.error.ResetNeeded(
                f'{count} journeys are over: reset(options={{"reset_mask": ...}})'
            )
        wished = whole_actions(actions, (self.num_envs,))
        inside = (wished >= 0) & (wished < len(self.journey.actions))
        illegal = ~inside | (simulator.legal >> np.where(inside, wished, 0) & 1 == 0)
        outcome = simulator.step(np.where(illegal | waiting, 0, wished))
        rewards, components = outcome.rewards @ self._weights, outcome.rewards.copy()
        self._clock += 1
        terminated = outcome.churned & ~waiting
        truncated = ~terminated & ~waiting & (self._clock >= self.episode_days)
        if waiting.any():
            self._start(np.flatnonzero(waiting))
            rewards[waiting], components[waiting], illegal[waiting] = 0.0, 0.0, False
        infos: dict[str, Any] = {"illegal": illegal, "components": components}
        self._over = terminated | truncated
        if self._over.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos |= self._final(self._over.copy(), components)
            self._start(np.flatnonzero(self._over))
        infos["action_mask"] = self.action_masks()
        return simulator.observations.copy(), rewards, terminated, truncated, infos

    def _final(self, over: Mask, components: Floats) -> dict[str, Any]:
        """What the finished ended with, as Gymnasium's own vector environments say it."""
        final = np.empty(self.num_envs, dtype=object)
        for i in np.flatnonzero(over):
            final[i] = self._running().observations[i].copy()
        last = {"components": components.copy(), "action_mask": self.action_masks()}
        told = last | {f"_{name}": over.copy() for name in last}
        return {"final_obs": final, "_final_obs": over, "final_info": told, "_final_info": over.copy()}

    def action_masks(self) -> Ints:
        """(num_envs, A) int8, 1 where legal; `action_space.sample(mask=tuple(...))` takes its rows."""
        return action_mask(self._running().legal, len(self.journey.actions))

    def _start(self, who: Ints) -> None:
        self._running().reset(who, np.arange(self._next, self._next + len(who)))
        self._next += len(who)
        self._clock[who] = 0
        self._over[who] = False

    def _running(self) -> Simulator:
        if self._simulator is None:
            raise gymnasium.error.ResetNeeded("call reset() before step() or action_masks()")
        return self._simulator


def _autoreset(mode: object) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(m.value for m in AutoresetMode)
        raise ConfigError("unknown", where="autoreset_mode", got=mode, expected=f"one of {known}") from None
