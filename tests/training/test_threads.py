"""Learning runs on one thread whatever ran before it, and leaves the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import torch

from training.threads import flushes_denormals, single_threaded


def test_the_process_keeps_its_floats_and_threads() -> None:
    torch.set_flush_denormal(False)
    torch.set_num_threads(2)
    try:
        within = _floats_within()
        assert within == (True, 1)
        assert (flushes_denormals(), torch.get_num_threads()) == (False, 2)
        assert sys.float_info.min / 2.0 > 0.0
    finally:  # as the module's fixture set them
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)


@single_threaded()
@single_threaded()
def _floats_within() -> tuple[bool, int]:
    return flushes_denormals(), torch.get_num_threads()


FRESH = """
import numba, torch
from envs.compiled import parallel
from training.threads import single_threaded

@parallel
def total(n):
    s = 0
    for i in numba.prange(n):
        s += i
    return s

torch.set_num_threads(1)
with single_threaded():
    assert total(4) == 6
    print(torch.get_num_threads(), numba.get_num_threads())
print(torch.get_num_threads(), numba.get_num_threads())
print(numba.threading_layer())
"""


def test_compiled_code_run_for_the_first_time_leaves_torch_its_one_thread(tmp_path: Path, root: Path) -> None:
    """Numba's first use sets the count of OpenMP's threads, which torch reads."""
    script = tmp_path / "fresh.py"
    script.write_text(FRESH)
    env = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(root)}
    ran = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=True)
    counts, layer = ran.stdout.split()[:-1], ran.stdout.split()[-1]
    if layer != "omp":
        pytest.skip(f"Numba runs on {layer} here, which shares nothing with torch")
    assert counts == ["1", "1", "1", "2"], "torch and Numba, within and afterwards"


@single_threaded()
def _fails() -> None:
    torch.set_num_threads(2)
    raise ZeroDivisionError


def test_an_error_puts_everything_back() -> None:
    before = flushes_denormals(), torch.get_num_threads(), numba.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        _fails()
    assert (flushes_denormals(), torch.get_num_threads(), numba.get_num_threads()) == before
