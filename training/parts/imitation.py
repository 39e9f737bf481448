"""A set of good actions taught to the served network.

Cross-entropy on the set, a share of each batch uniform over all states, the rest drawn by the cube
root of how often they are visited: what a network loses it loses in the thousands of states that
are visited now and then, and drawn as they are visited most of them would never be seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from envs.arrays import Floats, Mask
from envs.scenario.schema import Strict
from training.learner import Point
from training.network import PolicyNetwork

ILLEGAL = -60.0  # a logit: nothing beside a legal one, and not so low that its exp takes the slow way


class Imitation(Strict):
    """How long and how wide."""

    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    steps: Annotated[int, Field(ge=1)] = 600
    batch: Annotated[int, Field(ge=32)] = 512
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-2  # falls linearly to 0
    everywhere: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2  # share of a batch drawn from all states alike
    visits_power: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3  # the rest, by visits to this power
    tie: Annotated[float, Field(ge=0.0)] = 1e-6  # gaps below this share of |V*| are no loss


def imitate(
    network: PolicyNetwork, observations: Floats, legal: Mask, good: Mask, visited: Floats,
    settings: Imitation, seed: int, tell: Callable[[Point], None] = lambda point: None,
) -> None:  # fmt: skip
    """Raise the probability of the `good` actions (N, A) in place; states (N, F), visited (N,)."""
    random, states = np.random.default_rng(seed), len(observations)
    cumulative = np.cumsum(visited**settings.visits_power)
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / settings.steps)
    elsewhere, began = round(settings.everywhere * settings.batch), time.perf_counter()
    for step in range(settings.steps):
        uniform = random.integers(0, states, elsewhere)
        drawn = np.searchsorted(cumulative, random.random(settings.batch - elsewhere) * cumulative[-1])
        rows = np.concatenate([uniform, np.minimum(drawn, states - 1)])
        loss = _loss(
            network.logits(torch.from_numpy(observations[rows])),
            torch.from_numpy(legal[rows]),
            torch.from_numpy(good[rows]),
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step + 1 == settings.steps:
            done, seconds = step + 1, time.perf_counter() - began
            metrics = {"loss": float(loss.detach())}
            tell(Point(done / settings.steps, done * settings.batch, seconds, metrics))


def _loss(logits: Tensor, legal: Tensor, good: Tensor) -> Tensor:
    """−log of the probability given to the optimal set, among legal actions."""
    floor = torch.tensor(ILLEGAL)
    every = torch.logsumexp(torch.where(legal, logits, floor), dim=1)
    best = torch.logsumexp(torch.where(good, logits, floor), dim=1)
    return (every - best).mean()
