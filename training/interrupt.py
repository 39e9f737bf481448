"""Ctrl-C and SIGTERM as a wish: work goes on to the next point from which it can be resumed.

The first signal only raises a flag, which long work looks at between its steps; the second one
interrupts at once. What is written on the way out is not decided here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"journey: stopping at the next checkpoint; once more stops at once\n"


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, the first signal makes the yielded function true; the second raises KeyboardInterrupt."""
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted.is_set  # only the main thread may handle signals
        return

    def ask(number: int, frame: Any) -> None:
        if wanted.is_set():
            raise KeyboardInterrupt
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
