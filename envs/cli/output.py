"""What a verb prints: one JSON document for machines, tables for people. Logs go elsewhere.

With `--json` exactly one document reaches stdout; whatever libraries print meanwhile is
sent to stderr. Progress bars go to stderr and only onto a terminal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress, TextColumn, track
from rich.table import Table

Item = TypeVar("Item")
Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"
"""What `json.dumps` writes without help; whole numbers are floats to the type checker."""

_stdout: ContextVar[TextIO | None] = ContextVar("stdout", default=None)


@contextlib.contextmanager
def only_documents() -> Iterator[None]:
    """Inside, `emit` alone reaches stdout; every other print goes to stderr."""
    token = _stdout.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _stdout.reset(token)


def emit(
    document: Mapping[str, object], as_json: bool, render: Callable[[Console], None] | None = None
) -> None:
    """Print a verb's result once: the document, or what `render` draws for a person."""
    stream = _stdout.get() or sys.stdout
    if as_json or render is None:
        stream.write(to_json(document) + "\n")
        stream.flush()
    else:
        render(Console(file=stream, highlight=False, soft_wrap=not stream.isatty()))


def to_json(document: object) -> str:
    """Strict JSON: NaN and infinities are null, numpy and pydantic values plain."""
    return json.dumps(plain(document), allow_nan=False, ensure_ascii=False)


def plain(value: object) -> Json:
    """`value` as JSON types."""
    if value is None or isinstance(value, (bool, int, str)):
        return int(value) if type(value) not in (bool, int) and isinstance(value, int) else value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="python"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def figure(value: object, digits: int = 3) -> str:
    """A cell of a table: numbers rounded, null as a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:,.{digits}f}" if isinstance(value, (float, np.floating)) else str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table for `render`; columns of numbers are right-aligned."""
    body = [list(row) for row in rows]
    out = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        numbers = any(isinstance(row[i], (int, float, np.number)) for row in body)
        out.add_column(column, justify="right" if numbers else "left")
    for row in body:
        out.add_row(*(figure(cell) for cell in row))
    return out


def tracked(items: Sequence[Item], description: str) -> Iterable[Item]:
    """`items` under a progress bar on stderr, drawn only on a terminal."""
    console = Console(stderr=True)
    return track(items, description, console=console, transient=True, disable=_silent(console))


def progress() -> Progress:
    """A progress display for work without a list, drawn only on a terminal and for a person."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}", style="dim"))
    return Progress(*columns, console=console, transient=True, disable=_silent(console))


def _silent(console: Console) -> bool:
    return not console.is_terminal or _stdout.get() is not None
