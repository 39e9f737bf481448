"""What a learner believes before its first day: a policy to start from and be held near.

The greedy policy of a shaping potential is good already, and known in every state. As the prior
of a softmax policy its logits are added to the network's, which then has only the difference to
learn, and the entropy bonus becomes nearness to the prior: −KL(π ‖ prior). Leaves out how the
difference is learned. M consent patterns, S kernel states, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask
from training.learner import Problem

ILLEGAL = -1e8  # a logit: its probability is exactly 0 in float32
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def uniform_prior(legal: Mask) -> Floats:
    """Logits of the uniform policy: 0 where `legal`, else `ILLEGAL`; float32."""
    return np.where(legal, np.float32(0.0), np.float32(ILLEGAL))


def potential_prior(problem: Problem, expected: Floats, temperature: float) -> Floats:
    """(M, S, A) float32 logits of a softmax over E[r + γφ(x') − φ(x) | x, a].

    `temperature` is in units of how far the best legal action lies above the mean one, over all
    states: the same figure means the same decisiveness under any currency and horizon.
    """
    legal = problem.legal.reshape(expected.shape)
    count = np.maximum(legal.sum(axis=2), 1)
    best = np.where(legal, expected, -np.inf).max(axis=2)
    mean = np.where(legal, expected, 0.0).sum(axis=2, dtype=np.float64) / count
    unit = float((best - mean).mean())
    scale = 1.0 / (temperature * unit) if unit > 0.0 else 1.0
    return np.where(legal, (expected - best[:, :, None]) * scale, ILLEGAL).astype(np.float32)


@dataclass(frozen=True)
class Step:
    """How far to go from the prior to what was learned."""

    size: float  # 0: the prior's own greedy policy; 1: all of what was learned
    actions: Ints  # (M, S) int8
    value: float  # exact, from d0


def line_search(problem: Problem, prior: Floats, learned: Floats) -> Step:
    """The best of a few steps along `learned` (M, S, A), a correction of the prior's logits.

    What was learned is signal and noise. Where the prior is nearly optimal a shorter step is
    better, and no step is never worse than the prior; each is evaluated exactly.
    """
    steps = []
    for size in STEPS:
        actions = (prior + np.float32(size) * learned).argmax(axis=2).astype(np.int8)
        steps.append(Step(size, actions, problem.value_of(actions)))
    return max(steps, key=lambda step: step.value)
