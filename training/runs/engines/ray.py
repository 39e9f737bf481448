"""Jobs as Ray tasks: on the cores of this machine, or on the cluster that RAY_ADDRESS names.

A job needs one core wherever it runs. Checkpoints are files: to resume on several machines, the
output folder must be on a file system that all of them see.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from envs.errors import Interrupted
from training.interrupt import SIGNALS
from training.learner import Point
from training.runs.cluster_run import Job, Key, Outcome, train_cluster

POLL_SECONDS = 0.2
ASK_SECONDS = 0.5  # how often a job looks whether it should stop


def run(
    jobs: Sequence[Job], workers: int, show: Callable[[Key, Point], None], stop: Callable[[], bool]
) -> list[Outcome]:
    """See `training.runs.engine.Engine`."""
    with _connected(workers):
        board: Any = ray.remote(num_cpus=0)(Board).remote()
        work = ray.remote(num_cpus=1, max_retries=0)(_work)
        todo, waiting = list(jobs), dict[Any, Key]()
        outcomes: dict[Key, Outcome] = {}
        stopped = False
        try:
            while waiting or (todo and not stopped):
                while todo and not stopped and len(waiting) < workers:
                    job = todo.pop(0)
                    waiting[work.remote(job, board)] = job.key
                done, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
                for task in done:
                    key = waiting.pop(task)
                    try:
                        outcomes[key] = ray.get(task)
                    except ray.exceptions.RayTaskError as error:
                        if not isinstance(error.cause, Interrupted):
                            raise error.cause from None
                for key, point in ray.get(board.told.remote()):
                    show(key, point)
                if stop() and not stopped:
                    stopped = True
                    ray.get(board.stop.remote())
        except BaseException:
            for task in waiting:
                ray.cancel(task, force=True)
            raise
    if len(outcomes) < len(jobs):
        raise Interrupted("stopped at a checkpoint")
    return [outcomes[job.key] for job in jobs]


@contextmanager
def _connected(workers: int) -> Iterator[None]:
    """A connection; a cluster of our own ends with it. Our signal handlers stay in place."""
    if ray.is_initialized():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    where: dict[str, Any] = {"num_cpus": workers}
    if os.environ.get("RAY_ADDRESS"):
        where = {"address": os.environ["RAY_ADDRESS"]}
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **where)
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


class Board:
    """Where jobs write their progress and read whether to stop; an actor."""

    def __init__(self) -> None:
        self._points: list[tuple[Key, Point]] = []
        self._stopping = False

    def tell(self, key: Key, point: Point) -> None:
        """Progress of a job."""
        self._points.append((key, point))

    def told(self) -> list[tuple[Key, Point]]:
        """What was told since the last call."""
        points, self._points = self._points, []
        return points

    def stop(self) -> None:
        """Ask every job to stop."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether a job should stop."""
        return self._stopping


def _work(job: Job, board: Any) -> Outcome:
    asked = [time.perf_counter(), False]

    def stop() -> bool:
        if time.perf_counter() - asked[0] > ASK_SECONDS:
            asked[:] = time.perf_counter(), bool(ray.get(board.stopping.remote()))
        return bool(asked[1])

    return train_cluster(job, lambda point: board.tell.remote(job.key, point), stop)
