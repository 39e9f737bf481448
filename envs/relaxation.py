"""The optimum of a relaxed journey: nobody ever withdraws a consent.

A potential for reward shaping (Ng, Harada and Russell, 1999): it depends on the state only,
so optimal policies stay what they are. It is not the scored optimum; where no consent can be
lost the relaxation would be, and the value of answering requests only takes its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from envs.kernel import Kernel
from envs.solver import policy_values, q_values, solve


def relaxed_kernel(kernel: Kernel) -> Kernel:
    """The same model with every consent the cluster knows, and none ever lost."""
    every = int(np.bitwise_or.reduce(kernel.consents))
    return replace(
        kernel, opt_out=np.zeros_like(kernel.opt_out), consents=np.array([every], dtype=np.int64)
    )


def potential(kernel: Kernel, weights: Any, service_only: Any) -> Any:
    """(S,) φ; `service_only` (M, S) is the policy of J0, used where consent cannot be lost."""
    relaxed = relaxed_kernel(kernel)
    if len(kernel.consents) > 1:
        return solve(relaxed, weights).values[0]
    return policy_values(relaxed, np.asarray(service_only)[-1:], weights)[0]


def shaped_rewards(kernel: Kernel, weights: Any, phi: Any) -> Any:
    """(S, A) E[r + γφ(x') − φ(x) | x, a] before the cost of an opt-out; 0 where illegal.

    φ does not depend on consent, so neither does its expectation.
    """
    ahead = q_values(relaxed_kernel(kernel), phi[None], weights, 0)
    return np.where(np.isfinite(ahead), ahead - phi[:, None], 0.0)


def opt_out_costs(kernel: Kernel, weights: Any) -> Any:
    """(S, A) expected cost of an opt-out, paid where the channel's consent is held."""
    return kernel.opt_out * kernel.opt_out_cost * float(np.asarray(weights)[7])


def greedy_policy(kernel: Kernel, weights: Any, phi: Any) -> Any:
    """(M, S) int8: one step of the true model, then φ — what needs no learning at all."""
    ahead = np.tile(phi, (len(kernel.consents), 1))
    blocks = [q_values(kernel, ahead, weights, m).argmax(axis=1) for m in range(len(ahead))]
    return np.array(blocks, dtype=np.int8)
