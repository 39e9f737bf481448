"""One trial: settings tried on every cluster and seed, pruned where its learning curve lags.

Its score is the interquartile mean of the exact scores. Progress is reported to the pruner in
the order of the jobs, whatever runs beside what, so the same trial is pruned at the same point
on any number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from envs.errors import UserError
from training.judging.seeds import Estimate, interquartile_mean, interval
from training.learner import Point
from training.run_config import RunConfig
from training.runs.cluster_run import Job, Key, Outcome
from training.runs.engine import engine_module

STEPS = 8  # reports of one job, a tenth of its samples each; to prune its last fifth saves little


class Prune(Exception):
    """The trial lags behind the others: not worth its time."""


@dataclass
class Trial:
    """What a trial came to."""

    began: float = 0.0
    curves: dict[Key, list[Point]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def scores(self) -> list[list[float]]:
        """Exact scores, a list a cluster, seed by seed."""
        by_cluster: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            by_cluster.setdefault(outcome.cluster, []).append(outcome.record["score"])
        return list(by_cluster.values())

    @property
    def estimate(self) -> Estimate:
        """The trial's score with its interval over seeds."""
        return interval(self.scores)

    @property
    def samples(self) -> int:
        """Customer-days simulated, as far as it got."""
        return sum(curve[-1].samples for curve in self.curves.values() if curve)


def run_trial(
    jobs: Sequence[Job], run: RunConfig, judged: Callable[[int, float], None], stop: Callable[[], bool]
) -> Trial:
    """Train all jobs; `judged(step, score)` sees the score so far and may raise `Prune`.

    The trial is returned also when pruned: `outcomes` is empty then.
    """
    trial = Trial(began=time.time(), curves={job.key: [] for job in jobs})
    progress = Progress([job.key for job in jobs], judged)
    clock = time.perf_counter()

    def show(key: Key, point: Point) -> None:
        trial.curves[key].append(point)
        if "score" in point.metrics:
            progress.add(key, point.share, point.metrics["score"])

    try:
        trial.outcomes = list(engine_module(run.engine).run(jobs, run.workers, show, stop))
    except Prune:
        pass
    finally:
        trial.seconds = time.perf_counter() - clock
    for outcome in trial.outcomes:
        if outcome.record["score"] is None:
            hint = "leave it out with clusters: […]"
            raise UserError(f"cluster {outcome.cluster} has nothing to win: no score", hint=hint)
    return trial


class Progress:
    """Scores of jobs that run side by side, told in the order of the jobs.

    Step `8 j + d` is the interquartile mean of the scores that the jobs before the j-th had
    after eight tenths and the j-th has after d; told once every job before has come that far.
    """

    def __init__(self, keys: Sequence[Key], judged: Callable[[int, float], None]) -> None:
        self._keys, self._judged = list(keys), judged
        self._tenths: dict[Key, dict[int, float]] = {key: {} for key in keys}
        self._told: set[int] = set()

    def add(self, key: Key, share: float, score: float) -> None:
        """A point of a job's curve; the first in each tenth counts."""
        tenth = int(10 * share + 1e-9)
        if 0 < tenth <= STEPS:
            self._tenths[key].setdefault(tenth, score)
        before: list[float] = []
        for j, job in enumerate(self._keys):
            for reached, value in sorted(self._tenths[job].items()):
                step = STEPS * j + reached
                if step not in self._told:
                    self._told.add(step)
                    self._judged(step, interquartile_mean([*before, value]))
            if STEPS not in self._tenths[job]:
                return
            before.append(self._tenths[job][STEPS])


def summary(trial: Trial) -> dict[str, object]:
    """What of a finished trial is kept with the study."""
    runs = [
        {"cluster": cluster, "seed": seed, "score": outcome.record["score"]}
        for (cluster, seed, _), outcome in zip(trial.curves, trial.outcomes, strict=False)
    ]
    estimate = {"low": trial.estimate.low, "high": trial.estimate.high} if trial.outcomes else {}
    return {"runs": runs, "samples": trial.samples, "seconds": round(trial.seconds, 3), **estimate}
