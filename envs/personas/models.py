"""Planning for a cluster of hidden types: what each persona's model says, and two simple planners.

The belief's model is exact: given the history, the expected reward is Σ_p b_p R_p(x, a). Two
planners that need no search: the *mean model* plans on share-weighted chances and ignores
what is learnt; *QMDP* (Littman, Cassandra and Kaelbling, 1995) weighs each persona's exact
action values by the belief, as if the type were told tomorrow, so it never acts in order to
learn. Σ_p b_p V_p bounds every policy from above: nobody does worse for being told.

P personas, M consent patterns, S kernel states, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.journey.journey import Journey, mean_journey
from envs.scenario.schema import COMPONENT
from envs.solve.baselines import service_only
from envs.solve.evaluation import policy_values
from envs.solve.kernel import Kernel, build_kernel, start_distribution
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import discount_of, gain_of, q_values


@dataclass(frozen=True)
class Hidden:
    """A cluster with personas under one objective; kernels share states, actions and consents."""

    journey: Journey
    weights: Floats  # (R,)

    @property
    def count(self) -> int:
        """P."""
        return len(self.journey.personas)

    @property
    def discount(self) -> float:
        """A day."""
        return discount_of(self.kernels[0], None)

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """(P,) one exact model a persona."""
        return tuple(build_kernel(self.journey, p) for p in range(self.count))

    @cached_property
    def solutions(self) -> tuple[Solution, ...]:
        """(P,) the optimum for a persona that is known."""
        # no short cut: the rewards that records were learned from depend on the last bit
        return tuple(solve(kernel, self.weights, early=0.0) for kernel in self.kernels)

    @cached_property
    def values(self) -> Floats:
        """(P, M, S) V_p."""
        return np.stack([solution.values for solution in self.solutions])

    @cached_property
    def q(self) -> Floats:
        """(P, M, S, A) Q_p; −inf where illegal."""
        return np.stack([self.q_of(p, self.values[p]) for p in range(self.count)])

    def q_of(self, persona: int, values: Floats) -> Floats:
        """(M, S, A) Q under one persona of values (M, S)."""
        kernel = self.kernels[persona]
        return np.stack([q_values(kernel, values, self.weights, m) for m in range(len(values))])

    @cached_property
    def regret(self) -> Floats:
        """(P, M, S, A) V_p − Q_p ≥ 0: what an action costs a known persona; 0 where illegal."""
        return np.where(np.isneginf(self.q), 0.0, self.values[..., None] - self.q)

    @cached_property
    def mean_kernel(self) -> Kernel:
        """The share-weighted model."""
        return build_kernel(mean_journey(self.journey))

    @cached_property
    def mean_policy(self) -> Ints:
        """(M, S) int8 the plan of the share-weighted model."""
        return solve(self.mean_kernel, self.weights).actions

    @cached_property
    def mean_values(self) -> Floats:
        """(P, M, S) what the mean model's plan is worth under each persona."""
        return self.values_of(self.mean_policy)

    @cached_property
    def mean_q(self) -> Floats:
        """(P, M, S, A) a free action today, the mean model's plan from tomorrow on; −inf where illegal."""
        return np.stack([self.q_of(p, self.mean_values[p]) for p in range(self.count)])

    @cached_property
    def service_only(self) -> Ints:
        """(M, S) J0's policy."""
        return service_only(self.kernels[0])

    def gain(self, m: int) -> Floats:
        """(P, S, A) expected reward a day, an opt-out's cost included, under pattern number `m`."""
        held = np.asarray(self.journey.rules.action_channel)
        held = (held >= 0) & (int(self.kernels[0].consents[m]) >> np.maximum(held, 0) & 1 == 1)
        cost = float(np.asarray(self.weights)[COMPONENT.opt_out])
        return np.stack(
            [gain_of(k, self.weights) - held * k.opt_out * k.opt_out_cost * cost for k in self.kernels]
        )

    def values_of(self, policy: Array) -> Floats:
        """(P, M, S) exact values under each persona of a policy (M, S) that knows no belief."""
        return np.stack([policy_values(kernel, policy, self.weights) for kernel in self.kernels])

    def from_start(self, values: Floats) -> float:
        """Value at d0 and the prior of values (P, M, S)."""
        start = start_distribution(self.kernels[0])
        return float(np.einsum("p,pms,ms->", self.journey.shares, values, start))

    def first_plans(self, grid: Floats) -> Floats:
        """(M, S, G, 2) at each belief the best of the plans that learn nothing."""
        known = [solution.actions for solution in self.solutions]
        plans = [self.values_of(policy) for policy in (*known, self.mean_policy, self.service_only)]
        stacked = np.stack(plans)  # (plans, P, M, S)
        mix = np.stack([grid, 1.0 - grid])
        best = np.einsum("npms,pg->nmsg", stacked, mix).argmax(axis=0)  # (M, S, G)
        chosen = np.take_along_axis(stacked[..., None], best[None, None], axis=0)[0]  # (P, M, S, G)
        return np.ascontiguousarray(np.moveaxis(chosen, 0, -1))
