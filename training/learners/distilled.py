"""The planner's optimum distilled into the served network.

Cross-entropy on the set of optimal actions, a tenth of each batch uniform over all states, the
rest drawn as the optimum visits them. Where the model is exactly solvable this is the strongest
network there is; learning from interaction is the check on it.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from envs.scenario import Strict
from envs.solver import evaluate_policy, q_values
from training.learner import Learned, Point, Problem, Report
from training.network import PolicyNetwork, single_threaded


class Settings(Strict):
    """How long and how wide."""

    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    steps: Annotated[int, Field(ge=1)] = 1500
    batch: Annotated[int, Field(ge=32)] = 512
    learning_rate: Annotated[float, Field(gt=0.0)] = 8e-3  # falls linearly to 0
    everywhere: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1  # share of a batch drawn from all states alike
    tie: Annotated[float, Field(ge=0.0)] = 1e-6  # gaps below this share of |V*| are no loss


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Solve, then imitate."""
    return Learned(taught(problem, settings, report), samples=settings.steps * settings.batch)


@single_threaded()
def taught(problem: Problem, settings: Settings, report: Report) -> PolicyNetwork:
    """The network with the planner's policy in its policy trunk."""
    torch.manual_seed(problem.seed)
    network = PolicyNetwork(problem.journey.encoding.sizes, len(problem.journey.actions), settings.hidden)
    good, visits = targets(problem, settings.tie)
    imitate(network, problem, good, visits, settings, report)
    return network


def targets(problem: Problem, tie: float) -> tuple[Any, Any]:
    """(M·S, A) bool optimal actions, and (M·S,) how often the optimum is in a state."""
    solution = problem.solution
    tolerance = tie * float(np.abs(solution.values).max())
    blocks = []
    for m in range(problem.blocks):
        q = q_values(problem.kernel, solution.values, problem.weights, m)
        blocks.append(q >= q.max(axis=1, keepdims=True) - tolerance)
    visits = evaluate_policy(problem.kernel, solution.actions, problem.weights).occupancy.ravel()
    return np.concatenate(blocks), visits / visits.sum()


def imitate(
    network: PolicyNetwork, problem: Problem, good: Any, visits: Any, settings: Settings, report: Report
) -> None:
    """Raise the probability of the optimal set in place."""
    random = np.random.default_rng(problem.seed)
    cumulative = np.cumsum(visits)
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / settings.steps)
    elsewhere, began = round(settings.everywhere * settings.batch), time.perf_counter()
    for step in range(settings.steps):
        uniform = random.integers(0, problem.states, elsewhere)
        visited = np.searchsorted(cumulative, random.random(settings.batch - elsewhere) * cumulative[-1])
        rows = np.concatenate([uniform, np.minimum(visited, problem.states - 1)])
        loss = _loss(
            network.logits(torch.from_numpy(problem.observations[rows])),
            torch.from_numpy(problem.legal[rows]),
            torch.from_numpy(good[rows]),
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step + 1 == settings.steps:
            done, seconds = step + 1, time.perf_counter() - began
            metrics = {"loss": float(loss.detach())}
            report(Point(done / settings.steps, done * settings.batch, seconds, metrics))


def _loss(logits: Tensor, legal: Tensor, good: Tensor) -> Tensor:
    """−log of the probability given to the optimal set, among legal actions."""
    floor = torch.tensor(-1e9)
    every = torch.logsumexp(torch.where(legal, logits, floor), dim=1)
    best = torch.logsumexp(torch.where(good, logits, floor), dim=1)
    return (every - best).mean()
