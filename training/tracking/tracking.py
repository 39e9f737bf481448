"""Runs in MLflow: a parent run, a child a cluster or trial. Tracking never stops or slows the learning.

Everything is written to the spool in the output folder (`spool.py`), redacted, and nowhere
else; a process of its own carries it to MLflow meanwhile (`follower.py`). What a silent server
did not take, `journey sync` replays.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from training.learner import Point
from training.tracking.follower import Follower
from training.tracking.redaction import flatten, redact
from training.tracking.spool import PARENT, Journal, now
from training.tracking.store import located

Found = TypeVar("Found")
log = logging.getLogger(__name__)


class Tracker:
    """One parent run and its children, or nothing at all where tracking is off.

    Runs are named by the spool: `parent` is the parent's name there, `run_id` its MLflow id.
    With `again`, the folder's last tracked run is gone on with instead of beginning another.
    """

    def __init__(self, uri: str, experiment: str, name: str, out: Path, again: bool = False) -> None:
        self.parent: str | None = None
        self._uri, self._out = uri, out
        self._journal: Journal | None = None
        self._follower: Follower | None = None
        self._run_id: str | None = None
        if uri == "off":
            return
        head = {"uri": redact(located(uri)), "experiment": redact(experiment)}
        self._safely(partial(self._open, head, name, again))

    def _open(self, head: dict[str, Any], name: str, again: bool) -> None:
        self._journal = journal = Journal(self._out, head, again)
        if journal.continued:
            self.parent = PARENT
            for run in journal.unfinished:  # a process that was killed left them open
                if run != PARENT:
                    journal.write({"op": "end", "run": run, "status": "KILLED", "time": now()})
            journal.write({"op": "again", "run": PARENT})
        else:
            self.parent = journal.new_run(redact(name), {"mlflow.source.name": "journey"})
        self._follower = Follower(journal.path, self._uri)

    @property
    def run_id(self) -> str | None:
        """The parent's id in MLflow; None where no server has given one in time."""
        if self._follower:
            self._run_id = self._follower.run_id()
        return self._run_id

    def child(self, name: str, tags: Mapping[str, object] | None = None) -> str | None:
        """A run under the parent; its name in the spool."""
        if self._journal is None:
            return None
        values = flatten(tags or {"cluster": name})
        run: str | None = self._safely(partial(self._journal.new_run, redact(name), values))
        return run

    def params(self, run: str | None, values: Mapping[str, object]) -> None:
        """Parameters, flattened, redacted and cut."""
        flat = list(flatten(values).items())
        for begin in range(0, len(flat), 100):
            self._write({"op": "params", "run": run, "values": dict(flat[begin : begin + 100])})

    def metrics(self, run: str | None, values: Mapping[str, float | None]) -> None:
        """Final figures; None is left out."""
        self.curve(run, [Point(1.0, 0, 0.0, {k: v for k, v in values.items() if v is not None})], time.time())

    def curve(self, run: str | None, points: Sequence[Point], began: float) -> None:
        """Metrics over samples, at the wall-clock times they were measured."""
        rows = [
            [name, _plain(value), int(1000 * (began + point.seconds)), point.samples]
            for point in points
            for name, value in point.metrics.items()
        ]
        for begin in range(0, len(rows), 900):
            self._write({"op": "metrics", "run": run, "rows": rows[begin : begin + 900]})

    def tags(self, run: str | None, values: Mapping[str, object]) -> None:
        """Tags of a run."""
        self._write({"op": "tags", "run": run, "values": flatten(values)})

    def artifact(self, run: str | None, path: Path, folder: str | None = None) -> None:
        """A file or a folder, file by file; it must stay as it is until it is logged."""
        if self._journal is None or run is None:
            return
        journal = self._journal
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            inside = file.relative_to(path).parent.as_posix() if path.is_dir() else "."
            place = "/".join(part for part in (folder, inside) if part and part != ".") or None
            self._safely(partial(journal.artifact, run, file, place))

    def end(self, run: str | None, status: str = "FINISHED") -> None:
        """Close a run: FINISHED, FAILED or KILLED; with the parent, the tracking."""
        self._write({"op": "end", "run": run, "status": status, "time": now()})
        if run == PARENT:
            self.close()

    def close(self) -> None:
        """Give the server what time it deserves, and say so where it did not answer."""
        journal, follower = self._journal, self._follower
        self._journal = self._follower = None
        if journal is None:
            return
        journal.close()
        complete = follower is not None and follower.finish(journal.operations)
        self._run_id = follower.known_id if follower else None
        if not complete:
            silent = redact(self._uri)
            log.warning("%s did not answer: `journey sync %s` logs this run later", silent, self._out)

    def _write(self, operation: dict[str, Any]) -> None:
        if self._journal is not None and operation["run"] is not None:
            self._safely(partial(self._journal.write, operation))

    def _safely(self, action: Callable[[], Found]) -> Found | None:
        """A full disk ends the tracking, not the run."""
        try:
            return action()
        except OSError as error:
            log.warning("tracking stopped: %s", redact(str(error)))
            self.close()
            return None


def _plain(value: float) -> float | str:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else str(float(value))


def ui_command(uri: str) -> str:
    """The command that opens the runs in a browser."""
    return f"mlflow ui --backend-store-uri {redact(uri)}"
