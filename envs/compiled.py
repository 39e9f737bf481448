"""One switch for compilation: a function stays callable as plain Python (`.py_func`).

Compiled code is cached on disk, so only the first run on a machine pays for it. Numba checks the
file of a function but not those of what it calls, nor the constants it reads; here a module's
cache folder is named after the content of the module and of every project module it imports,
directly or through others, so old code is never run and an edit recompiles only what it reaches.
A compiled function takes numpy's integers wherever its signature says `int`.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TypedDict, Unpack

import numba
from numba.core import config
from numba.core.dispatcher import Dispatcher

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("envs", "training")  # where compiled code lives
_IMPORTS = re.compile(
    rf"^from +((?:{'|'.join(_PACKAGES)})[\w.]*) +import +(?:\(([^)]*)\)|([^\n#]*))"
    rf"|^import +((?:{'|'.join(_PACKAGES)})[\w.]*)",
    re.MULTILINE,
)


def _source(module: str) -> Path | None:
    """The file of a dotted project module or package; None where there is none."""
    place = ROOT.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def _imported(path: Path) -> Iterator[Path]:
    """The project modules a module imports: a name of a package may be a module of it."""
    text = _content(path).decode("utf-8")
    for base, many, few, whole in _IMPORTS.findall(text):
        names = [name.split(" as ")[0].strip() for name in (many or few).split(",")]
        candidates = [whole or base, *(f"{base}.{name}" for name in names if base and name)]
        yield from filter(None, map(_source, candidates))


@cache
def _digest(path: Path) -> str:
    """Of a module, all it reaches, and what compiles it."""
    reached, waiting = {path}, [path]
    while waiting:
        for found in _imported(waiting.pop()):
            if found not in reached:
                reached.add(found)
                waiting.append(found)
    version = f"{numba.__version__} {sys.version_info[:2]}"
    digest = hashlib.sha256(version.encode())
    for one in sorted(reached):
        digest.update(f"\n{one.name}\n".encode() + _content(one))
    return digest.hexdigest()[:16]


def _use_cache(function: Callable[..., object]) -> None:
    """Point numba at the folder of the function's module.

    It lies in `__pycache__` beside the package's sources; an installation that cannot be written
    keeps numba's own choice, a folder of the user's.
    """
    path = Path(function.__code__.co_filename).resolve()
    folder = Path(__file__).resolve().parent / "__pycache__" / f"compiled-{_digest(path)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]


class _Options(TypedDict, total=False):
    nogil: bool
    parallel: bool


def _compile(function: Callable[..., object], **options: Unpack[_Options]) -> Dispatcher:
    """IEEE arithmetic, no fast-math: the same bits in simulator, solver and service."""
    _use_cache(function)
    return numba.njit(cache=True, error_model="numpy", **options)(function)


def compiled(function: Callable[..., object]) -> Dispatcher:
    """Compile for use from other compiled code."""
    return _compile(function)


def unlocked(function: Callable[..., object]) -> Dispatcher:
    """Compile for threads of Python's own; arguments must not be shared between them."""
    return _compile(function, nogil=True)


def parallel(function: Callable[..., object]) -> Dispatcher:
    """Compile with `prange` over both cores; loop bodies must not share state."""
    return _compile(function, parallel=True, nogil=True)


def inlined(function: Callable[..., object]) -> Dispatcher:
    """Compile into each caller: for loop bodies that take many arrays."""
    return numba.njit(inline="always", error_model="numpy")(function)


@cache
def plain(function: Dispatcher) -> FunctionType:
    """The compiled function and all it calls as plain Python: for one customer at a time."""
    python = function.py_func
    scope: dict[str, object] = {"__builtins__": builtins}
    for name in python.__code__.co_names:
        if name in python.__globals__:
            value = python.__globals__[name]
            scope[name] = plain(value) if hasattr(value, "py_func") else value
    return FunctionType(python.__code__, scope, python.__name__, python.__defaults__)
