"""Where jobs run: one process a cluster, as many at a time as there are workers.

Every job is single-threaded and plain data, so the outcome does not depend on how many run
beside it. Progress comes back through a queue.
"""

from __future__ import annotations

import multiprocessing as mp
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from queue import Empty
from typing import Any

from envs.output import progress
from training.cluster_run import Job, Outcome, train_cluster
from training.learner import Point

_told: Any = None  # a worker's queue to the parent


def train_all(jobs: list[Job], workers: int) -> list[Outcome]:
    """Outcomes in the order of the jobs; the same whatever the number of workers."""
    with progress() as bar:
        tasks = {job.cluster: bar.add_task(job.cluster, total=1.0, note="") for job in jobs}

        def show(cluster: str, point: Point) -> None:
            note = " ".join(f"{k} {v:,.4g}" for k, v in point.metrics.items())
            bar.update(tasks[cluster], completed=point.share, note=f"{note} {point.samples:,} samples")

        if workers == 1:
            return [train_cluster(job, show) for job in jobs]
        context = mp.get_context("spawn")
        queue = context.Queue()
        size = min(workers, len(jobs))
        with ProcessPoolExecutor(size, context, initializer=_begin, initargs=(queue,)) as pool:
            waiting = [pool.submit(_work, job) for job in jobs]
            try:
                _watch(waiting, queue, show)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in mp.active_children():  # a running job would be waited for
                    process.terminate()
                raise
            return [future.result() for future in waiting]


def _begin(queue: Any) -> None:
    global _told
    _told = queue


def _work(job: Job) -> Outcome:
    return train_cluster(job, lambda cluster, point: _told.put((cluster, point)))


def _watch(waiting: list[Future[Outcome]], queue: Any, show: Any) -> None:
    """Pass progress on until every job is done; the first failure ends the others."""
    pending: set[Future[Outcome]] = set(waiting)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        while True:
            try:
                show(*queue.get_nowait())
            except Empty:
                break
