"""Randomness: counter-based, the same on any batch and thread count, and shared across actions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from envs.day.day import OUT_INBOUND, OUT_PURCHASE, OUT_STAGE
from envs.day.rng import day_key, uniform
from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.simulator import Simulator
from tests.core.plain_day import Draws
from tests.core.test_optimum import changed
from tests.core.test_twin import any_legal
from tests.core.worlds import everything

KINDS = range(24)


@pytest.mark.parametrize(
    ("seed", "customer", "day"), [(0, 0, -1), (1, 2, 3), (2**40, 10**12, 400), (7, 0, 0)]
)
def test_a_draw_is_splitmix_of_seed_customer_day_and_kind(seed: int, customer: int, day: int) -> None:
    expected, key = Draws(seed, customer, day), day_key(seed, customer, day)
    for kind in KINDS:
        assert uniform(key, kind) == expected.uniform(kind)


def test_draws_are_uniform_and_unrelated() -> None:
    draws = np.array([[Draws(3, c, d).uniform(k) for k in (2, 5, 20)] for c in range(60) for d in range(60)])
    for column in draws.T:
        assert kstest(column, "uniform").pvalue > 1e-4
    # across kinds, neighbouring days and neighbouring customers: correlations of 3,600 pairs
    grid = draws.reshape(60, 60, 3)
    pairs = [(draws[:, 0], draws[:, 1]), (draws[:, 1], draws[:, 2])]
    pairs += [
        (grid[:-1, :, 0].ravel(), grid[1:, :, 0].ravel()),
        (grid[:, :-1, 0].ravel(), grid[:, 1:, 0].ravel()),
    ]
    for left, right in pairs:
        assert abs(np.corrcoef(left, right)[0, 1]) < 4.0 / np.sqrt(len(left))


def history(journey: Journey, customers: int, first: int, days: int, seed: int = 4) -> Any:
    """(days, customers, 12) states under the n-th legal action of a fixed plan."""
    simulator = Simulator(journey, customers, seed, first_customer=first)
    out = []
    for day in range(days):
        who = np.arange(first, first + customers)
        ranks = (who * 7 + day * 3) % 5
        legal = simulator.legal[:, None] >> np.arange(len(journey.actions)) & 1
        choice = np.where(legal.cumsum(1) == 1 + ranks[:, None] % legal.sum(1, keepdims=True), legal, 0)
        simulator.step(choice.argmax(1))
        out.append(simulator.states.copy())
    return np.array(out)


def test_a_customers_journey_does_not_depend_on_the_batch() -> None:
    journey = compile_journey(everything(), "mixed")
    whole = history(journey, 90, 50, 20)
    parts = [history(journey, size, first, 20) for first, size in ((50, 1), (51, 33), (84, 56))]
    assert (np.concatenate(parts, axis=1) == whole).all()


DIGEST = """
import hashlib, sys, numba
from tests.core.test_draws import history
from tests.core.worlds import everything
from envs.journey.journey import compile_journey
for threads in (1, 2):
    numba.set_num_threads(threads)
    states = history(compile_journey(everything(), "plain"), 3000, 0, 8)
    print(hashlib.sha256(states.tobytes()).hexdigest())
"""


def test_journeys_do_not_depend_on_the_number_of_threads(root: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", DIGEST],
        cwd=root,
        env={**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    mine = hashlib.sha256(history(compile_journey(everything(), "plain"), 3000, 0, 8).tobytes()).hexdigest()
    assert run.stdout.split() == [mine, mine]


def test_starting_over_gives_the_same_journeys_and_other_seeds_others(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    first, again = history(journey, 200, 0, 15), history(journey, 200, 0, 15)
    assert (first == again).all()
    other = history(journey, 200, 0, 15, seed=5)
    assert (first != other).any(axis=(0, 2)).mean() > 0.9


def test_a_customer_started_anew_leaves_the_others_alone(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    simulator, undisturbed = Simulator(journey, 20, 9), Simulator(journey, 20, 9)
    wait = np.zeros(20, dtype=np.int64)
    for one in (simulator, undisturbed):
        for _ in range(10):
            one.step(wait)
    simulator.reset(np.array([3, 4]), customers=np.array([3, 77]))
    others = np.setdiff1d(np.arange(20), [3, 4])
    fresh = Simulator(journey, 1, 9, first_customer=77)
    assert (simulator.states[4] == fresh.states[0]).all()
    for _ in range(10):
        simulator.step(wait)
        undisturbed.step(wait)
        fresh.step(wait[:1])
        assert (simulator.states[others] == undisturbed.states[others]).all()
        assert (simulator.states[4] == fresh.states[0]).all()
    again = Simulator(journey, 20, 9)
    for _ in range(10):
        again.step(wait)
    assert (simulator.states[3] == again.states[3]).all(), "the same id lives the same days again"


def test_actions_without_effect_change_nothing_that_happens(tiny: Scenario) -> None:
    """Common random numbers: where contacts influence nothing, any two policies live the same days."""
    inert = changed(
        tiny,
        response={"rate": {}},
        opt_out={"rate": {}},
        resolution={"rate": {}},
        churn={"fatigue": 1.0, "goodwill": 1.0},
        inbound={**tiny.clusters[0].behavior.inbound.model_dump(), "goodwill": 1.0},
    )
    journey = compile_journey(inert, "keen")
    busy, idle = Simulator(journey, 500, 12), Simulator(journey, 500, 12)
    rng, differed = np.random.default_rng(0), 0
    for _ in range(25):
        actions = any_legal(busy.legal, rng, len(journey.actions))
        differed += int((actions > 0).sum())
        one, two = busy.step(actions), idle.step(np.zeros(500, dtype=np.int64))
        for column in (OUT_PURCHASE, OUT_STAGE, OUT_INBOUND):
            assert (one.outcomes[:, column] == two.outcomes[:, column]).all()
        assert (one.values == two.values).all()
    assert differed > 3_000
