"""A served network fitted to noisy Q-values: neighbouring states share what they have seen.

A table's cell is known as well as it was visited; the network pools cells. Only differences
between the actions of a state are fitted, small ones most exactly: they decide.
N states, A actions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from training.network import PolicyNetwork


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
    random, cumulative = np.random.default_rng(seed), np.cumsum(share)
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / steps)
    for _ in range(steps):
        drawn = np.searchsorted(cumulative, random.random(batch) * cumulative[-1])
        rows = torch.from_numpy(np.minimum(drawn, len(share) - 1))
        error = network.logits(seen[rows]) - advantage[rows]
        # a constant added to all actions of a state changes nothing
        error = error - (counts[rows] * error).sum(dim=1, keepdim=True)
        loss = (counts[rows] * error**2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
