"""A journal followed into MLflow by a process of its own, so that no server can stop a run.

`Follower` is the run's side: it starts the process, and waits for it at most `PATIENCE` in
total while the server is silent. `main` is the process: it applies the journal as it grows and
ends when its standard input does. Either may be killed at any moment; `journey sync` goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from envs.errors import UserError
from training.tracking.redaction import redact
from training.tracking.spool import PARENT, Marks
from training.tracking.store import Replay, answers, client, is_local, located

PATIENCE = 1.5  # seconds of silence a run grants its server, all waits together
LONGEST = 30.0  # seconds a run waits for a server that does answer
LONGEST_LOCAL = 120.0
POLL = 0.02
_TIMED = ("asking", "ready")  # phases in which a silence is the server's


class Follower:
    """The process that applies a journal while it is written."""

    def __init__(self, journal: Path, uri: str) -> None:
        self._local = is_local(uri)
        self._marks = Marks(journal, redact(located(uri)))
        self._marks.phase = None  # an earlier follower's
        self._patience = PATIENCE
        # the path as it is here: the folder the command was started in may hold other packages
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        code = "from training.tracking.follower import main; main()"
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=env, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None  # noqa: S101
        self._stdin = self._process.stdin
        self._stdin.write(json.dumps({"journal": str(journal), "uri": uri}) + "\n")
        self._stdin.flush()

    def run_id(self) -> str | None:
        """The parent's id in the store, once the store has given one."""
        self._wait(lambda: PARENT in self._marks.ids)
        return self.known_id

    @property
    def known_id(self) -> str | None:
        """The same without waiting."""
        return self._marks.ids.get(PARENT)

    def finish(self, operations: int) -> bool:
        """Wait until `operations` are applied, no longer than the server deserves; True if they are."""
        self._end_input()
        self._wait(lambda: self._marks.done >= operations)
        self._stop()
        self._marks.read()
        return self._marks.done >= operations

    def _wait(self, done: Callable[[], bool]) -> None:
        began = heard = time.monotonic()
        silence = 0.0
        while True:
            over = self._process.poll() is not None  # before reading: its last words count
            now = time.monotonic()
            if self._marks.read() or (not self._local and self._marks.phase not in _TIMED):
                heard = now
            silence = max(silence, now - heard)
            if done() or over:
                break
            longest = LONGEST_LOCAL if self._local else LONGEST
            if now - began > longest or (not self._local and silence > self._patience):
                self._stop()
            time.sleep(POLL)
        self._patience = max(self._patience - silence, 0.0)

    def _end_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has given up already
            self._stdin.close()

    def _stop(self) -> None:
        """It may hang in a request: what it has not marked, a later sync applies again."""
        self._end_input()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def main() -> None:
    """Apply a journal as it grows; end with the input, or with the server."""
    task = json.loads(_first_line())
    try:
        replay = Replay(Path(task["journal"]), task["uri"])
    except UserError:
        return
    try:
        replay.marks.write(phase="asking")
        if not answers(task["uri"]):
            return
        replay.marks.write(phase="loading")
        client(task["uri"])
        replay.marks.write(phase="ready")
        while True:
            ended = bool(select.select([0], [], [], 0.1)[0])
            replay.apply_new()
            if ended:  # looked before the last read, so nothing was missed
                return
    except Exception as error:
        replay.marks.write(stopped=redact(str(error))[:300])
    finally:
        replay.close()


def _first_line() -> str:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode()
