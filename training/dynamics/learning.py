"""From days that were lived to a served network: learn what days bring, plan, teach.

What `from_log` and `from_samples` have in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from envs.arrays import Ints
from envs.day.states import StateRows
from training.dynamics.counts import Days
from training.dynamics.model import fit_days
from training.dynamics.planning import Charge, Plan, Planner
from training.learner import Point, Problem, Report
from training.network import PolicyNetwork
from training.parts.imitation import Imitation, imitate


def planned(problem: Problem, days: Days, between: Callable[[], None], charge: Charge | None = None) -> Plan:
    """The best policy under what these days teach, also where none of them led; `between` its steps."""
    journey = problem.journey
    model, space = fit_days(journey, days, between), StateRows(journey)
    discount = journey.scenario.discount
    planner = Planner(space, model, problem.weights, discount, (days.starts, days.started), charge)
    return planner.plan(np.union1d(days.row, days.starts), between)


def taught(problem: Problem, plan: Plan, settings: Imitation) -> PolicyNetwork:
    """The plan as the served network, which also answers where the plan knows nothing."""
    torch.manual_seed(problem.seed)
    encoding, actions = problem.journey.encoding, len(problem.journey.actions)
    network = PolicyNetwork(encoding.sizes, actions, settings.hidden)
    best = plan.q.max(axis=1, keepdims=True)
    good = plan.q >= best - settings.tie * float(np.abs(best).max())
    imitate(network, plan.observations, plan.legal, good, plan.visits, settings, problem.seed)
    return network


def everywhere(problem: Problem, plan: Plan) -> Ints:
    """(M, S) int8: the plan's actions, service only where it knows nothing."""
    space, out = StateRows(problem.journey), problem.service_only.copy()
    block = np.full(space.patterns, -1)
    block[problem.kernel.consents] = np.arange(problem.blocks)
    consent, state = np.divmod(plan.rows, space.states)
    known = block[consent] >= 0
    out[block[consent[known]], state[known]] = plan.actions[known]
    actions: Ints = out.astype(np.int8)
    return actions


def judged(problem: Problem, plan: Plan, report: Report, share: float, samples: int, began: float) -> None:
    """A point of the learning curve: the exact value of a plan."""
    metrics = {"value": problem.value_of(everywhere(problem, plan))}
    report(Point(share, samples, time.perf_counter() - began, metrics))
