"""Jobs on an engine: the same outcomes wherever they run, with one line of progress a job.

An engine is one module of `training.runs.engines` with `run`, so adding a third is adding one file.
Every job is single-threaded and plain data; its outcome does not depend on what runs beside it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Protocol

import training.runs.engines
from envs.cli.output import progress
from envs.errors import ConfigError
from envs.files.document import did_you_mean
from training.interrupt import interruptible
from training.learner import Point
from training.runs.cluster_run import Job, Key, Outcome

Show = Callable[[Key, Point], None]
Stop = Callable[[], bool]


class Engine(Protocol):
    """A module of `training.runs.engines`."""

    def run(self, jobs: Sequence[Job], workers: int, show: Show, stop: Stop) -> list[Outcome]:
        """Outcomes in the order of the jobs, at most `workers` at a time.

        Once `stop()` is true, every running job is asked to write its checkpoint, none is begun,
        and `Interrupted` is raised. The first job that fails ends the others and is raised.
        """
        ...


def train_all(jobs: Sequence[Job], workers: int, engine: str = "process") -> list[Outcome]:
    """Outcomes in the order of the jobs; the same whatever the engine and the number of workers."""
    names = names_of(jobs)
    chosen = engine_module(engine)
    with progress() as bar, interruptible() as stop:
        tasks = {job.key: bar.add_task(names[job.key], total=1.0, note="") for job in jobs}

        def show(key: Key, point: Point) -> None:
            bar.update(tasks[key], completed=point.share, note=note(point))

        return chosen.run(jobs, workers, show, stop)


def note(point: Point) -> str:
    """What a line of progress says: the score so far first, where there is one."""
    metrics = sorted(point.metrics.items(), key=lambda item: item[0] != "score")
    shown = [f"{name} {value:.4f}" if name == "score" else f"{name} {value:,.4g}" for name, value in metrics]
    return " ".join([*shown, f"{point.samples:,} samples"])


def names_of(jobs: Sequence[Job]) -> dict[Key, str]:
    """A short name for every job: cluster, and the seed and label where they tell jobs apart."""
    seeds = len({job.config.seed for job in jobs}) > 1
    names = {}
    for job in jobs:
        if job.key in names:
            raise ValueError(f"two jobs have the key {job.key}: give them labels")
        seed = f"seed {job.config.seed}" if seeds else ""
        names[job.key] = " ".join(part for part in (job.label, job.cluster, seed) if part)
    return names


def engine_names() -> list[str]:
    """Every engine there is."""
    return sorted(module.name for module in pkgutil.iter_modules(training.runs.engines.__path__))


def engine_module(name: str) -> Engine:
    """The engine's module; raises `ConfigError` when there is none of that name."""
    known = engine_names()
    if name not in known:
        raise ConfigError(
            "unknown engine", got=name, expected=f"one of {', '.join(known)}", hint=did_you_mean(name, known)
        )
    module: Engine = importlib.import_module(f"training.runs.engines.{name}")
    return module
