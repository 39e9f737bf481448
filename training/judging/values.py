"""The value trunk of a served network, fitted to the exact Q of its own greedy policy.

Learned policies are judged first; their values are then known exactly and only have to be
compressed into the network. The largest error goes into the manifest.
"""

from __future__ import annotations

import numpy as np
import torch

from envs.arrays import Floats, Ints
from training.network import PolicyNetwork
from training.threads import single_threaded

STEPS, BATCH, LEARNING_RATE = 1500, 1024, 4e-3
GAP_WEIGHT = 10.0


@single_threaded()
def fit_values(network: PolicyNetwork, observations: Floats, q: Floats, greedy: Ints, seed: int) -> None:
    """Fit `network.values` in place to `q` (N, A), −inf where illegal; `greedy` (N,) actions.

    A state's value and the actions' gaps are outputs of their own, each on its own scale: the
    gaps decide what exploration may choose, and are small beside the value.
    """
    legal = np.isfinite(q)
    value = q[np.arange(len(q)), greedy]
    gaps = np.where(legal, value[:, None] - np.where(legal, q, 0.0), 0.0)
    scale = max(float(value.std()), 1e-9)
    network.offset.fill_(float(value.mean()))
    network.scale.fill_(scale)
    # small gaps decide what exploration may choose: errors count relative to the gap
    near = 0.02 * scale
    weight = np.where(legal, near / (near + np.abs(gaps)), 0.0)
    x = torch.from_numpy(observations)
    v = torch.from_numpy(((value - value.mean()) / scale).astype(np.float32))
    g = torch.from_numpy((gaps / scale).astype(np.float32))
    w = torch.from_numpy((weight / weight.sum(axis=1, keepdims=True)).astype(np.float32))
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.values.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / STEPS)
    for _ in range(STEPS):
        rows = torch.from_numpy(random.integers(0, len(q), BATCH))
        raw = network.values(network.one_hot(x[rows]))
        value_loss = ((raw[:, 0] - v[rows]) ** 2).mean()
        gap_loss = (w[rows] * (raw[:, 1:] - g[rows]) ** 2).sum(dim=1).mean()
        loss = value_loss + GAP_WEIGHT * gap_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
