"""One switch for compilation: a function stays callable as plain Python (`.py_func`).

Caches compiled code on disk, so only the first run on a machine pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile for use from other compiled code; IEEE arithmetic, no fast-math."""
    return cast(Function, numba.njit(cache=True, error_model="numpy")(function))


def parallel(function: Function) -> Function:
    """Compile with `prange` over both cores; loop bodies must not share state."""
    compiler = numba.njit(cache=True, error_model="numpy", parallel=True, nogil=True)
    return cast(Function, compiler(function))
