"""The planner's optimum distilled into the served network.

Where the model is exactly solvable this is the strongest network there is; learning from
interaction is the check on it. How it is taught stands in `parts/imitation.py`.
"""

from __future__ import annotations

import numpy as np
import torch

from envs.arrays import Floats, Mask
from envs.solve.evaluation import occupancy
from envs.solve.sweeps import q_values
from training.learner import Learned, Problem, Report
from training.network import PolicyNetwork
from training.parts.imitation import Imitation, imitate
from training.threads import single_threaded

ROUGHLY = 1e-6  # accuracy of the visits, relative to the start's


class Settings(Imitation):
    """How long and how wide."""


def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Solve, then imitate."""
    return Learned(taught(problem, settings, report), samples=settings.steps * settings.batch)


@single_threaded()
def taught(problem: Problem, settings: Settings, report: Report) -> PolicyNetwork:
    """The network with the planner's policy in its policy trunk."""
    torch.manual_seed(problem.seed)
    network = PolicyNetwork(problem.journey.encoding.sizes, len(problem.journey.actions), settings.hidden)
    good = good_actions(problem, settings.tie)
    imitate(
        network, problem.observations, problem.legal, good, visits(problem), settings, problem.seed, report
    )
    return network


def good_actions(problem: Problem, tie: float) -> Mask:
    """(M·S, A) booleans: the optimal actions."""
    solution = problem.solution
    tolerance = tie * float(np.abs(solution.values).max())
    blocks = []
    for m in range(problem.blocks):
        q = q_values(problem.kernel, solution.values, problem.weights, m)
        blocks.append(q >= q.max(axis=1, keepdims=True) - tolerance)
    return np.concatenate(blocks)


def visits(problem: Problem) -> Floats:
    """(M·S,) how often the optimum is in a state, near enough to sample by."""
    found = occupancy(problem.kernel, problem.solution.actions, tolerance=ROUGHLY)
    out: Floats = found.ravel().clip(min=0.0)
    return out
