"""The exact model, and what anything is worth in it.

`kernel` enumerates a cluster's transitions; `solver` finds the optimum, `evaluation` the exact value,
occupancy and components of any policy; `references` and `baselines` say what to compare with;
`paths` tells the optimum as a journey; `relaxation` and `uncapped` solve easier problems that bound
it. Clusters of hidden types have no exact model: see `personas`.
"""

from __future__ import annotations

from envs.solve.evaluation import PolicyValue, evaluate_policy, policy_values
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.solver import Solution, solve

__all__ = [
    "Kernel",
    "PolicyValue",
    "References",
    "Solution",
    "build_kernel",
    "evaluate_policy",
    "policy_values",
    "references",
    "solve",
]
