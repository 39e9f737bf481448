"""The Gymnasium environments keep Gymnasium's contract and the simulator's journeys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.simulate.simulator import Simulator
from envs.simulate.vector_env import CustomerJourneyVectorEnv

TINY = Path(__file__).parents[2] / "configs" / "scenarios" / "tiny.yaml"
ID = "envs.registration:journey/CustomerJourney-v0"


def make(**options: Any) -> Any:
    """The single environment, as a user makes it."""
    return gymnasium.make(ID, scenario=str(TINY), **options)


def test_the_environment_passes_gymnasiums_own_checker() -> None:
    check_env(make(render_mode="ansi").unwrapped)


def test_the_id_registers_itself_in_a_fresh_interpreter() -> None:
    made = f"g.make({ID!r}, scenario={str(TINY)!r})"
    code = f"import gymnasium as g; print({made}.reset(seed=1)[0].shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(")


def test_importing_envs_needs_no_gymnasium() -> None:
    code = (
        "import envs, envs.solve.solver, envs.simulate.simulator, sys; assert 'gymnasium' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_single_and_vector_environments_walk_the_simulators_journeys() -> None:
    single, days = make(episode_days=40), 40
    observation, info = single.reset(seed=7)
    simulator = Simulator(single.unwrapped.journey, 1, 7)
    for day in range(days):
        legal = np.flatnonzero(info["action_mask"])
        action = int(legal[day % len(legal)])
        outcome = simulator.step(np.array([action]))
        observation, reward, terminated, truncated, info = single.step(action)
        np.testing.assert_array_equal(observation, simulator.observations[0])
        assert reward == pytest.approx(float(outcome.rewards[0] @ single.unwrapped.journey.weights()))
        assert not info["illegal"]
        if terminated:
            break
    assert terminated or truncated


def test_an_illegal_action_passes_as_wait_and_is_reported() -> None:
    env, waiting = make(), make()
    _, info = env.reset(seed=3)
    waiting.reset(seed=3)
    illegal = int(np.flatnonzero(info["action_mask"] == 0)[0])
    observation, _, _, _, told = env.step(illegal)
    same, _, _, _, _ = waiting.step(0)
    assert told["illegal"]
    np.testing.assert_array_equal(observation, same)


def test_a_finished_customer_is_replaced_in_the_same_step_and_the_last_observation_kept() -> None:
    env = gymnasium.make_vec(ID, num_envs=64, scenario=str(TINY), episode_days=5, autoreset_mode="SameStep")
    assert isinstance(env.unwrapped, CustomerJourneyVectorEnv)
    env.reset(seed=1)
    for _ in range(5):
        observation, reward, terminated, truncated, infos = env.step(np.zeros(64, dtype=np.int64))
    assert (terminated | truncated).any()
    assert truncated[~terminated & (env.unwrapped._clock == 0)].all()
    kept = np.flatnonzero(infos["_final_obs"])
    assert all(infos["final_obs"][i].shape == observation[i].shape for i in kept)
    assert reward.shape == (64,)


def test_staggered_clocks_spread_the_cuts() -> None:
    env = gymnasium.make_vec(ID, num_envs=40, scenario=str(TINY), episode_days=20, staggered=True)
    env.reset(seed=1)
    cuts = [int(env.step(np.zeros(40, dtype=np.int64))[3].sum()) for _ in range(20)]
    assert max(cuts) <= 4


def test_the_same_seed_gives_the_same_journeys_and_another_seed_others() -> None:
    def walk(seed: int) -> Any:
        env = gymnasium.make_vec(ID, num_envs=200, scenario=str(TINY))
        env.reset(seed=seed)
        return np.array([env.step(np.zeros(200, dtype=np.int64))[0] for _ in range(15)])

    np.testing.assert_array_equal(walk(5), walk(5))
    assert (walk(5) != walk(6)).any()
