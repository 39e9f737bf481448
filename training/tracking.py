"""Runs in MLflow: a parent run, a child a cluster. Tracking never stops or slows the learning.

A server that does not answer costs two seconds at most; the same records lie in the output
folder either way. Secrets are redacted before anything is logged.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from training.learner import Point

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

PROBE_SECONDS = 1.5
LIMIT = 500  # characters of a parameter; MLflow cuts at 6,000
_SECRET = re.compile(r"(pass(word)?|secret|token|api_?key|credential)", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")

log = logging.getLogger(__name__)


class Tracker:
    """One parent run, or nothing at all where tracking is off or the server is dead."""

    def __init__(self, uri: str, experiment: str, name: str) -> None:
        self.run_id: str | None = None
        self._client: Any = None
        if uri == "off":
            return
        if not _answers(uri):
            log.warning("no answer from %s: this run is recorded on disk only", redact(uri))
            return
        try:
            with warnings.catch_warnings():  # the library's own deprecations are not the user's
                warnings.simplefilter("ignore")
                self._open(uri, experiment, name)
        except Exception as error:
            log.warning("tracking is off: %s", redact(str(error).splitlines()[0]))
            self._client = None

    def _open(self, uri: str, experiment: str, name: str) -> None:
        import mlflow  # slow to import, and needed by nobody else

        for chatty in ("alembic", "mlflow"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        client = mlflow.MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        where = _artifacts(uri)
        self._experiment = (
            found.experiment_id if found else client.create_experiment(experiment, artifact_location=where)
        )
        self._client = client
        run = client.create_run(self._experiment, run_name=name, tags={"mlflow.source.name": "journey train"})
        self.run_id = run.info.run_id

    def child(self, name: str) -> str | None:
        """A run under the parent; its id."""
        if self._client is None:
            return None
        tags = {"mlflow.parentRunId": self.run_id, "cluster": name}
        run: str | None = self._safely(
            lambda: self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id
        )
        return run

    def params(self, run: str | None, values: Mapping[str, Any]) -> None:
        """Parameters, flattened, redacted and cut."""
        if self._client is None or run is None:
            return
        from mlflow.entities import Param

        flat = [Param(key, text) for key, text in flatten(values).items()]
        for begin in range(0, len(flat), 100):
            part = flat[begin : begin + 100]
            self._safely(lambda part=part: self._client.log_batch(run, params=part))

    def metrics(self, run: str | None, values: Mapping[str, float | None]) -> None:
        """Final figures; None is left out."""
        self.curve(run, [Point(1.0, 0, 0.0, {k: v for k, v in values.items() if v is not None})], time.time())

    def curve(self, run: str | None, points: Sequence[Point], began: float) -> None:
        """Metrics over samples, at the wall-clock times they were measured."""
        if self._client is None or run is None:
            return
        from mlflow.entities import Metric

        rows = [
            Metric(name, float(value), int(1000 * (began + point.seconds)), point.samples)
            for point in points
            for name, value in point.metrics.items()
        ]
        for begin in range(0, len(rows), 900):
            part = rows[begin : begin + 900]
            self._safely(lambda part=part: self._client.log_batch(run, metrics=part))

    def tags(self, run: str | None, values: Mapping[str, Any]) -> None:
        """Tags of a run."""
        for key, value in values.items():
            if run is not None:
                self._safely(lambda k=key, v=value: self._client.set_tag(run, k, redact(str(v))))

    def artifact(self, run: str | None, path: Path, folder: str | None = None) -> None:
        """A file or a folder."""
        if run is None:
            return
        send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._safely(lambda: send(run, str(path), folder))

    def end(self, run: str | None, status: str = "FINISHED") -> None:
        """Close a run: FINISHED, FAILED or KILLED."""
        if run is not None:
            self._safely(lambda: self._client.set_terminated(run, status))

    def _safely(self, action: Any) -> Any:
        if self._client is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return action()
        except Exception as error:
            log.warning("tracking stopped: %s", redact(str(error).splitlines()[0]))
            self._client = None
            return None


def redact(text: str) -> str:
    """The text without user names and passwords in addresses."""
    return _USERINFO.sub("…@", text)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys; secrets are replaced, long values cut."""
    out: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out |= flatten(value, f"{name}.")
        elif _SECRET.search(str(key)):
            out[name] = "redacted"
        else:
            out[name] = redact(str(value))[:LIMIT]
    return out


def ui_command(uri: str) -> str:
    """The command that opens the runs in a browser."""
    return f"mlflow ui --backend-store-uri {redact(uri)}"


def _answers(uri: str) -> bool:
    """True for a local store; a server must take a connection in time."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return True
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def _artifacts(uri: str) -> str | None:
    """Beside a SQLite store, wherever the command was started; a server decides itself."""
    path = uri.removeprefix("sqlite:///")
    if path == uri:
        return None
    folder = Path(path).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "mlartifacts").as_uri()
