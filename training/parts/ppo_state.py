"""Everything a PPO run needs to go on as if it had never stopped.

Taken at the start of a rollout, when the rollout buffer is spent: the weights, Adam's moments,
every generator that is drawn from, the simulated customers, and the library's counters. What
follows from problem and settings (prices, tables, schedules) is built anew, not stored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from sb3_contrib import MaskablePPO

from envs.arrays import Array
from training.parts.train_env import TrainEnv


class Watcher(Protocol):
    """A callback that counts updates and knows since when it runs."""

    updates: int
    judging: float  # seconds
    began: float  # by `time.perf_counter`


_COUNTERS = ("num_timesteps", "_n_updates", "_current_progress_remaining")
_LAST = ("_last_obs", "_last_episode_starts")
_CLOCKS = ("tick", "scale", "_next_customer", "_clock")


def state_of(model: MaskablePPO, watcher: Watcher) -> dict[str, object]:
    """The state of a model, its environment and its watcher."""
    env = _env_of(model)
    elapsed = time.perf_counter() - watcher.began
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - the library shuffles with it
        "python": random.getstate(),
        **env_state(env),
        "model": {name: getattr(model, name) for name in (*_COUNTERS, *_LAST)},
        "watcher": {"updates": watcher.updates, "judging": watcher.judging, "elapsed": elapsed},
    }


def restore(model: MaskablePPO, watcher: Watcher, state: Mapping[str, Any]) -> None:
    """Put a freshly built model where `state` was taken."""
    env = _env_of(model)
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    restore_env(env, state)
    for name in (*_COUNTERS, *_LAST):
        setattr(model, name, state["model"][name])
    watcher.updates, watcher.judging = state["watcher"]["updates"], state["watcher"]["judging"]
    watcher.began = time.perf_counter() - state["watcher"]["elapsed"]
    # last: nothing above may draw after this
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])


def env_state(env: TrainEnv) -> dict[str, object]:
    """Customers and clocks of a `TrainEnv`."""
    customers = {name: values.copy() for name, values in _customers(env).items()}
    return {"customers": customers, "env": {name: getattr(env, name) for name in _CLOCKS}}


def restore_env(env: TrainEnv, state: Mapping[str, Any]) -> None:
    """Put a freshly built environment where `env_state` was taken."""
    for name, values in _customers(env).items():
        values[...] = state["customers"][name]
    for name in _CLOCKS:
        setattr(env, name, state["env"][name])


def _env_of(model: MaskablePPO) -> TrainEnv:
    if not isinstance(model.env, TrainEnv):
        raise TypeError(f"only customers of one cluster can be gone on from, got {type(model.env).__name__}")
    return model.env


def _customers(env: TrainEnv) -> dict[str, Array]:
    """The arrays that describe the simulated customers before the coming decision."""
    simulator = vars(env.simulator)
    return {k: v for k, v in simulator.items() if isinstance(v, np.ndarray) and not k.startswith("_")}
