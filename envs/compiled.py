"""One switch for compilation: a function stays callable as plain Python (`.py_func`).

Caches compiled code on disk, so only the first run on a machine pays for it. A compiled
function is typed `Any`: it takes numpy's integers wherever its signature says `int`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile for use from other compiled code; IEEE arithmetic, no fast-math."""
    return numba.njit(cache=True, error_model="numpy")(function)


def parallel(function: Callable[..., Any]) -> Any:
    """Compile with `prange` over both cores; loop bodies must not share state."""
    return numba.njit(cache=True, error_model="numpy", parallel=True, nogil=True)(function)
