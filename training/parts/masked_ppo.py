"""sb3-contrib's MaskablePPO with a prior in place of its masks, and fast rollouts.

The library hands a policy one array an observation: booleans, legal or not. Here it carries the
logits of a prior policy (`prior.py`), hugely negative where illegal; all else, the update
included, is the library's. What is learned, and from what, is the learners' business.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from envs.arrays import Floats
from training.network import OneHot


class OneHotFeatures(BaseFeaturesExtractor):
    """The network's fixed first layer."""

    def __init__(self, observation_space: spaces.Space[Floats], sizes: tuple[int, ...]) -> None:
        layer = OneHot(sizes)
        super().__init__(observation_space, layer.width)
        self.layer = layer

    def forward(self, observations: Tensor) -> Tensor:
        """(N, F) → (N, D)."""
        out: Tensor = self.layer(observations)
        return out


class PriorPolicy(MaskableActorCriticPolicy):
    """The library's policy as a correction of a prior; `action_masks` are its logits (N, A)."""

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Floats | Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (N,), values (N, 1) and log-probabilities (N,)."""
        features = self._features(obs)
        logs = self._logs(features, torch.as_tensor(action_masks))
        if deterministic:
            actions = logs.argmax(dim=1)
        else:  # the largest of p / Exp(1) is a draw from p
            actions = (logs.exp() / torch.empty_like(logs).exponential_()).argmax(dim=1)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        return actions, values, logs.gather(1, actions[:, None]).squeeze(1)

    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Floats | Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (N, 1), log-probabilities (N,) of `actions`, and −KL(π ‖ prior) (N,).

        Under a uniform prior the last is the entropy, less the logarithm of how many are legal.
        """
        features, prior = self._features(obs), torch.as_tensor(action_masks)
        logs = self._logs(features, prior)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        nearness = -(logs.exp() * (logs - torch.log_softmax(prior, dim=1))).sum(dim=1)
        return values, logs.gather(1, actions[:, None]).squeeze(1), nearness

    def _features(self, obs: Tensor) -> Tensor:
        return cast(Tensor, self.extract_features(obs))  # one extractor for both trunks

    def _logs(self, features: Tensor, prior: Tensor) -> Tensor:
        logits = self.action_net(self.mlp_extractor.forward_actor(features))
        return torch.log_softmax(logits + prior, dim=1)


class CutPPO(MaskablePPO):
    """MaskablePPO whose rollouts bootstrap all cut customers of a day in one call."""

    def collect_rollouts(
        self, env: Any, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:  # fmt: skip
        """Fill the buffer with `n_rollout_steps` days of every customer."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        dones = self._last_episode_starts
        for _ in range(n_rollout_steps):
            prior = env.prior_logits()
            with torch.no_grad():
                observation = torch.from_numpy(self._last_obs)
                actions, values, logs = self.policy(observation, action_masks=prior)
            chosen = actions.numpy()
            following, rewards, dones, infos = env.step(chosen)
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            self._bootstrap(rewards, infos)
            rollout_buffer.add(
                self._last_obs, chosen.reshape(-1, 1), rewards, self._last_episode_starts, values, logs,
                action_masks=prior,
            )  # fmt: skip
            self._last_obs, self._last_episode_starts = following, dones
        with torch.no_grad():
            values = self.policy.predict_values(torch.from_numpy(self._last_obs))
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=dones)
        callback.on_rollout_end()
        return True

    def _bootstrap(self, rewards: Floats, infos: list[dict[str, Any]]) -> None:
        """Add γV(x') in place where an episode was cut, not ended."""
        cut = [i for i, info in enumerate(infos) if info]
        if cut:
            last = np.stack([infos[i]["terminal_observation"] for i in cut])
            with torch.no_grad():
                values = self.policy.predict_values(torch.from_numpy(last))
            rewards[cut] += self.gamma * values.numpy().ravel()
