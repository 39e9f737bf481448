"""Anybody's stable-baselines3 learner trains on the batch simulator, at its speed and by its rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from envs.errors import JourneyError
from envs.simulate.opening import open_journey
from envs.simulate.simulator import Simulator
from training import journey_vec_env

TINY = str(Path(__file__).parents[2] / "configs" / "scenarios" / "tiny.yaml")


@pytest.mark.parametrize(("learner", "samples"), [(MaskablePPO, 2048), (PPO, 2048), (DQN, 2000)])
def test_a_librarys_learner_runs_with_its_defaults(learner: Any, samples: int) -> None:
    model = learner("MlpPolicy", journey_vec_env(TINY, num_envs=2), seed=0)
    model.learn(samples)
    assert model.num_timesteps >= samples


def test_customers_are_the_simulators_and_paid_in_objective_units() -> None:
    env, journey = journey_vec_env(TINY, num_envs=50, cluster="keen", seed=4), open_journey(TINY, "keen")
    simulator = Simulator(journey, 50, 4)
    np.testing.assert_array_equal(env.reset(), simulator.observations)
    waiting = np.zeros(50, dtype=np.int64)
    paid = simulator.step(waiting).rewards @ journey.weights()
    _, rewards, _, _ = env.step(waiting)
    np.testing.assert_allclose(rewards, paid, rtol=1e-6)


def test_every_end_is_told_as_the_library_wants_it() -> None:
    env = journey_vec_env(TINY, num_envs=200, episode_days=5)
    env.reset()
    churns = cuts = 0
    for _ in range(15):
        _, _, over, infos = env.step(np.zeros(200, dtype=np.int64))
        for i, info in enumerate(infos):
            assert ("terminal_observation" in info) == bool(over[i])
            cuts += bool(info.get("TimeLimit.truncated"))
            churns += bool(over[i]) and not info["TimeLimit.truncated"]
    assert churns
    assert cuts


def test_what_the_rules_forbid_passes_as_wait() -> None:
    env, waiting = journey_vec_env(TINY, num_envs=30, seed=1), journey_vec_env(TINY, num_envs=30, seed=1)
    mask, _ = env.action_masks(), waiting.reset()
    forbidden = np.where((~mask).any(axis=1), (~mask).argmax(axis=1), -1)
    np.testing.assert_array_equal(env.step(forbidden)[0], waiting.step(np.zeros(30, dtype=np.int64))[0])


def test_masks_reach_the_library_whole_and_by_index() -> None:
    env = journey_vec_env(TINY, num_envs=7)
    np.testing.assert_array_equal(get_action_masks(env), env.action_masks())
    assert np.stack(env.env_method("action_masks", indices=[1, 3])).shape[0] == 2
    assert len(env.get_attr("journey", indices=2)) == 1


def test_the_librarys_wrappers_and_evaluation_work() -> None:
    env = VecNormalize(VecMonitor(journey_vec_env(TINY, num_envs=4, episode_days=10)))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, seed=0)
    model.learn(128)
    mean, spread = evaluate_policy(model, env, n_eval_episodes=8)
    assert np.isfinite([mean, spread]).all()


def test_a_seed_begins_its_population_anew() -> None:
    env = journey_vec_env(TINY, num_envs=40, seed=9)
    first = env.reset()
    for _ in range(5):
        env.step(np.zeros(40, dtype=np.int64))
    env.seed(9)
    np.testing.assert_array_equal(env.reset(), first)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"cluster": "kene"}, "did you mean 'keen'"),
        ({"objective": "x"}, "unknown objective"),
        ({"num_envs": 0}, "num_envs"),
        ({"episode_days": -1}, "episode_days"),
        ({"seed": 1.5}, "not a seed"),
        ({"seed": 2**70}, "not a seed"),
        ({"seed": -1}, "not a seed"),
    ],
)
def test_a_wrong_name_or_number_is_one_clear_message(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(JourneyError, match=told):
        journey_vec_env(TINY, **wrong)


def test_importing_training_imports_no_torch() -> None:
    code = (
        "import sys, training; assert 'journey_vec_env' in dir(training); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
