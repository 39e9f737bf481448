"""Ctrl-C and SIGTERM as a wish: work goes on to the next point from which it can be resumed.

The first signal only raises a flag, which long work looks at between its steps; a later one
interrupts at once. What is written on the way out is not decided here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_SECONDS = 1.0  # `timeout` and service managers signal a process and its group: one wish
_NOTICE = b"journey: stopping at the next checkpoint; once more stops at once\n"


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, the first signal makes the yielded function true; a later one raises KeyboardInterrupt."""
    wanted = threading.Event()
    first = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield wanted.is_set  # only the main thread may handle signals
        return

    def ask(number: int, frame: object) -> None:
        nonlocal first
        if wanted.is_set():
            if time.monotonic() - first > SAME_SECONDS:
                raise KeyboardInterrupt
            return
        first = time.monotonic()
        wanted.set()
        os.write(2, _NOTICE)  # a print could be interrupted by itself

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield wanted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside, no signal arrives; processes started inside never see one, so the parent decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
