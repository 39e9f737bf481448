"""What contact caps cost: the optimum without them, and its policy made to obey them.

Without its caps a journey is the same but for one component of the state, so the uncapped
optimum bounds the capped one from above in every state. Its policy, held back by the masks
where a cap bites, is what planning without the caps in the state comes to. Hidden types are
not told apart. M consent patterns, S capped kernel states, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.journey.journey import compile_journey
from envs.journey.state import COLUMN
from envs.scenario.schema import Scenario
from envs.solve.baselines import levels
from envs.solve.kernel import Kernel, build_kernel, legal_masks
from envs.solve.solver import solve
from envs.solve.sweeps import q_values


@dataclass(frozen=True)
class Uncapped:
    """The journey without its caps, seen from the states of the capped one."""

    optimum: float  # V* without caps, from d0
    values: Floats  # (M, S) V* without caps: an upper bound of the capped V*
    wishes: Ints  # (M, S) int8: what the uncapped optimum would do, a cap or not
    obedient: Ints  # (M, S) int8: its best action among the legal ones


def without_caps(scenario: Scenario) -> Scenario:
    """The same scenario, contacts unlimited."""
    memory = scenario.memory.model_copy(update={"caps": []})
    return scenario.model_copy(update={"memory": memory})


def uncapped(kernel: Kernel, weights: Floats) -> Uncapped | None:
    """Solve the journey without its caps; None where it has none, or hides types."""
    journey = kernel.journey
    if not journey.scenario.memory.caps or len(journey.personas) > 1:
        return None
    free = build_kernel(compile_journey(without_caps(journey.scenario), journey.cluster.name))
    solution, here = solve(free, weights), _same_states(kernel, free)
    wishes = solution.actions[:, here]
    obedient = wishes.copy()
    for m in range(len(kernel.consents)):
        legal = legal_masks(kernel, m)
        bitten = ~legal[np.arange(kernel.states), wishes[m]]
        second = np.where(legal, q_values(free, solution.values, weights, m)[here], -np.inf).argmax(axis=1)
        obedient[m, bitten] = second[bitten]
    return Uncapped(solution.start_value(free), solution.values[:, here], wishes, obedient)


def _same_states(kernel: Kernel, free: Kernel) -> Ints:
    """(S,) the uncapped kernel's state of every capped one: all but the level of the caps."""
    sizes, strides = kernel.journey.rules.sizes, kernel.journey.rules.strides
    everything, out = np.arange(kernel.states), np.zeros(kernel.states, dtype=np.int64)
    for component, stride in enumerate(free.journey.rules.strides.tolist()):
        if stride and component != COLUMN.caps:
            out += everything // strides[component] % sizes[component] * stride
    return out


def at_cap(kernel: Kernel) -> Mask:
    """(S,) true where some cap is used up: a marketing action is forbidden by nothing else."""
    permits = np.asarray(kernel.journey.rules.caps_permit)
    used_up: Mask = (permits != permits[0])[levels(kernel, "caps")]
    return used_up
