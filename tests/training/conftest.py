"""The hand-checkable scenario as a learner's problem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from training.dynamics.counts import Days, simulated
from training.learner import Problem
from training.threads import single_threaded


@pytest.fixture(scope="module", autouse=True)
def one_thread(ordinary_floats: None) -> Iterator[None]:
    """As a job learns, for these modules only."""
    with single_threaded():
        yield


@pytest.fixture(scope="session")
def keen(tiny: Scenario) -> Problem:
    """The cluster that likes to hear from us."""
    return Problem(compile_journey(tiny, "keen"), "lifetime_value", seed=0)


@pytest.fixture(scope="session")
def wary(tiny: Scenario) -> Problem:
    """The cluster where the next contact is often the last."""
    return Problem(compile_journey(tiny, "wary"), "lifetime_value", seed=0)


@pytest.fixture(scope="session")
def every_row(keen: Problem) -> Any:
    """(M·S,) rows of all states of `keen`, in the order of its observations."""
    kernel = keen.kernel
    return (kernel.consents[:, None] * kernel.states + np.arange(kernel.states)).ravel()


@pytest.fixture(scope="session")
def log(keen: Problem) -> Days:
    """A month of 4,000 customers of `keen`, half of it by the rules and half by chance."""
    return simulated(keen.journey, "business_rules:0.5+random_legal:0.5", customers=4_000, days=30, seed=1)
