"""Tracking into a real MLflow server on a loopback port, which dies in the middle of the run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training.learner import Point
from training.tracking.sync import sync_all
from training.tracking.tracking import Tracker

pytestmark = pytest.mark.services

STARTS_WITHIN = 240.0  # seconds, on a crowded machine


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """`mlflow server` over a SQLite store in the folder; ended with its own processes."""
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlruns.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            end = time.monotonic() + STARTS_WITHIN
            while time.monotonic() < end:
                try:
                    urllib.request.urlopen(f"{uri}/health", timeout=1.0).close()  # noqa: S310
                    break
                except OSError:
                    time.sleep(0.2)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its workers


def test_a_server_killed_in_the_middle_has_the_whole_run_after_a_sync(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    out = tmp_path / "out"
    with server(tmp_path, port) as uri:
        tracker = Tracker(uri, "journey", "run", out)
        tracker.params(tracker.parent, {"learner": "ppo"})
        run_id = tracker.run_id
        assert run_id is not None
    began = time.perf_counter()
    child = tracker.child("keen")
    tracker.curve(child, [Point(1.0, 200, 2.5, {"score": 0.75})], 1_700_000_000.0)
    tracker.end(child)
    (out / "result.json").write_text("{}")
    tracker.artifact(tracker.parent, out / "result.json")
    tracker.end(tracker.parent)
    assert time.perf_counter() - began < 2.0
    with server(tmp_path, port) as uri:
        (run,) = sync_all([out])["runs"]
        assert (run["mlflow_run_id"], run["state"], run["refused"]) == (run_id, "complete", [])
        assert sync_all([out])["applied"] == 0
        client = MlflowClient(uri)
        parent = client.get_run(run_id)
        assert parent.info.status == "FINISHED"
        found = client.search_runs([parent.info.experiment_id])
        (own,) = [r for r in found if r.data.tags.get("mlflow.parentRunId") == run_id]
        (point,) = client.get_metric_history(own.info.run_id, "score")
        assert (point.value, point.timestamp, point.step) == (0.75, 1_700_000_002_500, 200)
        assert [a.path for a in client.list_artifacts(run_id)] == ["result.json"]
