"""MaskablePPO (sb3-contrib) on the belief: a policy for customers whose type is hidden.

The library's learner on `belief_env.py`; the network is the served one, whose first layer
passes the belief through. Judging is `hidden_run.py`'s business. Keeps no checkpoint: an
interrupted run starts over and ends with the same weights.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from envs.hidden import Hidden
from training.belief_env import BeliefEnv
from training.learner import Point, Report
from training.network import OneHot, PolicyNetwork, single_threaded

CUSTOMERS, DAYS, BATCH, EPOCHS = 512, 32, 1024, 4
LEARNING_RATE, ENTROPY, ENTROPY_UNTIL, WIDTH = 3e-3, 0.02, 0.7, (64, 64)


class _Features(BaseFeaturesExtractor):
    """The network's fixed first layer."""

    def __init__(self, observation_space: Any, sizes: tuple[int, ...]) -> None:
        layer = OneHot(sizes)
        super().__init__(observation_space, layer.width)
        self.layer = layer

    def forward(self, observations: Tensor) -> Tensor:
        """(N, F) → (N, D)."""
        out: Tensor = self.layer(observations)
        return out


class _Follower(BaseCallback):
    """Lowers the entropy bonus, tells of progress, and stops where the user wants to."""

    def __init__(self, samples: int, report: Report) -> None:
        super().__init__()
        self._samples, self._report, self._began = samples, report, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        share = min(self.num_timesteps / self._samples, 1.0)
        self.model.ent_coef = ENTROPY * max(1.0 - share / ENTROPY_UNTIL, 0.0) ** 2  # type: ignore[attr-defined]
        self._report(Point(share, self.num_timesteps, time.perf_counter() - self._began))
        self._report.offer(dict)


def learn(hidden: Hidden, samples: int, seed: int, report: Report) -> PolicyNetwork:
    """Simulate, update, repeat; deterministic in its arguments."""
    single_threaded()
    days = round(2.0 / (1.0 - hidden.discount))
    sizes = hidden.journey.encoding.sizes
    model = MaskablePPO(
        "MlpPolicy",
        BeliefEnv(hidden, CUSTOMERS, days, seed),
        learning_rate=lambda left: LEARNING_RATE * left,
        n_steps=DAYS,
        batch_size=BATCH,
        n_epochs=EPOCHS,
        gamma=hidden.discount,
        gae_lambda=0.9,  # what a question teaches pays over weeks
        ent_coef=ENTROPY,
        seed=seed,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": _Features,
            "features_extractor_kwargs": {"sizes": sizes},
            "net_arch": {"pi": list(WIDTH), "vf": list(WIDTH)},
            "activation_fn": nn.ReLU,
            "optimizer_kwargs": {"eps": 1e-5},
        },
    )
    model.learn(samples, _Follower(samples, report))
    network = PolicyNetwork(sizes, len(hidden.journey.actions), WIDTH)
    learned = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    for own, theirs in zip(network.policy, learned, strict=True):
        own.load_state_dict(theirs.state_dict())
    return network


def decider(network: PolicyNetwork) -> Any:
    """The network's greedy legal action, for rollouts."""

    def decide(seen: Any) -> Any:
        with torch.no_grad():
            logits = network.logits(torch.from_numpy(seen.observation))
        return logits.masked_fill(~torch.from_numpy(seen.legal), -torch.inf).argmax(dim=1).numpy()

    return decide
