"""A policy from sampled days alone: live, learn what days bring, plan, live under the plan.

Nothing of the solver, of the scenario's chances, of expected rewards or of a potential is read: only
the events of sampled days, what purchases were worth, and what everybody knows (the fold, the rules,
the prices). How days are sampled stands in `day_sampler.py`, how they are learned in `day_model.py`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from envs.scenario import Strict
from training.day_sampler import DaySampler
from training.imitation import Imitation
from training.learned_plan import judged, planned, taught
from training.learner import Learned, Problem, Report
from training.network import single_threaded

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Stage(Strict):
    """Days lived under one policy, before all days so far are learned from."""

    days: Count  # sampled, every legal action of a visited state counted
    explore: Share  # of decisions, any legal action


class Settings(Imitation):
    """The recipe."""

    stages: Annotated[list[Stage], Field(min_length=1)] = [
        Stage(days=40_000_000, explore=0.5),
        Stage(days=120_000_000, explore=0.3),
    ]
    customers: Annotated[int, Field(ge=2)] = 4096
    horizon: Annotated[float, Field(gt=0.0)] = 1.3  # days to a new customer, in units of 1 / (1 − γ)


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Stage by stage; an interrupted run goes on with the days it had lived."""
    began, journey = time.perf_counter(), problem.journey
    days = max(round(settings.horizon / (1.0 - journey.scenario.discount)), 2)
    sampler = DaySampler(journey, settings.customers, days, problem.seed)
    chosen, begin = np.zeros(sampler.rows, dtype=np.int8), 0  # waits, but for what it explores
    saved = report.saved()
    if saved is not None:
        begin, chosen = saved["stage"], saved["chosen"]
        sampler.restore(saved["sampler"])
    whole = sum(stage.days for stage in settings.stages)
    for number in range(begin, len(settings.stages)):
        until = sum(stage.days for stage in settings.stages[: number + 1])

        def state(at: int = number) -> dict[str, Any]:
            return {"stage": at, "chosen": chosen, "sampler": sampler.state()}

        while sampler.tried < until:
            report.offer(state)
            sampler.live(chosen, settings.stages[number].explore)
        plan = planned(problem, sampler.days(), lambda: report.offer(state))
        judged(problem, plan, report, min(sampler.tried / whole, 1.0), sampler.tried, began)
        chosen = np.zeros(sampler.rows, dtype=np.int8)
        chosen[plan.rows] = plan.actions
    return Learned(taught(problem, plan, settings).eval(), sampler.tried)
