"""A policy from sampled days alone: live, learn what days bring, plan, live under the plan.

Nothing of the solver, of the scenario's chances, of expected rewards or of a potential is read: only
the events of sampled days, what purchases were worth, and what everybody knows (the fold, the rules,
the prices). How days are sampled stands in `dynamics/sampler.py`, how they are learned in
`dynamics/model.py`.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
from pydantic import Field

from envs.scenario.schema import Strict
from training.dynamics.learning import judged, planned, taught
from training.dynamics.planning import Plan
from training.dynamics.sampler import DaySampler
from training.learner import Learned, Point, Problem, Report
from training.parts.imitation import Imitation
from training.threads import single_threaded

MARKS = 20  # of progress
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


class _Run:
    """Where learning stands."""

    def __init__(self, problem: Problem, settings: Settings, report: Report) -> None:
        journey = problem.journey
        days = max(round(settings.horizon / (1.0 - journey.scenario.discount)), 2)
        self.problem, self.settings, self.report = problem, settings, report
        self.sampler = DaySampler(journey, settings.customers, days, problem.seed)
        self.stage, self.began = 0, time.perf_counter()
        self.chosen = np.zeros(self.sampler.rows, dtype=np.int8)  # waits, but for what it explores
        saved = report.saved()
        if saved is not None:
            self.stage, self.chosen = saved["stage"], saved["chosen"]
            self.sampler.restore(saved["sampler"])

    def state(self) -> dict[str, object]:
        return {"stage": self.stage, "chosen": self.chosen, "sampler": self.sampler.state()}

    def live(self) -> Plan:
        """A stage's days under the plan so far, and the plan that all days suggest."""
        stages, sampler = self.settings.stages, self.sampler
        whole, until = (sum(stage.days for stage in some) for some in (stages, stages[: self.stage + 1]))
        while sampler.tried < until:
            self.report.offer(self.state)
            told = MARKS * sampler.tried // whole
            sampler.live(self.chosen, stages[self.stage].explore)
            if MARKS * sampler.tried // whole > told and sampler.tried < until:
                seconds = time.perf_counter() - self.began
                self.report(Point(sampler.tried / whole, sampler.tried, seconds))
        plan = planned(self.problem, sampler.days(), lambda: self.report.offer(self.state))
        share = min(sampler.tried / whole, 1.0)
        judged(self.problem, plan, self.report, share, sampler.tried, self.began)
        self.chosen = np.zeros_like(self.chosen)
        self.chosen[plan.rows] = plan.actions
        self.stage += 1
        return plan


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Stage by stage; an interrupted run goes on with the days it had lived."""
    run = _Run(problem, settings, report)
    plans = [run.live() for _ in range(run.stage, len(settings.stages))]
    return Learned(taught(problem, plans[-1], settings).eval(), run.sampler.tried)
