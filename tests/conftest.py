"""Fixtures every test may use: the project's root and the hand-checkable scenario."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.files.scenario_file import load_scenario
from envs.scenario.schema import Scenario

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def ordinary_floats() -> Iterator[None]:
    """No module leaves the process with its smallest numbers rounded to 0, as training wants them."""
    yield
    assert sys.float_info.min / 2.0 > 0.0, "training's floats leaked out of this module"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_path() -> Path:
    """The scenario a person can check by hand."""
    return ROOT / "configs" / "scenarios" / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Scenario:
    """The same, loaded."""
    return load_scenario(tiny_path)
