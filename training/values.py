"""The value trunk of a served network, fitted to the exact Q of its own greedy policy.

Learned policies are judged first; their values are then known exactly and only have to be
compressed into the network. The largest error goes into the manifest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from training.network import PolicyNetwork

STEPS, BATCH, LEARNING_RATE = 900, 1024, 5e-3


def fit_values(network: PolicyNetwork, observations: Any, q: Any, greedy: Any, seed: int) -> None:
    """Fit `network.values` in place to `q` (N, A), −inf where illegal; `greedy` (N,) actions.

    A state's value and the actions' gaps are outputs of their own, each on its own scale: the
    gaps decide what exploration may choose, and are small beside the value.
    """
    legal = np.isfinite(q)
    value = q[np.arange(len(q)), greedy]
    gaps = np.where(legal, value[:, None] - np.where(legal, q, 0.0), 0.0)
    scales = (max(float(value.std()), 1e-9), max(float(gaps[legal].std()), 1e-9))
    network.offset.fill_(float(value.mean()))
    network.scale.copy_(torch.tensor(scales))
    targets = np.concatenate([(value[:, None] - value.mean()) / scales[0], gaps / scales[1]], axis=1)
    mask = np.concatenate([np.ones((len(q), 1), dtype=bool), legal], axis=1)
    x, y = torch.from_numpy(observations), torch.from_numpy(targets.astype(np.float32))
    counts = torch.from_numpy(mask.astype(np.float32))
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.values.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / STEPS)
    for _ in range(STEPS):
        rows = torch.from_numpy(random.integers(0, len(q), BATCH))
        raw = network.values(network.one_hot(x[rows]))
        loss = (counts[rows] * (raw - y[rows]) ** 2).sum() / counts[rows].sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
