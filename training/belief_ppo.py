"""PPO on the belief: a policy for customers whose type is hidden, as a correction of a baseline.

The learner and its settings are `learners/ppo.py`'s, in `belief_env.py`. How far to go from the
baseline to what was learned is chosen on simulated customers of its own; judging is done on
others. Keeps no checkpoint: an interrupted run starts over and ends with the same weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from envs.hidden import Hidden
from envs.hidden_rollouts import Seen, rollout_values
from training.belief_env import Baseline, BeliefEnv, Plan, baseline
from training.learner import Point, Report
from training.learners.ppo import Settings, agent_in
from training.network import PolicyNetwork, single_threaded
from training.prior import STEPS

CHOOSING, CHOOSERS = 5_000, 2_000  # first seed and number of the customers a step is chosen on


class BeliefSettings(Settings):
    """PPO's, and which baseline is corrected."""

    plan: Plan = "mean"
    gae_lambda: float = 0.9  # what a question teaches pays over weeks


@dataclass(frozen=True)
class Corrected:
    """A policy on (state, belief): the baseline's logits and a step along the network's."""

    base: Baseline
    network: PolicyNetwork
    step: float = 1.0

    def __call__(self, seen: Seen) -> Any:
        """(N,) greedy legal actions."""
        with torch.no_grad():
            learned = self.network.logits(torch.from_numpy(seen.observation)).numpy()
        logits = self.base.prior(seen.belief, seen.block, seen.state) + np.float32(self.step) * learned
        return np.where(seen.legal, logits, -np.inf).argmax(axis=1)


class _Follower(BaseCallback):
    """Lowers the bonus for nearness, tells of progress, and stops where the user wants to."""

    def __init__(self, settings: Settings, report: Report) -> None:
        super().__init__()
        self._settings, self._report, self._began = settings, report, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        share = min(self.num_timesteps / self._settings.samples, 1.0)
        self.model.ent_coef = self._settings.entropy_at(share)  # type: ignore[attr-defined]
        self._report(Point(share, self.num_timesteps, time.perf_counter() - self._began))
        self._report.offer(dict)


@single_threaded()
def learn(hidden: Hidden, settings: BeliefSettings, seed: int, report: Report) -> Corrected:
    """Simulate, update, repeat; deterministic in its arguments."""
    base = baseline(hidden, settings.plan, settings.temperature)
    days = round(settings.horizon / (1.0 - hidden.discount))
    env = BeliefEnv(hidden, base, settings.customers, days, seed)
    env.calibrate(settings.return_size, days, seed)
    sizes = hidden.journey.encoding.sizes
    model = agent_in(env, settings, sizes, hidden.discount, seed)
    model.learn(settings.samples, _Follower(settings, report))
    network = PolicyNetwork(sizes, len(hidden.journey.actions), settings.hidden)
    learned = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    for own, theirs in zip(network.policy, learned, strict=True):
        own.load_state_dict(theirs.state_dict())
    steps = {str(size): Corrected(base, network, size) for size in STEPS}
    tried = rollout_values(hidden, steps, CHOOSERS, CHOOSING + seed)
    return steps[max(steps, key=lambda size: float(tried[size].mean()))]
