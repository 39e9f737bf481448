"""A masked double DQN for one cluster, in the compiled simulator.

Masks stand in the argmax *and* in the target; exploration is over legal actions only. Rewards
and shaping are those of `ppo`. Cuts are bootstrapped, churn is not. The network's policy trunk is
Q itself, so its greedy action is the largest legal Q. No prioritised draws, no n-step returns.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from envs.arrays import Floats, Ints, Mask
from envs.day.masks import unpack
from envs.scenario.schema import Strict
from envs.solve.relaxation import greedy_policy
from training.learner import Learned, Point, Problem, Report
from training.learners.ppo import Settings as Recipe
from training.learners.ppo import greedy_value, reward_model, shaping_potential
from training.network import PolicyNetwork
from training.parts.ppo_state import env_state, restore_env
from training.parts.q_learning import ReplayBuffer, double_target, generator_state, set_generator
from training.parts.train_env import TrainEnv
from training.threads import single_threaded

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(Strict):
    """The recipe."""

    samples: Count = 2_000_000  # customer-days
    rewards: Literal["expected", "sampled"] = "expected"
    shaping: Literal["relaxed", "relaxed_all", "none"] = "relaxed"
    customers: Count = 1024
    updates: Count = 3  # gradient steps a day of all customers
    batch: Count = 2048
    buffer: Count = 1_000_000  # transitions kept
    learning_rate: Positive = 3e-3  # falls linearly to 0
    target_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.02  # the target network follows at this rate
    exploration: Share = 1.0  # share of random legal actions, falls linearly …
    exploration_last: Share = 0.2  # … to this …
    exploration_until: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # … at this share of the run
    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    horizon: Positive = 2.0  # days to a cut, in units of 1 / (1 − γ); bootstrapped, not an end
    return_size: Positive = 2.0  # rewards are scaled so that returns are about this large
    judged_every: Count = 100  # days between points of the learning curve

    def paid(self) -> Recipe:
        """How days are paid, in the words of `ppo`."""
        return Recipe(rewards=self.rewards, shaping=self.shaping)

    def exploration_at(self, share: float) -> float:
        """ε after this share of the run."""
        left = max(1.0 - share / self.exploration_until, 0.0)
        return self.exploration_last + (self.exploration - self.exploration_last) * left


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Act, keep, draw, update, repeat."""
    agent = Agent(problem, settings)
    saved = report.saved()
    if saved is not None:
        agent.restore(saved)
    days = -(-settings.samples // settings.customers)
    while agent.day < days:
        if agent.day % settings.judged_every == 0:
            report(agent.point(agent.day / days))
        agent.one_day(agent.day / days)
        report.offer(agent.state)
    beside = {}
    phi = shaping_potential(problem, settings.paid())
    if phi is not None:
        beside["potential_greedy"] = greedy_policy(problem.kernel, problem.weights, phi)
    return Learned(agent.online.eval(), agent.day * settings.customers, shown_beside=beside)


class Agent:
    """Everything that changes while a DQN learns."""

    def __init__(self, problem: Problem, settings: Settings) -> None:
        journey, seed = problem.journey, problem.seed
        self.problem, self.settings, self.day, self.seconds = problem, settings, 0, 0.0
        self.discount = journey.scenario.discount
        horizon = max(round(settings.horizon / (1.0 - self.discount)), 2)
        rewards = reward_model(problem, settings.paid())
        self.env = TrainEnv(journey, rewards, settings.customers, horizon, seed)
        self.env.calibrate(settings.return_size, horizon, seed)
        self.actions = len(journey.actions)
        torch.manual_seed(seed)
        self.online = PolicyNetwork(journey.encoding.sizes, self.actions, settings.hidden)
        last: Any = self.online.policy[-1]
        with torch.no_grad():  # nothing is known yet, and a shaped value is near 0
            last.weight.zero_()
            last.bias.zero_()
        self.target = copy.deepcopy(self.online.policy)
        weights = self.online.policy.parameters()
        self.optimizer = torch.optim.Adam(weights, lr=settings.learning_rate, eps=1e-5)
        self.buffer = ReplayBuffer(settings.buffer, journey.encoding.sizes, self.actions)
        self.random = np.random.default_rng(seed)

    def one_day(self, share: float) -> None:
        """A day of every customer, then the updates it pays for."""
        began = time.perf_counter()
        settings, env = self.settings, self.env
        before = env.simulator.observations.copy()
        actions = self._choose(before, unpack(env.simulator.legal, self.actions), share)
        env.step_async(actions)
        after, rewards, over, infos = env.step_wait()
        legal, after = env.simulator.legal.copy(), after.copy()
        discounts = np.full(len(actions), self.discount, dtype=np.float32)
        discounts[over] = 0.0
        for i in np.flatnonzero(over):
            if infos[i]:  # cut, not churned: what follows is worth something
                after[i], legal[i] = infos[i]["terminal_observation"], infos[i]["terminal_legal"]
                discounts[i] = self.discount
        self.buffer.add(
            x_tm1=before, a_tm1=actions, r_t=rewards, discount_t=discounts, x_t=after, legal_t=legal
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1.0 - share)
        if len(self.buffer) >= settings.batch:
            for _ in range(settings.updates):
                self._update()
        self.day += 1
        self.seconds += time.perf_counter() - began

    def _choose(self, observations: Floats, legal: Mask, share: float) -> Ints:
        """(N,) actions: the largest legal Q, or with probability ε any legal action."""
        with torch.no_grad():
            q = self.online.logits(torch.from_numpy(observations)).numpy()
        greedy = np.where(legal, q, -np.inf).argmax(axis=1)
        anything = (self.random.random(legal.shape) * legal).argmax(axis=1)
        explores = self.random.random(len(legal)) < self.settings.exploration_at(share)
        out: Ints = np.where(explores, anything, greedy)
        return out

    def _update(self) -> None:
        batch = self.buffer.draw(self.random, self.settings.batch)
        with torch.no_grad():
            ones = self.online.one_hot(batch.x_t)
            goal = double_target(
                batch.r_t, batch.discount_t, self.online.policy(ones), self.target(ones), batch.legal_t
            )
        q = self.online.logits(batch.x_tm1).gather(1, batch.a_tm1[:, None]).squeeze(1)
        loss = nn.functional.mse_loss(q, goal)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.policy.parameters(), strict=True):
                slow.lerp_(fast, self.settings.target_rate)

    def point(self, share: float) -> Point:
        """The exact value of the greedy policy now."""
        value = greedy_value(self.problem, self.online)
        return Point(share, self.day * self.settings.customers, self.seconds, {"value": value})

    def state(self) -> dict[str, object]:
        """All that a later `restore` needs to go on bit for bit."""
        return {
            "online": self.online.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "buffer": self.buffer.state(),
            "random": generator_state(self.random),
            "day": self.day,
            "seconds": self.seconds,
            **env_state(self.env),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.buffer.restore(state["buffer"])
        set_generator(self.random, state["random"])
        self.day, self.seconds = state["day"], state["seconds"]
        restore_env(self.env, state)
