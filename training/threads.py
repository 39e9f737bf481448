"""One thread for learning: the same result on any machine, and none waits for another.

Numba, torch and the linear algebra each keep threads of their own, and the first two share
OpenMP's count of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
import torch
from threadpoolctl import threadpool_limits


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread, no denormal numbers, no argument checks: repeatable results, a faster update.

    Also a decorator. For the calling thread; all is put back afterwards, flushed denormals would
    change other people's floats.
    """
    threads, flushed = torch.get_num_threads(), flushes_denormals()
    # Numba before torch: its first use sets the count of OpenMP's threads, which torch reads, to all cores
    compiled = numba.get_num_threads()
    numba.set_num_threads(1)
    checked = torch.distributions.Distribution._validate_args
    try:
        with threadpool_limits(1):
            torch.set_num_threads(1)
            torch.set_flush_denormal(True)
            torch.distributions.Distribution.set_default_validate_args(False)
            yield
    finally:
        numba.set_num_threads(compiled)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
        torch.distributions.Distribution.set_default_validate_args(checked)


def flushes_denormals() -> bool:
    """Whether this thread rounds the smallest numbers to 0; torch sets it and cannot be asked."""
    return bool(np.array([sys.float_info.min]) / 2.0 == 0.0)
