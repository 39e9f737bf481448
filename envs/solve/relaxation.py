"""The optimum of a relaxed journey in which nobody ever withdraws a consent.

A potential for reward shaping (Ng, Harada and Russell, 1999): it depends on the state only,
so optimal policies stay what they are. It is not the scored optimum; where no consent can be
lost the relaxation would be, and the value of answering requests only takes its place.
M consent patterns, S kernel states, A actions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.arrays import Floats, Ints
from envs.solve.evaluation import policy_values
from envs.solve.kernel import Kernel
from envs.solve.solver import solve
from envs.solve.sweeps import q_values


def relaxed_kernel(kernel: Kernel) -> Kernel:
    """The same model without opt-outs."""
    return replace(kernel, opt_out=np.zeros_like(kernel.opt_out))


def potential(kernel: Kernel, weights: Floats, service_only: Ints, every_consent: bool = False) -> Floats:
    """(M, S) φ: consents stay what they are, or every customer holds all of them.

    The second is the cruder relaxation: one block to solve, and the same φ for every consent
    pattern. `service_only` (M, S) is the policy of J0, used where consent cannot be lost. What is
    learned with φ depends on its last bit, and records were: hence no short cut in solving.
    """
    relaxed = relaxed_kernel(kernel)
    if len(kernel.consents) == 1:
        return policy_values(relaxed, np.asarray(service_only), weights)
    if every_consent:
        every = np.array([int(np.bitwise_or.reduce(kernel.consents))])
        values = solve(replace(relaxed, consents=every), weights, early=0.0).values
        return np.tile(values, (len(kernel.consents), 1))
    return solve(relaxed, weights, early=0.0).values


def expected_rewards(kernel: Kernel, weights: Floats, phi: Floats) -> Floats:
    """(M, S, A) float32 E[r + γφ(x') − φ(x) | x, a], opt-outs included; 0 where illegal."""
    blocks = len(kernel.consents)
    out = np.zeros((blocks, kernel.states, kernel.actions), dtype=np.float32)
    for m in range(blocks):
        ahead = q_values(kernel, phi, weights, m) - phi[m][:, None]
        with np.errstate(over="ignore"):  # an overflow is the learner's to report, with its customer
            out[m] = np.where(np.isneginf(ahead), 0.0, ahead)
    return out


def greedy_policy(kernel: Kernel, weights: Floats, phi: Floats) -> Ints:
    """(M, S) int8: one step of the true model, then φ — what needs no learning at all."""
    blocks = range(len(kernel.consents))
    return np.array([q_values(kernel, phi, weights, m).argmax(axis=1) for m in blocks], dtype=np.int8)
