"""Customer-days a second: the compiled simulator beside Gymnasium's vectorised CartPole.

    python -m experiments.benchmarks.simulation

One table; every row in the same run on the same threads, the best of five repetitions.
Actions are drawn before the clock starts; observations, masks and rewards are computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

import envs.registration
from envs.cli.output import table
from envs.simulate.opening import open_journey
from envs.simulate.simulator import Simulator

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "omnichannel_retail.yaml"
REPEATS = 5


def rate(step: Callable[[], None], units: int, steps: int) -> float:
    """Best units a second of five repetitions of `steps` calls."""
    step()
    best = 0.0
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        best = max(best, units * steps / (time.perf_counter() - started))
    return best


def random_legal(legal: Any, draws: Any, actions: int) -> Any:
    """(N,) uniform legal actions from uniform draws."""
    mask = (legal[:, None] >> np.arange(actions)) & 1
    ranks = (draws * mask.sum(1)).astype(np.int64) + 1
    return (mask.cumsum(1) >= ranks[:, None]).argmax(1)


def simulator_rate(customers: int, steps: int) -> float:
    """The batch simulator under random legal actions, drawn outside the clock."""
    journey = open_journey(SCENARIO, None)
    simulator = Simulator(journey, customers, 1)
    generator, seconds, best = np.random.default_rng(0), 0.0, 0.0
    for _ in range(REPEATS):
        seconds = 0.0
        for _ in range(steps):
            actions = random_legal(simulator.legal, generator.random(customers), len(journey.actions))
            started = time.perf_counter()
            simulator.step(actions)
            seconds += time.perf_counter() - started
        best = max(best, customers * steps / seconds)
    return best


def single_rate() -> float:
    """The single Gymnasium environment, waiting."""
    env = gymnasium.make(f"envs.registration:{envs.registration.ENVIRONMENT}", scenario=str(SCENARIO))
    env.reset(seed=1)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()

    return rate(step, 1, 5_000)


def cartpole_rate(customers: int) -> float:
    """Gymnasium's own vectorised environment."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=customers, vectorization_mode="vector_entry_point")
    env.reset(seed=1)
    actions = env.action_space.sample()
    return rate(lambda: env.step(actions) and None, customers, max(5, 200_000 // customers))


def twin_rate() -> float:
    """The slow twin of the tests: the same day, once more, in plain Python."""
    from tests.core.plain_day import Draws, PlainDay, started

    journey = open_journey(SCENARIO, None)
    twin = PlainDay(journey)
    reading, _ = started(twin, journey, 1, 0)
    wait, days = journey.actions[0], iter(range(10**9))
    return rate(lambda: twin.day(reading, wait, Draws(1, 0, next(days))) and None, 1, 2_000)


def adapter_rate(customers: int, steps: int) -> float:
    """The stable-baselines3 adapter under random legal actions, drawn outside the clock."""
    from training import journey_vec_env

    env, generator, best = journey_vec_env(SCENARIO, num_envs=customers), np.random.default_rng(0), 0.0
    env.reset()
    for _ in range(REPEATS):
        seconds = 0.0
        for _ in range(steps):
            draws = generator.random(customers)
            actions = random_legal(env.simulator.legal, draws, len(env.journey.actions))
            started = time.perf_counter()
            env.step(actions)
            seconds += time.perf_counter() - started
        best = max(best, customers * steps / seconds)
    return best


def copies_rate(copies: int, steps: int) -> float:
    """As many single environments in the library's own `DummyVecEnv`, under the same policy."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    name = f"envs.registration:{envs.registration.ENVIRONMENT}"
    env: Any = DummyVecEnv([lambda: gymnasium.make(name, scenario=str(SCENARIO)) for _ in range(copies)])
    env.reset()
    generator, best = np.random.default_rng(0), 0.0
    for _ in range(REPEATS):
        seconds = 0.0
        for _ in range(steps):
            legal = np.array([one.unwrapped._running().legal[0] for one in env.envs])
            actions = random_legal(legal, generator.random(copies), int(env.action_space.n))
            started = time.perf_counter()
            env.step(actions)
            seconds += time.perf_counter() - started
        best = max(best, copies * steps / seconds)
    return best


def main() -> None:
    """Print the table."""
    rows = [
        ("journey, 100,000 customers", simulator_rate(100_000, 10) / 1e6),
        ("journey, 1,024 customers", simulator_rate(1_024, 400) / 1e6),
        ("journey, one Gymnasium environment", single_rate() / 1e6),
        ("stable-baselines3 adapter, 1,024 customers", adapter_rate(1_024, 400) / 1e6),
        ("stable-baselines3 DummyVecEnv, 16 single environments", copies_rate(16, 1_000) / 1e6),
        ("Gymnasium CartPole, 100,000 at once", cartpole_rate(100_000) / 1e6),
        ("Gymnasium CartPole, 1,024 at once", cartpole_rate(1_024) / 1e6),
        ("slow twin in plain Python", twin_rate() / 1e6),
    ]
    title = "simulation, million steps a second"
    Console().print(table(title, ("what", "M/s"), [(n, f"{r:,.4f}") for n, r in rows]))


if __name__ == "__main__":
    main()
