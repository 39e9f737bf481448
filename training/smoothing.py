"""Networks fitted to noisy tables: neighbouring states share what they have seen.

A table's cell is known as well as it was visited; a network pools cells. Of Q-values only the
differences between the actions of a state are fitted, small ones most exactly: they decide. Of
rewards the level counts too. N states, A actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from training.network import OneHot, PolicyNetwork, trunk

_DECAY = 0.01  # of the weights: an action is worth about the same in most states


def smooth(
    network: PolicyNetwork,
    observations: Any,
    q: Any,
    legal: Any,
    visits: Any,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    near: float,
    seed: int,
) -> None:
    """Fit `network.policy` in place to Q (N, A) where `legal`, states weighted by `visits` (N,).

    Logits are advantages in units of the mean gap between a state's best and worst action. An
    error counts near / (near + gap): full where an action is almost the best.
    """
    legal_count = legal.sum(axis=1, keepdims=True)
    best = np.where(legal, q, -np.inf).max(axis=1, keepdims=True)
    gap = np.where(legal, best - q, 0.0)
    share = visits / visits.sum()
    unit = max(float((gap.max(axis=1) * share).sum()), 1e-12)
    mean = np.where(legal, q, 0.0).sum(axis=1, keepdims=True) / legal_count
    advantage = torch.from_numpy((np.where(legal, q - mean, 0.0) / unit).astype(np.float32))
    weight = np.where(legal, near / (near + gap / unit), 0.0)
    counts = torch.from_numpy((weight / weight.sum(axis=1, keepdims=True)).astype(np.float32))
    seen = torch.from_numpy(observations)
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    for rows in _batches(share, steps, batch, seed):
        error = network.logits(seen[rows]) - advantage[rows]
        # a constant added to all actions of a state changes nothing
        error = error - (counts[rows] * error).sum(dim=1, keepdim=True)
        loss = (counts[rows] * error**2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def smooth_rewards(
    sizes: Sequence[int],
    observations: Any,
    mean: Any,
    legal: Any,
    visits: Any,
    *,
    hidden: Sequence[int],
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> Any:
    """(N, A) float64: what actions earn, from their `mean` over so many `visits` (N,) of a state.

    One trunk for what a state earns whatever is done, one for what each action adds. States are
    drawn by the root of their visits and weighted back, so that rare ones are not left to chance.
    Smooth units: between states that were seldom visited, kinks follow the noise.
    """
    torch.manual_seed(seed)
    one_hot = OneHot(sizes)
    seen = one_hot(torch.from_numpy(observations))
    level, added = (trunk(one_hot.width, hidden, out, nn.Tanh) for out in (1, mean.shape[1]))
    weight = visits[:, None] * legal
    centre = float((weight * mean).sum() / weight.sum())
    scale = max(float(np.sqrt((weight * (mean - centre) ** 2).sum() / weight.sum())), 1e-12)
    goal = torch.from_numpy((np.where(legal, mean - centre, 0.0) / scale).astype(np.float32))
    odds = np.sqrt(weight.sum(axis=1))
    odds = odds / odds.sum()
    weight = weight / odds[:, None]
    counts = torch.from_numpy((weight / (odds[:, None] * weight).sum()).astype(np.float32))
    parameters = [*level.parameters(), *added.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    for rows in _batches(odds, steps, batch, seed):
        error = level(seen[rows]) + added(seen[rows]) - goal[rows]
        loss = (counts[rows] * error**2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        smoothed = (level(seen) + added(seen)).numpy().astype(np.float64)
    return np.where(legal, centre + scale * smoothed, 0.0)


def _batches(odds: Any, steps: int, batch: int, seed: int) -> Iterator[torch.Tensor]:
    """Row numbers (batch,), drawn with these odds (N,)."""
    random, cumulative = np.random.default_rng(seed), np.cumsum(odds)
    for _ in range(steps):
        drawn = np.searchsorted(cumulative, random.random(batch) * cumulative[-1])
        yield torch.from_numpy(np.minimum(drawn, len(odds) - 1))
