"""Jobs in processes of this machine, one job each at a time; a single worker is this process.

A process sees no Ctrl-C: the parent hears it, tells the jobs, and waits for their checkpoints.
Should the parent be killed, its processes end with it.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from queue import Empty
from typing import Any

from envs.errors import Interrupted
from training.interrupt import held_back
from training.learner import Point
from training.runs.cluster_run import Job, Key, Outcome, train_cluster

POLL_SECONDS = 0.2

_told: Any = None  # a worker's queue to the parent
_stopping: Any = None  # and the parent's wish


def run(
    jobs: Sequence[Job], workers: int, show: Callable[[Key, Point], None], stop: Callable[[], bool]
) -> list[Outcome]:
    """See `training.runs.engine.Engine`."""
    size = min(workers, len(jobs))
    if size <= 1:
        return [train_cluster(job, partial(show, job.key), stop) for job in jobs]
    context = mp.get_context("spawn")
    told, stopping = context.Queue(), context.Event()
    others = set(mp.active_children())
    with ProcessPoolExecutor(size, context, initializer=_begin, initargs=(told, stopping)) as pool:
        try:
            with held_back():
                waiting = [pool.submit(_work, job) for job in jobs]
            _watch(waiting, told, stopping, show, stop)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(mp.active_children()) - others:  # a running job would be waited for
                process.kill()
            raise
        return [future.result() for future in waiting]


def _begin(told: Any, stopping: Any) -> None:
    global _told, _stopping
    _told, _stopping = told, stopping
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A job without its run would write where the next run writes."""
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> Outcome:
    return train_cluster(job, lambda point: _told.put((job.key, point)), _stopping.is_set)


def _watch(
    waiting: Sequence[Future[Outcome]],
    told: Any,
    stopping: Any,
    show: Callable[[Key, Point], None],
    stop: Callable[[], bool],
) -> None:
    """Pass progress on until every job is done, and the wish to stop to the jobs."""
    pending: set[Future[Outcome]] = set(waiting)
    stopped = False
    while pending:
        done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            error = None if future.cancelled() else future.exception()
            if error is not None and not isinstance(error, Interrupted):
                raise error
            stopped |= future.cancelled() or error is not None
        if stop() and not stopping.is_set():
            stopping.set()
            for future in waiting:
                future.cancel()
        while True:
            try:
                show(*told.get_nowait())
            except Empty:
                break
    if stopped:
        raise Interrupted("stopped at a checkpoint")
