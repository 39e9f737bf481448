"""MaskablePPO (sb3-contrib) for one cluster, in the compiled simulator.

What makes it reach the optimum: expected instead of sampled rewards, a relaxed optimum as a
potential and its greedy policy as a prior, of which the network learns a correction; huge
batches with few epochs, staggered clocks, returns on one scale, and a learning rate that falls
to zero. Each is a setting; `experiments/004_ablations` shows what it is worth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, cast

import numpy as np
import torch
from pydantic import Field
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from envs.arrays import Floats
from envs.scenario.schema import Strict
from envs.solve.evaluation import policy_values
from envs.solve.relaxation import expected_rewards, greedy_policy, potential
from training.learner import Learned, Point, Problem, Report, Table
from training.network import PolicyNetwork
from training.parts.masked_ppo import CutPPO, OneHotFeatures, PriorPolicy
from training.parts.ppo_state import restore, state_of
from training.parts.prior import line_search, potential_prior, uniform_prior
from training.parts.train_env import RewardModel, TrainEnv
from training.threads import single_threaded

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class Settings(Strict):
    """The recipe; findings of one question each are in `experiments/`."""

    samples: Count = 1_500_000  # customer-days
    rewards: Literal["expected", "sampled"] = "expected"
    shaping: Literal["relaxed", "relaxed_all", "none"] = "relaxed"
    prior: Literal["potential", "none"] = "potential"  # corrected by the network; needs expected rewards
    temperature: Positive = 0.1  # of the prior, in units of the best action's usual lead
    staggered: bool = True  # customers' clocks; else all episodes are cut on the same day
    customers: Count = 512
    steps: Count = 32  # days between updates
    batch: Count = 1024
    epochs: Count = 4
    learning_rate: Positive = 3e-3  # falls linearly to 0
    entropy: Annotated[float, Field(ge=0.0)] = 0.1  # −KL(π ‖ prior); falls with the square of …
    entropy_until: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7  # … the time left, to 0 at this share
    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    clip: Positive = 0.2
    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    horizon: Positive = 2.0  # days to a cut, in units of 1 / (1 − γ); bootstrapped, not an end
    return_size: Annotated[float, Field(ge=0.0)] = 2.0  # of the first policy, by a scale; 0: unscaled
    judged_every: Count = 32  # updates between points of the learning curve

    @property
    def corrects(self) -> bool:
        """Whether there is a prior: it is a table of expected rewards."""
        return self.prior == "potential" and self.rewards == "expected"

    def entropy_at(self, share: float) -> float:
        """The bonus after this share of the run.

        Near-ties between a contact and wait are decided late, when the other states' choices
        have settled; a bonus that is small from the start closes them too early.
        """
        return self.entropy * max(1.0 - share / self.entropy_until, 0.0) ** 2


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Simulate, update, repeat."""
    return correct(problem, settings, report, own_prior(problem, settings))


@single_threaded()
def correct(problem: Problem, settings: Settings, report: Report, prior: Floats | None) -> Learned:
    """Learn a correction of a prior's logits (M, S, A); None: a policy of its own."""
    model = agent(problem, settings, prior)
    watcher = Watcher(problem, settings, report, prior)
    saved = report.saved()
    if saved is not None:
        restore(model, watcher, saved)
    model.learn(settings.samples - model.num_timesteps, watcher, reset_num_timesteps=saved is None)
    network = served_network(problem, model, settings)
    return finished(problem, settings, network, prior, int(model.num_timesteps))


def finished(
    problem: Problem, settings: Settings, network: PolicyNetwork, prior: Floats | None, samples: int
) -> Learned:
    """The learned policy: the network, or a prior (M, S, A) and its correction as one table."""
    beside = {}
    phi = shaping_potential(problem, settings)
    if phi is not None:
        beside["potential_greedy"] = greedy_policy(problem.kernel, problem.weights, phi)
    if prior is None:
        return Learned(network, samples, shown_beside=beside)
    correction = logits_of(problem, network).reshape(prior.shape)
    step = line_search(problem, prior, correction)
    beside["whole_step"] = (prior + correction).argmax(axis=2).astype(np.int8)
    table = Table(step.actions, policy_values(problem.kernel, step.actions, problem.weights))
    return Learned(table, samples, network, beside, {"step": step.size})


def own_prior(problem: Problem, settings: Settings) -> Floats | None:
    """The potential's prior, where the settings want one."""
    expected = reward_model(problem, settings).expected if settings.corrects else None
    return None if expected is None else potential_prior(problem, expected, settings.temperature)


def agent(problem: Problem, settings: Settings, prior: Floats | None = None) -> CutPPO:
    """The learner before its first day."""
    journey, env = problem.journey, training_env(problem, settings, prior)
    return agent_in(env, settings, journey.encoding.sizes, journey.scenario.discount, problem.seed)


def training_env(problem: Problem, settings: Settings, prior: Floats | None = None) -> TrainEnv:
    """The cluster's customers, paid and scaled as these settings say."""
    days = max(round(settings.horizon / (1.0 - problem.journey.scenario.discount)), 2)
    rewards = reward_model(problem, settings)
    env = TrainEnv(
        problem.journey, rewards, settings.customers, days, problem.seed, prior, settings.staggered
    )
    if settings.return_size > 0.0:
        env.calibrate(settings.return_size, days, problem.seed)
    return env


def agent_in(env: VecEnv, settings: Settings, sizes: Sequence[int], discount: float, seed: int) -> CutPPO:
    """The learner before its first day in `env`, whose observation has these sizes."""
    model = CutPPO(
        PriorPolicy,
        env,
        learning_rate=lambda left: settings.learning_rate * left,
        n_steps=settings.steps,
        batch_size=min(settings.batch, env.num_envs * settings.steps),
        n_epochs=settings.epochs,
        gamma=discount,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        ent_coef=settings.entropy,
        seed=seed,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": OneHotFeatures,
            "features_extractor_kwargs": {"sizes": sizes},
            "net_arch": {"pi": settings.hidden, "vf": settings.hidden},
            "activation_fn": nn.ReLU,
            "optimizer_kwargs": {"eps": 1e-5, "fused": True},
        },
    )
    with torch.no_grad():  # a shaped value is near 0; start there
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.zero_()
    return model


def reward_model(problem: Problem, settings: Settings) -> RewardModel:
    """How days are paid under these settings."""
    kernel, weights = problem.kernel, problem.weights
    phi = shaping_potential(problem, settings)
    model = RewardModel(weights, problem.journey.scenario.discount, kernel.consents)
    if settings.rewards == "sampled":
        return replace(model, phi=phi)
    base = np.zeros((problem.blocks, kernel.states)) if phi is None else phi
    # without a potential, tomorrow counts for nothing in today's pay
    expected = expected_rewards(kernel, weights, base)
    return replace(model, expected=expected)


def shaping_potential(problem: Problem, settings: Settings) -> Floats | None:
    """(M, S) φ, or None."""
    if settings.shaping == "none":
        return None
    every = settings.shaping == "relaxed_all"
    out: Floats | None = potential(problem.kernel, problem.weights, problem.service_only, every)
    return out


class Watcher(BaseCallback):
    """Lowers the entropy bonus, and reports the exact score as it grows."""

    def __init__(
        self, problem: Problem, settings: Settings, report: Report, prior: Floats | None = None
    ) -> None:
        super().__init__()
        self._problem, self._settings, self._report, self._prior = problem, settings, report, prior
        self.updates, self.judging, self.began = 0, 0.0, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def network(self, model: CutPPO) -> PolicyNetwork:
        """What would be served if learning stopped here."""
        return served_network(self._problem, model, self._settings)

    def _on_rollout_start(self) -> None:
        model = cast(CutPPO, self.model)
        self._report.offer(lambda: state_of(model, self))
        model.ent_coef = self._settings.entropy_at(1.0 - model._current_progress_remaining)
        if self.updates % self._settings.judged_every == 0:
            began = time.perf_counter()
            value = greedy_value(self._problem, self.network(model), self._prior)
            self.judging += time.perf_counter() - began
            self._report(
                Point(
                    share=min(self.num_timesteps / self._settings.samples, 1.0),
                    samples=self.num_timesteps,
                    seconds=time.perf_counter() - self.began - self.judging,
                    metrics={"value": value},
                )
            )
        self.updates += 1


def served_network(problem: Problem, model: CutPPO, settings: Settings) -> PolicyNetwork:
    """The served network with the learned policy trunk."""
    sizes, actions = problem.journey.encoding.sizes, len(problem.journey.actions)
    network = PolicyNetwork(sizes, actions, settings.hidden)
    learned = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    for own, theirs in zip(network.policy, learned, strict=True):
        own.load_state_dict(theirs.state_dict())
    return network


def logits_of(problem: Problem, network: PolicyNetwork) -> Floats:
    """(M·S, A) logits in every state, before masks."""
    with torch.no_grad():
        return network.logits(torch.from_numpy(problem.observations)).numpy()


def greedy_value(problem: Problem, network: PolicyNetwork, prior: Floats | None = None) -> float:
    """Exact value from d0 of the greedy policy of a network, or of a prior (M, S, A) it corrects."""
    logits = logits_of(problem, network)
    base = uniform_prior(problem.legal) if prior is None else prior.reshape(logits.shape)
    greedy = (base + logits).argmax(axis=1).astype(np.int8)
    return problem.value_of(greedy.reshape(problem.blocks, -1))
