"""A policy from an event log alone: fitted Q iteration with a conservative penalty.

For people who trust no simulator. Nothing of the model is read: no kernel, no solver, no expected
rewards, no potential; only the fold, the rules (what is legal) and the prices. The learned policy is
judged by the solver like any other, where there is one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from envs.scenario import Strict
from training.fitted_q import FittedQ
from training.learner import Learned, Point, Problem, Report
from training.learners.ppo import greedy_value
from training.log_transitions import Transitions, from_log, simulated
from training.network import single_threaded

Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class Settings(Strict):
    """The log, and the recipe."""

    log: str | None = None  # a log in this project's columns; None: one is simulated …
    customers: Count = 50_000  # … of so many customers of the cluster …
    days: Annotated[int, Field(ge=2)] = 60  # … over so many days …
    behavior: str = "business_rules:0.5+random_legal:0.5"  # … under this mixture, drawn each decision
    members: Count = 4  # networks, averaged before the maximum
    iterations: Count = 20  # of fitted Q: the days ahead that a target sees; more adds noise
    steps: Count = 40  # towards the targets of an iteration
    batch: Count = 1024  # states a step
    draw_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5  # states are drawn by visits to this power
    learning_rate: Positive = 2e-3  # falls linearly to 0 in the second half
    weight_decay: NotNegative = 0.1
    penalty: NotNegative = 0.01  # of the conservative term, rewards scaled to a mean square of 1
    hidden: list[Annotated[int, Field(ge=4, le=512)]] = [64, 64]  # of each member
    judged_every: Count = 5  # iterations between points of the learning curve


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Read or simulate the log, iterate, average the members."""
    began = time.perf_counter()
    journey = problem.journey
    log = transitions(problem, settings)
    fitted = FittedQ(log, journey.encoding.sizes, settings, journey.scenario.discount, problem.seed)
    saved = report.saved()
    if saved is not None:
        fitted.restore(saved)
    while fitted.iteration < settings.iterations:
        share = fitted.iteration / settings.iterations
        loss = fitted.iterate(share)
        if fitted.iteration % settings.judged_every == 0:
            metrics = {"value": greedy_value(problem, fitted.network()), "loss": loss}
            done, seconds = fitted.iteration / settings.iterations, time.perf_counter() - began
            report(Point(done, len(log), seconds, metrics))
        report.offer(fitted.state)
    return Learned(fitted.network().eval(), len(log))


def transitions(problem: Problem, settings: Settings) -> Transitions:
    """The cluster's part of the log."""
    if settings.log is not None:
        return from_log(Path(settings.log), problem.journey, problem.weights)
    return simulated(
        problem.journey, problem.weights, settings.behavior, settings.customers, settings.days, problem.seed
    )
