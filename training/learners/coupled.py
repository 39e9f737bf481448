"""Policy iteration on sampled days and rewards alone, smoothed by networks.

The simulator lives hundreds of millions of days in minutes; what they did is counted. What an
action earns is smoothed by a network over the states, a policy is evaluated on the counted
transitions, and the served network smooths which action is better: noise of single states is
pooled wherever it could decide. The next days are lived under the policy found. Nothing of the
solver, of expected rewards or of a potential is used; how a day is sampled stands in
`coupled_sampling.py`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from envs.scenario import Strict
from training.coupled_sampling import CoupledSampler
from training.empirical import Empirical, empirical
from training.judge import value_of
from training.learner import Learned, Point, Problem, Report
from training.network import PolicyNetwork, single_threaded
from training.smoothing import smooth, smooth_rewards

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Widths = list[Annotated[int, Field(ge=4, le=1024)]]


class Stage(Strict):
    """Days lived under one policy, and what is made of all days so far."""

    days: Count  # sampled, every legal action of a visited state counted
    explore: Share  # of decisions, any legal action
    improvements: Count  # of the policy


class Settings(Strict):
    """The recipe."""

    stages: Annotated[list[Stage], Field(min_length=1)] = [
        Stage(days=80_000_000, explore=0.5, improvements=3),
        Stage(days=320_000_000, explore=0.3, improvements=4),
        Stage(days=900_000_000, explore=0.3, improvements=10),
    ]
    customers: Annotated[int, Field(ge=2)] = 4096
    horizon: Annotated[float, Field(gt=0.0)] = 1.3  # days to a new customer, in units of 1 / (1 − γ)
    reward_hidden: Widths = [64, 64]
    reward_steps: Count = 3000  # of smoothing what actions earn
    reward_rate: Annotated[float, Field(gt=0.0)] = 1e-2  # falls linearly to 0
    averaged: Count = 3  # of a stage's newest Q-values: one policy's luck is not another's
    hidden: Widths = [32, 32]
    steps: Count = 2000  # of smoothing which action is better
    batch: Annotated[int, Field(ge=32)] = 1024
    learning_rate: Annotated[float, Field(gt=0.0)] = 4e-3  # falls linearly to 0
    near: Annotated[float, Field(gt=0.0)] = 0.02  # gaps below this share of the usual one decide


class _Run:
    """Where learning stands."""

    def __init__(self, problem: Problem, settings: Settings, report: Report) -> None:
        journey = problem.journey
        days = max(round(settings.horizon / (1.0 - journey.scenario.discount)), 2)
        self.problem, self.settings, self.report = problem, settings, report
        self.sampler = CoupledSampler(
            journey, problem.weights, problem.kernel.states, settings.customers, days, problem.seed
        )
        self.stage = 0
        self.improved = 0  # how often, in this stage
        self.actions = problem.service_only.ravel()  # (M·S,) the first days' policy is a rule
        self.newest: list[Any] = []  # Q-values (U, A) of this stage's last policies
        self.began = time.perf_counter()
        saved = report.saved()
        if saved is not None:
            self.stage, self.actions, self.newest = saved["stage"], saved["actions"], saved["newest"]
            self.improved = saved["improved"]
            self.sampler.restore(saved["sampler"])

    def state(self) -> dict[str, Any]:
        kept = {"stage": self.stage, "actions": self.actions, "newest": self.newest}
        return kept | {"improved": self.improved, "sampler": self.sampler.state()}

    def live(self) -> None:
        """The stage's days, under the policy so far."""
        chosen, explore = self._everywhere(self.actions), self.settings.stages[self.stage].explore
        until = sum(stage.days for stage in self.settings.stages[: self.stage + 1])
        while self.sampler.tried < until:
            self.report.offer(self.state)
            self.sampler.live(chosen, explore)

    def improve(self) -> PolicyNetwork:
        """The policy that all days so far suggest."""
        model, at = self._counted()
        problem, settings = self.problem, self.settings
        observations, legal = problem.observations[at], problem.legal[at]
        rewards = smooth_rewards(
            problem.journey.encoding.sizes, observations, model.rewards, legal, model.visits,
            hidden=settings.reward_hidden, steps=settings.reward_steps, batch=settings.batch,
            learning_rate=settings.reward_rate, seed=problem.seed,
        )  # fmt: skip
        while self.improved < settings.stages[self.stage].improvements:
            self.report.offer(self.state)
            q = rewards + model.backup(model.evaluate(self.actions[at], rewards))
            self.newest = [*self.newest, q][-settings.averaged :]
            network = self._smoothed(np.mean(self.newest, axis=0), observations, legal, model.visits)
            self.actions = greedy(problem, network)
            self.improved += 1
            self._tell()
        self.stage, self.improved, self.newest = self.stage + 1, 0, []
        return network

    def _smoothed(self, q: Any, observations: Any, legal: Any, visits: Any) -> PolicyNetwork:
        problem, settings = self.problem, self.settings
        torch.manual_seed(problem.seed)
        network = PolicyNetwork(problem.journey.encoding.sizes, len(problem.journey.actions), settings.hidden)
        smooth(
            network, observations, q, legal, visits, steps=settings.steps, batch=settings.batch,
            learning_rate=settings.learning_rate, near=settings.near, seed=problem.seed,
        )  # fmt: skip
        return network

    def _everywhere(self, actions: Any) -> Any:
        """(C·S,) int8 from (M·S,): the kernel knows only the consents that can be reached."""
        problem = self.problem
        out = np.zeros((self.sampler.patterns, problem.kernel.states), dtype=np.int8)
        out[problem.kernel.consents] = actions.reshape(problem.blocks, -1)
        return out.ravel()

    def _counted(self) -> tuple[Empirical, Any]:
        """The counts, and their rows among the problem's states."""
        problem = self.problem
        model = empirical(self.sampler.counted(), problem.journey.scenario.discount)
        consent, state = np.divmod(model.rows, problem.kernel.states)
        block = np.zeros(self.sampler.patterns, dtype=np.int64)
        block[problem.kernel.consents] = np.arange(problem.blocks)
        return model, block[consent] * problem.kernel.states + state

    def _tell(self) -> None:
        share = min(self.sampler.tried / sum(stage.days for stage in self.settings.stages), 1.0)
        policy = self.actions.reshape(self.problem.blocks, -1)
        metrics = {"value": value_of(self.problem, policy)}
        seconds = time.perf_counter() - self.began
        self.report(Point(share, self.sampler.tried, seconds, metrics))


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Live, count, improve; stage by stage."""
    run = _Run(problem, settings, report)
    while run.stage < len(settings.stages):
        run.live()
        network = run.improve()
    return Learned(network, run.sampler.tried)


def greedy(problem: Problem, network: PolicyNetwork) -> Any:
    """(M·S,) int8."""
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(problem.observations)).numpy()
    return np.where(problem.legal, logits, -np.inf).argmax(axis=1).astype(np.int8)
