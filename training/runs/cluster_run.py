"""One cluster's training, start to judged file: what a worker does.

A job and its outcome are plain data, so they cross process and machine borders; the same job
gives the same outcome wherever it runs, and however often it is interrupted. A job with a folder
keeps its checkpoint there, and its outcome once it is finished.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envs.errors import Interrupted
from envs.journey.journey import Journey, compile_journey
from envs.policy.bundle import ClusterEntry
from envs.scenario.schema import Scenario
from envs.solve.paths import ideal_path
from envs.solve.solver import solve
from training.checkpoint import Checkpoint, Identity, read_state, write_state
from training.judging.export import Delivered, Exported, export
from training.judging.judge import bounds
from training.learner import Learned, Point, Problem, Table
from training.personas import run as hidden_run
from training.run_config import RunConfig, learner_module, settings_of
from training.threads import single_threaded

Key = tuple[str, int, str]


@dataclass(frozen=True)
class Job:
    """A cluster to train."""

    config: RunConfig
    scenario: Scenario
    cluster: str
    objective: str
    label: str = ""  # tells jobs of the same cluster and seed apart, e.g. a trial's number
    folder: Path | None = None  # absolute; None: nothing is kept, and an interrupted job is lost

    @property
    def key(self) -> Key:
        """What makes a job one of many."""
        return self.cluster, self.config.seed, self.label


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
    paths: dict[str, object] = field(default_factory=dict)  # by objective


def train_cluster(
    job: Job,
    tell: Callable[[Point], None] = lambda point: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Learn, export, read back, judge; single-threaded, so that results repeat.

    Goes on from the folder's checkpoint, and returns a finished outcome it finds there. Raises
    `Interrupted` soon after `stop()` becomes true, the checkpoint written.
    """
    report = _report(job, tell, stop)
    done = _finished(job, report)
    if done is not None:
        return done
    if stop():
        raise Interrupted(f"{job.cluster}: not begun")
    with single_threaded():
        outcome = _train_cluster(job, report)
    if job.folder is not None:
        write_state(job.folder / "outcome.pt", {"job": asdict(report.identity)} | _plain(outcome))
    return outcome


def _report(job: Job, tell: Callable[[Point], None], stop: Callable[[], bool]) -> Checkpoint:
    path = None if job.folder is None else job.folder / "checkpoint.pt"
    hashes = job.config.digest(), job.scenario.digest()
    identity = Identity(*hashes, job.cluster, job.objective, job.config.seed)
    return Checkpoint(path, identity, tell, stop, job.config.checkpoint_seconds)


def _finished(job: Job, report: Checkpoint) -> Outcome | None:
    """The outcome an earlier run left in the folder."""
    if job.folder is None or not (job.folder / "outcome.pt").exists():
        return None
    kept = read_state(job.folder / "outcome.pt")
    report.check(kept.pop("job"))
    curve = [Point(**point) for point in kept.pop("curve")]
    for point in curve[-1:]:
        report(point)
    return Outcome(entry=ClusterEntry.model_validate(kept.pop("entry")), curve=curve, **kept)


def _plain(outcome: Outcome) -> dict[str, Any]:
    fields = {f.name: getattr(outcome, f.name) for f in dataclasses.fields(outcome)}
    entry, curve = outcome.entry.model_dump(), [asdict(point) for point in outcome.curve]
    return fields | {"entry": entry, "curve": curve}


def _train_cluster(job: Job, report: Checkpoint) -> Outcome:
    journey = compile_journey(job.scenario, job.cluster)
    if len(journey.personas) > 1:
        made = hidden_run.deliver(job.config, journey, job.objective, report)
    else:
        made = _deliver(job, journey, report)
    return Outcome(
        cluster=job.cluster,
        file=made.file,
        content=made.content,
        entry=made.entry,
        record=made.record,
        curve=report.curve,
        began=report.began,
        paths=made.paths,
    )


def _deliver(job: Job, journey: Journey, report: Checkpoint) -> Delivered:
    """A cluster whose state is observed: learn, export, read back, judge exactly."""
    shared = None if job.folder is None else job.folder.parent
    problem = Problem(journey, job.objective, job.config.seed, shared)
    report.judged = lambda point: _scored(problem, point)
    learner = learner_module(job.config.learner)
    learned: Learned = learner.learn(problem, settings_of(job.config), report)
    seconds = report.seconds
    exported = export(problem, learned, job.config.exploration, job.config.max_regret)
    record = _record(problem, learned, exported, seconds)
    return Delivered(exported.name, exported.content, exported.entry, record, _paths(problem))


def _scored(problem: Problem, point: Point) -> Point:
    """The point with the score beside its value."""
    if "value" not in point.metrics:
        return point
    score = bounds(problem).score(point.metrics["value"])
    return point if score is None else dataclasses.replace(point, metrics=point.metrics | {"score": score})


def _record(problem: Problem, learned: Learned, exported: Exported, seconds: float) -> dict[str, Any]:
    """Design §8's entry, and what else a reader needs to believe it."""
    known, verdict = exported.known, exported.verdict
    name, value = known.best
    beside = {key: problem.value_of(policy) for key, policy in learned.shown_beside.items()}
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
        "notes": learned.notes,
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
