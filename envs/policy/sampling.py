"""The sampler that is really used: exploration among near-optimal legal actions, and its propensity.

One implementation for simulate, judge and service; the propensity logged is this one's.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats, Mask


def serving_probabilities(
    probabilities: Floats, values: Floats, legal: Mask, exploration: float, max_regret: float
) -> Floats:
    """(N, A) probabilities of the sampler that is really used; each row sums to 1.

    Greedy with 1 − `exploration`; the rest spread evenly over the legal actions (the greedy
    one among them) whose value is less than `max_regret` below the greedy action's.
    """
    legal = np.asarray(legal, dtype=bool)
    rows = np.arange(len(legal))
    greedy = np.argmax(np.where(legal, probabilities, -1.0), axis=1)
    near = legal & (values > values[rows, greedy][:, None] - max_regret)
    near[rows, greedy] = True
    out = exploration * near / near.sum(axis=1, keepdims=True)
    out[rows, greedy] += 1.0 - exploration
    return out


def sample(probabilities: Floats, u: float) -> tuple[int, float]:
    """(action, propensity) for a uniform number u in [0, 1); never an action of probability 0."""
    cumulative = np.cumsum(probabilities)
    action = int(np.searchsorted(cumulative, u * cumulative[-1], side="right"))
    if action >= len(cumulative) or probabilities[action] <= 0.0:
        action = int(np.flatnonzero(np.asarray(probabilities) > 0.0)[-1])
    return action, float(probabilities[action])
