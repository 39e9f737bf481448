"""MaskablePPO (sb3-contrib) for one cluster, in the compiled simulator.

What makes it reach the optimum: expected instead of sampled rewards, a relaxed optimum as a
potential, huge batches with few epochs, staggered clocks, cuts bootstrapped all at once, and a
learning rate that falls to zero. Each is a setting. The network is the served one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from envs.relaxation import expected_rewards, greedy_policy, potential
from envs.scenario import Strict
from training.learner import Learned, Point, Problem, Report
from training.network import OneHot, PolicyNetwork, single_threaded
from training.ppo_state import restore, state_of
from training.train_env import RewardModel, TrainEnv

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
_ILLEGAL = -1e8  # a logit: its probability is exactly 0 in float32


class Settings(Strict):
    """The recipe; findings of one question each are in `experiments/`."""

    samples: Count = 2_500_000  # customer-days
    rewards: Literal["expected", "sampled"] = "expected"
    shaping: Literal["relaxed", "relaxed_all", "none"] = "relaxed"
    customers: Count = 512
    steps: Count = 32  # days between updates
    batch: Count = 1024
    epochs: Count = 4
    learning_rate: Positive = 3e-3  # falls linearly to 0
    entropy: Annotated[float, Field(ge=0.0)] = 0.1  # falls with the square of the time left …
    entropy_until: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7  # … to 0 at this share of the run
    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    clip: Positive = 0.2
    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    horizon: Positive = 2.0  # days to a cut, in units of 1 / (1 − γ); bootstrapped, not an end
    return_size: Positive = 2.0  # rewards are scaled so that returns are about this large
    judged_every: Count = 16  # updates between points of the learning curve

    def entropy_at(self, share: float) -> float:
        """The bonus after this share of the run.

        Near-ties between a contact and wait are decided late, when the other states' choices
        have settled; a bonus that is small from the start closes them too early.
        """
        return self.entropy * max(1.0 - share / self.entropy_until, 0.0) ** 2


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Simulate, update, repeat."""
    single_threaded()
    model = agent(problem, settings)
    watcher = Watcher(problem, settings, report)
    saved = report.saved()
    if saved is not None:
        restore(model, watcher, saved)
    model.learn(settings.samples - model.num_timesteps, watcher, reset_num_timesteps=saved is None)
    beside = {}
    phi = shaping_potential(problem, settings)
    if phi is not None:
        beside["potential_greedy"] = greedy_policy(problem.kernel, problem.weights, phi)
    return Learned(served_network(problem, model, settings), int(model.num_timesteps), beside)


def agent(problem: Problem, settings: Settings) -> CutPPO:
    """The learner before its first day."""
    journey = problem.journey
    env = training_env(problem, settings)
    return agent_in(env, settings, journey.encoding.sizes, journey.scenario.discount, problem.seed)


def training_env(problem: Problem, settings: Settings) -> TrainEnv:
    """The cluster's customers, paid and scaled as these settings say."""
    days = max(round(settings.horizon / (1.0 - problem.journey.scenario.discount)), 2)
    env = TrainEnv(problem.journey, reward_model(problem, settings), settings.customers, days, problem.seed)
    env.calibrate(settings.return_size, days, problem.seed)
    return env


def agent_in(env: VecEnv, settings: Settings, sizes: Sequence[int], discount: float, seed: int) -> CutPPO:
    """The learner before its first day in `env`, whose observation has these sizes."""
    model = CutPPO(
        MaskedPolicy,
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


def shaping_potential(problem: Problem, settings: Settings) -> Any:
    """(M, S) φ, or None."""
    if settings.shaping == "none":
        return None
    every = settings.shaping == "relaxed_all"
    return potential(problem.kernel, problem.weights, problem.service_only, every)


class OneHotFeatures(BaseFeaturesExtractor):
    """The network's fixed first layer."""

    def __init__(self, observation_space: Any, sizes: Sequence[int]) -> None:
        layer = OneHot(sizes)
        super().__init__(observation_space, layer.width)
        self.layer = layer

    def forward(self, observations: Tensor) -> Tensor:
        """(N, F) → (N, D)."""
        out: Tensor = self.layer(observations)
        return out


class MaskedPolicy(MaskableActorCriticPolicy):
    """The library's policy with one masked log-softmax where its distribution takes five."""

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (N,), values (N, 1) and log-probabilities (N,)."""
        features = self._features(obs)
        logs = self._logs(features, action_masks)
        if deterministic:
            actions = logs.argmax(dim=1)
        else:  # the largest of p / Exp(1) is a draw from p
            actions = (logs.exp() / torch.empty_like(logs).exponential_()).argmax(dim=1)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        return actions, values, logs.gather(1, actions[:, None]).squeeze(1)

    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (N, 1), log-probabilities (N,) of `actions`, and entropies (N,)."""
        features = self._features(obs)
        logs = self._logs(features, action_masks)
        values = self.value_net(self.mlp_extractor.forward_critic(features))
        entropy = -(logs.exp() * logs).sum(dim=1)
        return values, logs.gather(1, actions[:, None]).squeeze(1), entropy

    def _features(self, obs: Tensor) -> Tensor:
        return cast(Tensor, self.extract_features(obs))  # one extractor for both trunks

    def _logs(self, features: Tensor, masks: Any) -> Tensor:
        logits = self.action_net(self.mlp_extractor.forward_actor(features))
        if masks is not None:
            logits = logits.masked_fill(torch.as_tensor(masks) < 0.5, _ILLEGAL)
        return torch.log_softmax(logits, dim=1)


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
            masks = env.action_masks()
            with torch.no_grad():
                observation = torch.from_numpy(self._last_obs)
                actions, values, logs = self.policy(observation, action_masks=masks)
            chosen = actions.numpy()
            following, rewards, dones, infos = env.step(chosen)
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            self._bootstrap(rewards, infos)
            rollout_buffer.add(
                self._last_obs, chosen.reshape(-1, 1), rewards, self._last_episode_starts, values, logs,
                action_masks=masks,
            )  # fmt: skip
            self._last_obs, self._last_episode_starts = following, dones
        with torch.no_grad():
            values = self.policy.predict_values(torch.from_numpy(self._last_obs))
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=dones)
        callback.on_rollout_end()
        return True

    def _bootstrap(self, rewards: Any, infos: list[dict[str, Any]]) -> None:
        """Add γV(x') in place where an episode was cut, not ended."""
        cut = [i for i, info in enumerate(infos) if info]
        if cut:
            last = np.stack([infos[i]["terminal_observation"] for i in cut])
            with torch.no_grad():
                values = self.policy.predict_values(torch.from_numpy(last))
            rewards[cut] += self.gamma * values.numpy().ravel()


class Watcher(BaseCallback):
    """Lowers the entropy bonus, and reports the exact score as it grows."""

    def __init__(self, problem: Problem, settings: Settings, report: Report) -> None:
        super().__init__()
        self._problem, self._settings, self._report = problem, settings, report
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
            value = network_value(self._problem, self.network(model))
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


def network_value(problem: Problem, network: PolicyNetwork) -> float:
    """Exact value from d0 of a network's greedy policy."""
    from training.judge import value_of

    with torch.no_grad():
        logits = network.logits(torch.from_numpy(problem.observations)).numpy()
    greedy = np.where(problem.legal, logits, -np.inf).argmax(axis=1).astype(np.int8)
    return value_of(problem, greedy.reshape(problem.blocks, -1))
