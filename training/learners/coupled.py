"""Q-learning from sampled days and rewards alone, smoothed by the served network.

The simulator lives hundreds of millions of days in minutes, so a table can learn from them; what
noise is left in it is smoothed by the network that is served. Nothing of the solver, of expected
rewards or of a potential is used. How a day is sampled stands in `coupled_sampling.py`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from envs.scenario import Strict
from training.coupled_sampling import CoupledSampler
from training.judge import value_of
from training.learner import Learned, Point, Problem, Report
from training.network import PolicyNetwork, single_threaded
from training.smoothing import smooth

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Settings(Strict):
    """The recipe."""

    visits: Count = 150_000_000  # states in which every legal action is tried
    epochs: Count = 6  # each twice as long as the one before; the last is half of the run
    customers: Count = 4096
    explore: Share = 0.2  # of decisions, any legal action
    horizon: Annotated[float, Field(gt=0.0)] = 1.3  # days to a new customer, in units of 1 / (1 − γ)
    hidden: list[Annotated[int, Field(ge=4, le=1024)]] = [64, 64]
    steps: Count = 4000  # of the smoothing
    batch: Annotated[int, Field(ge=32)] = 2048
    learning_rate: Annotated[float, Field(gt=0.0)] = 4e-3  # falls linearly to 0
    near: Annotated[float, Field(gt=0.0)] = 0.02  # gaps below this share of the usual one decide

    def epoch_at(self, share: float) -> int:
        """Which epoch this share of the run lies in, from 0."""
        epoch = 0
        while epoch < self.epochs - 1 and share >= 0.5 ** (self.epochs - 1 - epoch):
            epoch += 1
        return epoch


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Live, learn, smooth."""
    journey = problem.journey
    days = max(round(settings.horizon / (1.0 - journey.scenario.discount)), 2)
    sampler = CoupledSampler(
        journey, problem.weights, problem.kernel.states, settings.customers, days, problem.seed
    )
    live(problem, sampler, settings, report)
    q, visits = tables(problem, sampler)
    torch.manual_seed(problem.seed)
    network = PolicyNetwork(journey.encoding.sizes, len(journey.actions), settings.hidden)
    smooth(
        network, problem.observations, q, problem.legal, visits, steps=settings.steps, batch=settings.batch,
        learning_rate=settings.learning_rate, near=settings.near, seed=problem.seed,
    )  # fmt: skip
    return Learned(network, sampler.tried, shown_beside={"table": greedy(problem, q)})


def live(problem: Problem, sampler: CoupledSampler, settings: Settings, report: Report) -> None:
    """Visit states until there are enough; goes on where an interrupted run stopped."""
    saved = report.saved()
    visited, epoch, began = 0, 0, time.perf_counter()
    if saved is not None:
        visited, epoch = saved["visited"], saved["epoch"]
        sampler.newest, sampler.tried = saved["newest"], saved["tried"]
        for name, values in sampler.arrays.items():
            values[...] = saved["arrays"][name]
    told = epoch
    while visited < settings.visits:
        report.offer(lambda: _state(sampler, visited, epoch))  # noqa: B023 - called at once
        visited += sampler.live(settings.explore)
        epoch = settings.epoch_at(visited / settings.visits)
        if epoch > told or visited >= settings.visits:
            value = value_of(problem, greedy(problem, tables(problem, sampler)[0]))
            share = min(visited / settings.visits, 1.0)
            report(Point(share, sampler.tried, time.perf_counter() - began, {"value": value}))
        if epoch > told:
            sampler.new_epoch()
            told = epoch


def _state(sampler: CoupledSampler, visited: int, epoch: int) -> dict[str, Any]:
    return {
        "visited": visited,
        "epoch": epoch,
        "newest": sampler.newest,
        "tried": sampler.tried,
        "arrays": sampler.arrays,
    }


def tables(problem: Problem, sampler: CoupledSampler) -> tuple[Any, Any]:
    """(M·S, A) Q and (M·S,) visits, in the order of `problem.observations`."""
    patterns = problem.kernel.consents
    q = sampler.arrays["q"][patterns].reshape(problem.states, -1).astype(np.float64)
    return q, sampler.arrays["visits"][patterns].ravel().astype(np.float64)


def greedy(problem: Problem, q: Any) -> Any:
    """(M, S) int8."""
    best = np.where(problem.legal, q, -np.inf).argmax(axis=1)
    return best.astype(np.int8).reshape(problem.blocks, -1)
