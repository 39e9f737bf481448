"""Learning and judging: logs, fitting, agents, evaluation, tracking. Stands on `envs` only.

`from training import journey_vec_env` is the batch simulator as a stable-baselines3 `VecEnv`; it is
imported when it is asked for, as torch is slow to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.parts.vec_env import JourneyVecEnv, journey_vec_env

__all__ = ["JourneyVecEnv", "journey_vec_env"]


def __getattr__(name: str) -> object:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("training.parts.vec_env"), name)
    raise AttributeError(f"module 'training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
