"""Kernels and optima that several tests of the core judge; built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import Scenario
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.solver import Solution, solve
from tests.core.worlds import VARIANTS


@pytest.fixture(scope="session", params=["keen", "wary"])
def tiny_kernel(request: pytest.FixtureRequest, tiny: Scenario) -> Kernel:
    """Each cluster of the hand-checkable scenario."""
    return build_kernel(compile_journey(tiny, request.param))


@pytest.fixture(scope="session")
def tiny_optimum(tiny_kernel: Kernel) -> Solution:
    """Its optimum under the default objective."""
    return solve(tiny_kernel, tiny_kernel.journey.weights())


@pytest.fixture(scope="session")
def kernel_of() -> Callable[[str], Kernel]:
    """Kernel of a variant of `everything`, built on first use."""

    @cache
    def build(name: str) -> Kernel:
        return build_kernel(journey_of(name))

    return build


def journey_of(name: str, cluster: str = "plain") -> Journey:
    """A variant compiled for one cluster."""
    return compile_journey(VARIANTS[name](), cluster)
