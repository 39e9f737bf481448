"""All clusters of a scenario as one environment, and one network for all of them.

The observation ends with the cluster's number, which the network reads one-hot. For service the
cluster is fixed, so its row of the first layer is added to the bias: what is left is the plain
network of that cluster, with the same logits. What to do with it is the learners' business.
K clusters, N customers in all, F features of a cluster's observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from envs.arrays import Floats, Ints, Mask
from envs.errors import ConfigError
from training.learner import Problem
from training.parts.train_env import TrainEnv


class PooledEnv(VecEnv):
    """The clusters' customers one after the other; each cluster keeps its own reward scale."""

    render_mode = None

    def __init__(self, members: Sequence[TrainEnv]) -> None:
        self.members = list(members)
        self.cluster = np.repeat(np.arange(len(members)), [m.num_envs for m in members]).astype(np.float32)
        self._ends = np.cumsum([m.num_envs for m in members])
        first: Any = members[0].observation_space
        high = np.append(first.high, np.float32(len(members)))
        box = spaces.Box(0.0, high, dtype=np.float32)
        super().__init__(int(self._ends[-1]), box, members[0].action_space)

    def _numbered(self, observations: Sequence[Floats]) -> Floats:
        """(N, F + 1) observations with the cluster's number at the end."""
        return np.column_stack([np.concatenate(observations), self.cluster])

    def reset(self) -> Floats:
        """(N, F + 1)."""
        return self._numbered([member.reset() for member in self.members])

    def action_masks(self) -> Mask:
        """(N, A) legal actions."""
        return np.concatenate([member.action_masks() for member in self.members])

    def prior_logits(self) -> Floats:
        """(N, A) logits of every cluster's own prior."""
        return np.concatenate([member.prior_logits() for member in self.members])

    def step_async(self, actions: Ints) -> None:
        """Hand every cluster its own."""
        for member, own in zip(self.members, np.split(actions, self._ends[:-1]), strict=True):
            member.step_async(own)

    def step_wait(self) -> tuple[Floats, Floats, Mask, list[dict[str, Any]]]:
        """One day of every customer."""
        observations, rewards, dones, infos = zip(*(m.step_wait() for m in self.members), strict=True)
        flat: list[dict[str, Any]] = [info for own in infos for info in own]
        for i, info in enumerate(flat):
            if "terminal_observation" in info:
                info["terminal_observation"] = np.append(info["terminal_observation"], self.cluster[i])
        return self._numbered(observations), np.concatenate(rewards), np.concatenate(dones), flat

    def close(self) -> None:
        """Nothing is held."""

    def env_method(self, method_name: str, *args: object, indices: object = None, **kwargs: object) -> Any:
        """For `action_masks`, as a cluster's environment answers it."""
        return getattr(self, method_name)(*args, **kwargs)

    def get_attr(self, attr_name: str, indices: object = None) -> list[object]:
        """The same attribute for every customer."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: object, indices: object = None) -> None:
        """Set an attribute once for all."""
        setattr(self, attr_name, value)

    def env_is_wrapped(self, wrapper_class: object, indices: object = None) -> list[bool]:
        """Native: nothing is wrapped."""
        return [False] * self.num_envs


def pooled_sizes(problems: Sequence[Problem]) -> list[int]:
    """Sizes of the pooled observation; raises `ConfigError` where the clusters' differ."""
    encodings = [problem.journey.encoding for problem in problems]
    for problem, encoding in zip(problems, encodings, strict=True):
        if tuple(encoding.sizes) != tuple(encodings[0].sizes):
            raise ConfigError(
                "the clusters cannot be pooled: their observations differ",
                where=problem.journey.cluster.name, got=f"{len(encoding.sizes)} entries",
                expected=f"{len(encodings[0].sizes)}", hint="use a learner for each cluster",
            )  # fmt: skip
    return [*encodings[0].sizes, len(problems)]


def fold_cluster(trunk: nn.Sequential, sizes: Sequence[int], cluster: int) -> list[dict[str, Tensor]]:
    """State dicts of the trunk's layers with the cluster's row of the first folded into its bias.

    `sizes` are the pooled ones: one-hot entries first, the cluster's the last of them, then beliefs.
    """
    entries, clusters = sum(sizes), sizes[-1]
    first = trunk[0].state_dict()
    weight, row = first["weight"], entries - clusters + cluster
    kept = [*range(entries - clusters), *range(entries, weight.shape[1])]
    folded = {"weight": weight[:, kept].clone(), "bias": first["bias"] + weight[:, row]}
    others = list(trunk)[1:]
    return [folded, *({k: v.clone() for k, v in layer.state_dict().items()} for layer in others)]


def load_layers(trunk: Sequence[nn.Module] | nn.Sequential, layers: Sequence[Mapping[str, Tensor]]) -> None:
    """Put state dicts into a trunk's layers."""
    with torch.no_grad():
        for own, theirs in zip(trunk, layers, strict=True):
            own.load_state_dict(theirs)
