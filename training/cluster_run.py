"""One cluster's training, start to judged file: what a worker process does.

A job and its outcome are plain data, so they cross process (and later machine) borders; the
same job gives the same outcome wherever it runs.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numba
from threadpoolctl import threadpool_limits

from envs.bundle import ClusterEntry
from envs.journey import compile_journey
from envs.paths import ideal_path
from envs.scenario import Scenario
from envs.solver import solve
from training.bundle_export import Exported, export
from training.checkpoint import Unsaved
from training.judge import value_of
from training.learner import Learned, Point, Problem, Table
from training.run_config import RunConfig, learner_module, settings_of


@dataclass(frozen=True)
class Job:
    """A cluster to train."""

    config: RunConfig
    scenario: Scenario
    cluster: str
    objective: str


@dataclass(frozen=True)
class Outcome:
    """A trained, exported and judged cluster."""

    cluster: str
    file: str
    content: bytes
    entry: ClusterEntry
    record: dict[str, Any]  # one entry of `clusters` in the document
    curve: list[Point]
    began: float  # seconds since the epoch
    paths: dict[str, Any] = field(default_factory=dict)  # by objective


def train_cluster(job: Job, report: Callable[[str, Point], None]) -> Outcome:
    """Learn, export, read back, judge; single-threaded, so that results repeat."""
    from training.network import ordinary_floats  # torch is slow to import, and jobs are described without it

    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _train_cluster(job, report)
    finally:
        ordinary_floats()


def _train_cluster(job: Job, report: Callable[[str, Point], None]) -> Outcome:
    began, clock = time.time(), time.perf_counter()
    journey = compile_journey(job.scenario, job.cluster)
    problem = Problem(journey, job.objective, job.config.seed)
    curve: list[Point] = []

    def told(point: Point) -> None:
        curve.append(point)
        report(job.cluster, point)

    learner = learner_module(job.config.learner)
    learned: Learned = learner.learn(problem, settings_of(job.config), Unsaved(told))
    seconds = time.perf_counter() - clock
    exported = export(problem, learned, job.config.exploration, job.config.max_regret)
    scored = _scored(curve, exported)
    return Outcome(
        cluster=job.cluster,
        file=exported.name,
        content=exported.content,
        entry=exported.entry,
        record=_record(problem, learned, exported, seconds),
        curve=scored,
        began=began,
        paths=_paths(problem),
    )


def _scored(curve: list[Point], exported: Exported) -> list[Point]:
    """The learning curve with scores beside values."""
    out = []
    for point in curve:
        metrics = dict(point.metrics)
        score = exported.known.score(metrics["value"]) if "value" in metrics else None
        if score is not None:
            metrics["score"] = score
        out.append(dataclasses.replace(point, metrics=metrics))
    return out


def _record(problem: Problem, learned: Learned, exported: Exported, seconds: float) -> dict[str, Any]:
    """Design §8's entry, and what else a reader needs to believe it."""
    known, verdict = exported.known, exported.verdict
    name, value = known.best
    beside = {key: value_of(problem, policy) for key, policy in learned.shown_beside.items()}
    return {
        "name": problem.journey.cluster.name,
        "states": problem.states,
        "optimum": known.optimum,
        "service_only": known.service_only,
        "never": known.never,
        "best_baseline": {"name": name, "value": value},
        "value": verdict.value,
        "score": verdict.score,
        "edge": verdict.edge,
        "money_gap": verdict.money_gap,
        "value_served": verdict.value_served,
        "score_served": verdict.score_served,
        "value_error": verdict.value_error,
        "agreement": verdict.agreement,
        "baselines": known.baselines,
        "shown_beside": {k: {"value": v, "score": known.score(v)} for k, v in beside.items()},
        "components": verdict.components,
        "share": problem.journey.cluster.share,
        "file": "table" if isinstance(learned.policy, Table) else "network",
        "train_seconds": seconds,
        "samples": learned.samples,
    }


def _paths(problem: Problem) -> dict[str, Any]:
    """The ideal path under every objective of the scenario."""
    out = {}
    for objective in problem.journey.scenario.objectives:
        solution = problem.solution
        if objective != problem.objective:
            solution = solve(problem.kernel, problem.journey.weights(objective))
        out[objective] = ideal_path(problem.kernel, solution.values, solution.actions)
    return out
