"""A journal applied to an MLflow store, now or later: the only code that writes to MLflow.

Applying is idempotent: a run is found again by its tag, MLflow keeps one of two equal params
or metric points, an artifact is overwritten by itself. What was applied is marked operation by
operation, so an interrupted replay goes on where it stopped. Holds no clock but the HTTP
client's own; whoever may not wait runs it in another process (`follower.py`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from envs.errors import UserError
from training.tracking.redaction import redact
from training.tracking.spool import FORMAT, Marks, Operation, digest, tail

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # seconds; the library's own is 120
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the library's own is 7, with backoff

PROBE_SECONDS = 1.2
TAG = "journey.spool"  # KEY/RUN: which run of which journal this is
_REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"}  # again would not help


class Replay:
    """One journal and one store; nobody else may apply this journal meanwhile."""

    def __init__(self, journal: Path, uri: str) -> None:
        self.journal, self.uri = journal, located(uri)
        self.marks = Marks(journal, redact(self.uri))
        self.unfinished: set[str] = set()
        self._last_time: int | None = None
        self._client: Any = None
        self._offset, self._seen = 0, 0
        self._lock = self.marks.path.open("a", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError("this spool is being replayed already", where=str(journal)) from None

    def close(self) -> None:
        """Let others at the journal."""
        self._lock.close()

    def apply_new(self) -> int:
        """Apply what the journal has beyond the marks; returns how many operations."""
        operations, self._offset = tail(self.journal, self._offset)
        applied = 0
        for i, operation in enumerate(operations):
            self._seen += 1
            self._follow(operation)
            if self._seen <= self.marks.done and (self._client is not None or operation["op"] != "begin"):
                continue
            if operation["op"] != "artifact" or not _replaced(operation, operations[i + 1 :]):
                self._apply(operation)
            applied += self._seen > self.marks.done
            self.marks.write(done=max(self._seen, self.marks.done))
        return applied

    def close_unfinished(self) -> None:
        """Mark as killed what a process left open when it died without a word."""
        for run in sorted(self.unfinished, key=int, reverse=True):
            self._apply({"op": "end", "run": run, "status": "KILLED", "time": self._last_time})

    def _follow(self, operation: Operation) -> None:
        """Which runs are open, and when something last happened."""
        self._last_time = operation.get("time", self._last_time)
        if operation["op"] in ("run", "again"):
            self.unfinished.add(operation["run"])
        elif operation["op"] == "end":
            self.unfinished.discard(operation["run"])

    def _apply(self, operation: Operation) -> None:
        actions: dict[str, Callable[[Operation], None]] = {
            "begin": self._begin,
            "run": self._run,
            "params": self._params,
            "metrics": self._metrics,
            "tags": self._tags,
            "artifact": self._artifact,
            "again": self._again,
            "end": self._end,
        }
        try:
            with warnings.catch_warnings():  # the library's own deprecations are not the user's
                warnings.simplefilter("ignore")
                actions[operation["op"]](operation)
        except Exception as error:
            if getattr(error, "error_code", None) not in _REFUSED:
                raise
            self.marks.write(refused=redact(f"{operation['op']}: {str(error).splitlines()[0][:200]}"))

    def _begin(self, operation: Operation) -> None:
        if operation["format"] != FORMAT:
            got, wanted = operation["format"], f"format {FORMAT}"
            raise UserError("a spool of another version", where=str(self.journal), got=got, expected=wanted)
        self._client = client(self.uri)
        self._key = operation["key"]
        name = operation["experiment"]
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                self._client.create_experiment(name, artifact_location=_artifacts(self.uri))
            except Exception as error:  # another run made it meanwhile
                if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id

    def _run(self, operation: Operation) -> None:
        mark = f"{self._key}/{operation['run']}"
        known = self._client.search_runs([self._experiment], f"tags.`{TAG}` = '{mark}'", max_results=1)
        if known:
            run = known[0]
        else:
            tags = operation["tags"] | {TAG: mark}
            if operation["parent"] is not None:
                tags["mlflow.parentRunId"] = self.marks.ids[operation["parent"]]
            run = self._client.create_run(self._experiment, operation["time"], tags, operation["name"])
        self.marks.write(ids={operation["run"]: run.info.run_id})

    def _params(self, operation: Operation) -> None:
        from mlflow.entities import Param

        params = [Param(key, text) for key, text in operation["values"].items()]
        self._client.log_batch(self.marks.ids[operation["run"]], params=params)

    def _metrics(self, operation: Operation) -> None:
        from mlflow.entities import Metric

        rows = [Metric(name, float(value), time, step) for name, value, time, step in operation["rows"]]
        self._client.log_batch(self.marks.ids[operation["run"]], metrics=rows)

    def _tags(self, operation: Operation) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, text) for key, text in operation["values"].items()]
        self._client.log_batch(self.marks.ids[operation["run"]], tags=tags)

    def _artifact(self, operation: Operation) -> None:
        path = self.journal.parent.parent / operation["file"]
        if not path.is_file() or digest(path) != operation["sha256"]:
            self.marks.write(refused=f"artifact: {operation['file']} is no longer what the run wrote")
            return
        self._client.log_artifact(self.marks.ids[operation["run"]], str(path), operation["folder"])

    def _again(self, operation: Operation) -> None:
        self._client.update_run(self.marks.ids[operation["run"]], status="RUNNING")

    def _end(self, operation: Operation) -> None:
        run = self.marks.ids[operation["run"]]
        self._client.set_terminated(run, operation["status"], operation["time"])


def _replaced(operation: Operation, later: list[Operation]) -> bool:
    """Whether the run wrote this artifact anew since."""
    where = [operation.get(key) for key in ("op", "run", "file", "folder")]
    return any([other.get(key) for key in ("op", "run", "file", "folder")] == where for other in later)


def client(uri: str) -> MlflowClient:
    """An MLflow client that keeps quiet; slow to import, and needed by nobody else."""
    import mlflow

    for chatty in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return mlflow.MlflowClient(tracking_uri=uri)


def is_local(uri: str) -> bool:
    """A file on this machine: it may be slow, it cannot be dead."""
    return urlsplit(uri).scheme in ("", "file", "sqlite")


def answers(uri: str) -> bool:
    """True for a local store; a server must say something over HTTP in time, whatever it says."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except urllib.error.URLError as error:  # a certificate is the client's to judge
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError, HTTPException):
        return False


def located(uri: str) -> str:
    """A SQLite address that means the same file from every folder."""
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{Path(path).resolve()}"


def _artifacts(uri: str) -> str | None:
    """Beside a SQLite store, wherever the command was started; a server decides itself."""
    path = uri.removeprefix("sqlite:///")
    if path == uri:
        return None
    folder = Path(path).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "mlartifacts").as_uri()
