"""The spool: everything a run logs, as JSON lines in its output folder, redacted, never rewritten.

A journal is one tracked run and its children: `spool/KEY.jsonl`, one operation a line, runs
named "0" (the parent), "1", …; artifacts by path and digest. Beside it `KEY.marks.jsonl` says
how much of it a tracking store has. Who applies it to a store is `store.py`.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

FOLDER = "spool"
FORMAT = 1
PARENT = "0"

Operation = dict[str, Any]


class Journal:
    """The writer of one journal; holds a lock on it while the run lives."""

    def __init__(self, out: Path, head: Operation, again: bool = False) -> None:
        folder = out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        known = journals(out) if again else []
        self.out = out
        self.path = known[-1] if known else folder / f"{_key()}.jsonl"
        self._runs, self._open = 0, set[str]()
        self._file: TextIO = self._opened()
        self.operations = 0
        for operation in read(self.path):
            self._note(operation)
        self.continued = self._runs > 0
        if self.operations == 0:
            self.write({"op": "begin", "format": FORMAT, "key": self.path.stem, **head})

    def _opened(self) -> TextIO:
        """The journal, locked; a line that a crash cut short is closed and will be skipped."""
        file = self.path.open("a", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() and self.path.read_bytes()[-1:] != b"\n":
            file.write("\n")
        return file

    def _note(self, operation: Operation) -> None:
        self.operations += 1
        if operation["op"] == "run":
            self._runs += 1
            self._open.add(operation["run"])
        elif operation["op"] == "end":
            self._open.discard(operation["run"])

    @property
    def unfinished(self) -> list[str]:
        """Runs that were begun and not ended."""
        return sorted(self._open, key=int)

    def new_run(self, name: str, tags: dict[str, str]) -> str:
        """Begin a run under the parent (the first is the parent); its name in the journal."""
        run = str(self._runs)
        parent = PARENT if self._runs else None
        self.write({"op": "run", "run": run, "parent": parent, "name": name, "tags": tags, "time": now()})
        return run

    def write(self, operation: Operation) -> None:
        """Append one operation; on disk for every other process when this returns."""
        self._file.write(json.dumps(operation, ensure_ascii=False) + "\n")
        self._file.flush()
        self._note(operation)

    def artifact(self, run: str, path: Path, folder: str | None) -> None:
        """A file by its path, and its digest: what is there later must still be it."""
        inside = path.resolve().is_relative_to(self.out.resolve())
        name = path.resolve().relative_to(self.out.resolve()) if inside else path.resolve()
        operation = {"op": "artifact", "run": run, "file": str(name), "folder": folder}
        self.write(operation | {"sha256": digest(path)})

    def close(self) -> None:
        """Release the lock."""
        self._file.close()


class Marks:
    """What one store has of a journal: operations applied, and the store's ids of runs."""

    def __init__(self, journal: Path, store: str) -> None:
        self.path = marks_path(journal)
        self.store = store
        self.ids: dict[str, str] = {}
        self.done = 0
        self.refused: list[str] = []
        self.phase: str | None = None
        self._offset = 0
        self.read()

    def read(self) -> bool:
        """Take in what was appended since; True where there was something."""
        lines, self._offset = _complete_lines(self.path, self._offset)
        for mark in (json.loads(line) for line in lines):
            if mark.get("store") == self.store:
                self.ids |= mark.get("ids", {})
                self.done = mark.get("done", self.done)
                self.refused += [mark["refused"]] if "refused" in mark else []
                self.phase = mark.get("phase", self.phase)
        return bool(lines)

    def write(self, **mark: object) -> None:
        """Append one mark."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"store": self.store, **mark}, ensure_ascii=False) + "\n")
        self.read()


def journals(out: Path) -> list[Path]:
    """The journals of an output folder, oldest first."""
    return sorted(p for p in (out / FOLDER).glob("*.jsonl") if not p.name.endswith(".marks.jsonl"))


def marks_path(journal: Path) -> Path:
    """Where the marks of a journal lie."""
    return journal.with_suffix(".marks.jsonl")


def read(journal: Path) -> Iterator[Operation]:
    """Its operations so far; a line cut short by a crash is none."""
    return parsed(_complete_lines(journal, 0)[0])


def tail(journal: Path, offset: int) -> tuple[list[Operation], int]:
    """Operations from a byte offset on, and the offset after them."""
    lines, after = _complete_lines(journal, offset)
    return list(parsed(lines)), after


def parsed(lines: list[str]) -> Iterator[Operation]:
    """Operations of lines; a fragment stands for nothing."""
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def is_written(journal: Path) -> bool:
    """Whether the run that writes it is alive."""
    with journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _complete_lines(path: Path, offset: int) -> tuple[list[str], int]:
    try:
        with path.open("rb") as file:
            file.seek(offset, os.SEEK_SET)
            raw = file.read()
    except FileNotFoundError:
        return [], offset
    whole = raw[: raw.rfind(b"\n") + 1]
    return whole.decode("utf-8", "replace").split("\n")[:-1], offset + len(whole)


def _key() -> str:
    """Sorts by time, and no two runs share it."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"
