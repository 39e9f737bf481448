"""Compiled code on disk is never older than what it was compiled from, in any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONSTANT = "SHIFT = {shift}\n"
CALLEE = """
from envs.compiled import compiled
from envs.toy.constant import SHIFT

@compiled
def inner(x):
    return x * {factor} + SHIFT
"""
CALLER = """
from envs.compiled import compiled
from envs.toy.callee import inner

@compiled
def outer(x):
    return inner(x) + 1

if __name__ == "__main__":
    print(outer(10), sum(outer.stats.cache_hits.values()))
"""


@pytest.fixture
def house(root: Path, tmp_path: Path) -> Path:
    """A house of its own: the real compile switch, a caller in training, a callee two floors down."""
    for folder in ("envs/toy", "training/toy"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    for package in ("envs", "training"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "envs" / "compiled.py").write_bytes((root / "envs" / "compiled.py").read_bytes())
    (tmp_path / "envs" / "toy" / "constant.py").write_text(CONSTANT.format(shift=0))
    (tmp_path / "envs" / "toy" / "callee.py").write_text(CALLEE.format(factor=2))
    (tmp_path / "training" / "toy" / "caller.py").write_text(CALLER)
    return tmp_path


def answer(house: Path) -> tuple[int, int]:
    """What the caller gives in a process of its own, and how often it was found on disk."""
    command = [sys.executable, "-m", "training.toy.caller"]
    run = subprocess.run(command, cwd=house, capture_output=True, text=True, check=True, timeout=120)
    value, hits = run.stdout.split()
    return int(value), int(hits)


def test_unchanged_code_is_compiled_once(house: Path) -> None:
    assert answer(house) == (21, 0)
    assert answer(house) == (21, 1)


def test_an_edited_callee_in_a_subfolder_is_compiled_anew(house: Path) -> None:
    answer(house)
    (house / "envs" / "toy" / "callee.py").write_text(CALLEE.format(factor=3))
    assert answer(house) == (31, 0)


def test_an_edited_constant_two_imports_away_is_compiled_anew(house: Path) -> None:
    answer(house)
    (house / "envs" / "toy" / "constant.py").write_text(CONSTANT.format(shift=5))
    assert answer(house) == (26, 0)


def test_a_file_that_is_not_reached_compiles_nothing_anew(house: Path) -> None:
    answer(house)
    (house / "envs" / "toy" / "stranger.py").write_text("from envs.compiled import compiled\n")
    assert answer(house) == (21, 1)
