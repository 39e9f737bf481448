"""A policy from an event log alone: Q on learned days, with a conservative penalty.

    Q(x, a) = r̂(x, a) + γ Σ P̂(x'|x, a) max over legal a' of Q(x', a') − α u (1 / β(a|x) − 1)

For people who trust no simulator. Nothing of the scenario's chances is read: no kernel, no solver,
no expected rewards, no potential; only the fold, the rules (what is legal) and the prices. What a
day brings (r̂, P̂) is learned from the log, event by event; β is how often the log chose an action
in the stage, and u the usual size of a day's reward. The penalty is the tabular closed form of
Kumar et al. (2020) for a greedy policy. The result is judged by the solver like any other, where
there is one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from envs.arrays import Floats, Mask
from envs.day.states import StateRows
from envs.journey.state import COLUMN
from training.dynamics.counts import Days, from_log, simulated
from training.dynamics.learning import judged, planned, taught
from training.learner import Learned, Problem, Report
from training.parts.imitation import Imitation
from training.threads import single_threaded

Count = Annotated[int, Field(ge=1)]


class Settings(Imitation):
    """The log, and the recipe."""

    log: str | None = None  # a log in this project's columns; None: one is simulated …
    customers: Count = 50_000  # … of so many customers of the cluster …
    days: Annotated[int, Field(ge=2)] = 60  # … over so many days …
    behavior: str = "business_rules:0.5+random_legal:0.5"  # … under this mixture, drawn each decision
    penalty: Annotated[float, Field(ge=0.0)] = 1e-5  # α: what is rarely done must promise more


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Read or simulate the log, learn its days, plan, teach. An interrupted run begins anew."""
    began, days = time.perf_counter(), lived(problem, settings)
    charge = Penalty(problem, days, settings.penalty) if settings.penalty > 0.0 else None
    plan = planned(problem, days, lambda: report.offer(dict), charge)
    judged(problem, plan, report, 1.0, days.lived, began)
    return Learned(taught(problem, plan, settings).eval(), days.lived)


def lived(problem: Problem, settings: Settings) -> Days:
    """The cluster's days of the log."""
    if settings.log is not None:
        return from_log(Path(settings.log), problem.journey)
    return simulated(problem.journey, settings.behavior, settings.customers, settings.days, problem.seed)


class Penalty:
    """What an action costs beside its price because the log seldom shows it."""

    def __init__(self, problem: Problem, days: Days, weight: float) -> None:
        self._weight, self._usual = weight, 0.0
        stage = StateRows(problem.journey).describe(days.row)[0][:, 0].astype(np.int64)
        shape = int(problem.journey.rules.sizes[COLUMN.stage]), len(problem.journey.actions)
        often = np.bincount(stage * shape[1] + days.action, days.count, minlength=shape[0] * shape[1])
        self._often = often.reshape(shape) + 0.5  # what was never done is not ruled out, but very dear

    def __call__(self, observations: Floats, legal: Mask, rewards: Floats) -> Floats:
        """(N, A) objective units."""
        if not self._usual:  # the same on every later call: plans of one learning are comparable
            self._usual = float(np.sqrt((rewards[legal] ** 2).mean()))
        often = np.where(legal, self._often[observations[:, 0].astype(np.int64)], 0.0)
        share = np.where(legal, often / often.sum(axis=1, keepdims=True), 1.0)
        return self._weight * self._usual * (1.0 / share - 1.0)
