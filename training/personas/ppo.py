"""PPO on the belief: a policy for customers whose type is hidden, as a correction of a baseline.

The learner and its settings are `learners/ppo.py`'s, in `env.py`. How far to go from the
baseline to what was learned is chosen on simulated customers of its own; judging is done on
others (`judge.py`). An interrupted run goes on from its checkpoint to the same weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from envs.arrays import Ints
from envs.personas.models import Hidden
from envs.personas.rollouts import Seen, rollout_values
from training.learner import Point, Report
from training.learners.ppo import Settings, agent_in
from training.network import PolicyNetwork
from training.parts.masked_ppo import CutPPO
from training.parts.ppo_state import restore, state_of
from training.parts.prior import STEPS
from training.personas.env import Baseline, BeliefEnv, Plan, baseline
from training.threads import single_threaded

CHOOSING, CHOOSERS = 5_000, 2_000  # first seed and number of the customers a choice is made on


class BeliefSettings(Settings):
    """PPO's, and which baseline is corrected."""

    plan: Plan = "mean"
    gae_lambda: float = 0.9  # what a question teaches pays over weeks


@dataclass(frozen=True)
class Corrected:
    """A policy on (state, belief): the baseline's logits and a step along the network's."""

    base: Baseline
    network: PolicyNetwork | None = None  # None: the baseline itself
    step: float = 1.0
    samples: int = 0  # customer-days simulated

    def __call__(self, seen: Seen) -> Ints:
        """(N,) greedy legal actions."""
        logits = self.base.prior(seen.belief, seen.block, seen.state)
        if self.network is not None:
            with torch.no_grad():
                learned = self.network.logits(torch.from_numpy(seen.observation)).numpy()
            logits = logits + np.float32(self.step) * learned
        out: Ints = np.where(seen.legal, logits, -np.inf).argmax(axis=1)
        return out


class _Follower(BaseCallback):
    """Lowers the bonus for nearness, tells of progress, and offers to keep where learning stands."""

    def __init__(self, settings: Settings, report: Report) -> None:
        super().__init__()
        self._settings, self._report = settings, report
        self.updates, self.judging, self.began = 0, 0.0, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model = cast(CutPPO, self.model)
        self._report.offer(lambda: state_of(model, self))
        share = min(self.num_timesteps / self._settings.samples, 1.0)
        model.ent_coef = self._settings.entropy_at(share)
        self._report(Point(share, self.num_timesteps, time.perf_counter() - self.began))
        self.updates += 1


@single_threaded()
def learn(hidden: Hidden, settings: BeliefSettings, seed: int, report: Report) -> Corrected:
    """Simulate, update, repeat; deterministic in its arguments, interrupted or not."""
    base = baseline(hidden, settings.plan, settings.temperature)
    model = agent(hidden, settings, base, seed)
    follower, saved = _Follower(settings, report), report.saved()
    if saved is not None:
        restore(model, follower, saved)
    model.learn(settings.samples - model.num_timesteps, follower, reset_num_timesteps=saved is None)
    network = PolicyNetwork(hidden.journey.encoding.sizes, len(hidden.journey.actions), settings.hidden)
    learned = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    for own, theirs in zip(network.policy, learned, strict=True):
        own.load_state_dict(theirs.state_dict())
    whole = Corrected(base, network, samples=int(model.num_timesteps))
    return best_of(hidden, [replace(whole, step=size) for size in STEPS], seed)


def agent(hidden: Hidden, settings: BeliefSettings, base: Baseline, seed: int) -> CutPPO:
    """The learner before its first day."""
    days = max(round(settings.horizon / (1.0 - hidden.discount)), 2)
    env = BeliefEnv(hidden, base, settings.customers, days, seed, settings.staggered)
    if settings.return_size > 0.0:
        env.calibrate(settings.return_size, days, seed)
    return agent_in(env, settings, hidden.journey.encoding.sizes, hidden.discount, seed)


def best_of(hidden: Hidden, policies: list[Corrected], seed: int) -> Corrected:
    """The one worth most, the first of equals, to customers who neither teach nor judge."""
    tried = rollout_values(hidden, {str(i): p for i, p in enumerate(policies)}, CHOOSERS, choosing_seed(seed))
    return max(zip(policies, tried.values(), strict=True), key=lambda pair: float(pair[1].mean()))[0]


def choosing_seed(seed: int) -> int:
    """Whom a run with this seed chooses on."""
    return CHOOSING + seed
