"""The planner's optimum distilled into the served network.

Cross-entropy on the set of optimal actions, a share of each batch uniform over all states, the
rest drawn by the cube root of how often the optimum visits them: what a network loses it loses in
the thousands of states that are visited now and then, and drawn as they are visited most of them
would never be seen. Where the model is exactly solvable this is the strongest network there
is; learning from interaction is the check on it.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from envs.occupancy import occupancy
from envs.scenario import Strict
from envs.solver import q_values
from training.learner import Learned, Point, Problem, Report
from training.network import PolicyNetwork, single_threaded

ROUGHLY = 1e-6  # accuracy of the visits, relative to the start's
ILLEGAL = -60.0  # a logit: nothing beside a legal one, and not so low that its exp takes the slow way


class Settings(Strict):
    """How long and how wide."""

    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    steps: Annotated[int, Field(ge=1)] = 600
    batch: Annotated[int, Field(ge=32)] = 512
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-2  # falls linearly to 0
    everywhere: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2  # share of a batch drawn from all states alike
    visits_power: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3  # the rest, by visits to this power
    tie: Annotated[float, Field(ge=0.0)] = 1e-6  # gaps below this share of |V*| are no loss


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Solve, then imitate."""
    return Learned(taught(problem, settings, report), samples=settings.steps * settings.batch)


@single_threaded()
def taught(problem: Problem, settings: Settings, report: Report) -> PolicyNetwork:
    """The network with the planner's policy in its policy trunk."""
    torch.manual_seed(problem.seed)
    network = PolicyNetwork(problem.journey.encoding.sizes, len(problem.journey.actions), settings.hidden)
    imitate(network, problem, good_actions(problem, settings.tie), visits(problem), settings, report)
    return network


def good_actions(problem: Problem, tie: float) -> Any:
    """(M·S, A) booleans: the optimal actions."""
    solution = problem.solution
    tolerance = tie * float(np.abs(solution.values).max())
    blocks = []
    for m in range(problem.blocks):
        q = q_values(problem.kernel, solution.values, problem.weights, m)
        blocks.append(q >= q.max(axis=1, keepdims=True) - tolerance)
    return np.concatenate(blocks)


def visits(problem: Problem) -> Any:
    """(M·S,) how often the optimum is in a state, near enough to sample by."""
    found = occupancy(problem.kernel, problem.solution.actions, tolerance=ROUGHLY)
    return found.ravel().clip(min=0.0)


def imitate(
    network: PolicyNetwork, problem: Problem, good: Any, visited: Any, settings: Settings, report: Report
) -> None:
    """Raise the probability of the optimal set in place."""
    random = np.random.default_rng(problem.seed)
    cumulative = np.cumsum(visited**settings.visits_power)
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / settings.steps)
    elsewhere, began = round(settings.everywhere * settings.batch), time.perf_counter()
    for step in range(settings.steps):
        uniform = random.integers(0, problem.states, elsewhere)
        drawn = np.searchsorted(cumulative, random.random(settings.batch - elsewhere) * cumulative[-1])
        rows = np.concatenate([uniform, np.minimum(drawn, problem.states - 1)])
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
    floor = torch.tensor(ILLEGAL)
    every = torch.logsumexp(torch.where(legal, logits, floor), dim=1)
    best = torch.logsumexp(torch.where(good, logits, floor), dim=1)
    return (every - best).mean()
