"""One switch for compilation: a function stays callable as plain Python (`.py_func`).

Compiled code is cached on disk, so only the first run on a machine pays for it. Numba checks
the file of a function but not those of the functions it calls; here the cache folder is named
after the content of all compiled sources, so old code is never run. A compiled function is
typed `Any`: it takes numpy's integers wherever its signature says `int`.
"""

from __future__ import annotations

import builtins
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core import config

_CONSTANTS = ("events.py", "machine.py", "state.py", "scenario.py")  # read by compiled code


def _cache_folder() -> Path:
    """`__pycache__/compiled-<digest>` beside the sources."""
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(here.glob("*.py")):
        source = path.read_bytes()
        if path.name in _CONSTANTS or b"envs.compiled import" in source:
            digest.update(source)
    return here / "__pycache__" / f"compiled-{digest.hexdigest()[:16]}"


def _use_cache() -> None:
    """Point numba at the folder; an installation that cannot be written keeps its default."""
    folder = _cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]


_use_cache()


def compiled(function: Callable[..., Any]) -> Any:
    """Compile for use from other compiled code; IEEE arithmetic, no fast-math."""
    return numba.njit(cache=True, error_model="numpy")(function)


def unlocked(function: Callable[..., Any]) -> Any:
    """Compile for threads of Python's own; arguments must not be shared between them."""
    return numba.njit(cache=True, error_model="numpy", nogil=True)(function)


def parallel(function: Callable[..., Any]) -> Any:
    """Compile with `prange` over both cores; loop bodies must not share state."""
    return numba.njit(cache=True, error_model="numpy", parallel=True, nogil=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile into each caller: for loop bodies that take many arrays."""
    return numba.njit(inline="always", error_model="numpy")(function)


@cache
def plain(function: Any) -> Any:
    """The compiled function and all it calls as plain Python: for one customer at a time."""
    python = function.py_func
    scope: dict[str, Any] = {"__builtins__": builtins}
    for name in python.__code__.co_names:
        if name in python.__globals__:
            value = python.__globals__[name]
            scope[name] = plain(value) if hasattr(value, "py_func") else value
    return FunctionType(python.__code__, scope, python.__name__, python.__defaults__)
