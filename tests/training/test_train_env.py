"""What the learners are paid: expected rewards are the model's, shaping changes no optimum."""

from __future__ import annotations

import numpy as np
import pytest

from envs.errors import ScenarioError
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.solve.relaxation import potential, relaxed_kernel
from envs.solve.sweeps import q_values
from training.learner import Problem
from training.learners.ppo import Settings, reward_model, shaping_potential
from training.parts.train_env import TrainEnv


def play(env: TrainEnv, days: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """Mean reward of random legal play, and how many journeys were cut."""
    random, paid, cuts = np.random.default_rng(seed), [], 0
    env.reset()
    for _ in range(days):
        odds = random.random((env.num_envs, len(env.journey.actions))) * env.action_masks()
        _, rewards, _, infos = env.step(odds.argmax(axis=1))
        paid.append(rewards.copy())
        cuts += sum(bool(info) for info in infos)
    return np.array(paid), cuts


def test_expected_and_sampled_rewards_have_the_same_mean(keen: Problem) -> None:
    expected = reward_model(keen, Settings(rewards="expected", shaping="none"))
    sampled = reward_model(keen, Settings(rewards="sampled", shaping="none"))
    means = [play(TrainEnv(keen.journey, r, 2000, 30, seed=5), 40)[0] for r in (expected, sampled)]
    # the same customers, the same days, the same actions: only the money differs
    difference = (means[1] - means[0]).mean(axis=1)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    assert abs(difference.mean()) < 4 * error
    assert means[0].std() < means[1].std()


@pytest.mark.parametrize("shaping", ["relaxed", "relaxed_all"])
def test_shaping_moves_values_by_the_potential_and_no_choice(keen: Problem, shaping: str) -> None:
    settings = Settings(shaping=shaping)  # type: ignore[arg-type]
    phi = shaping_potential(keen, settings)
    paid = reward_model(keen, settings).expected
    assert paid is not None
    assert phi is not None
    rest = keen.solution.values - phi  # what is left to learn
    for m in range(keen.blocks):
        true = q_values(keen.kernel, keen.solution.values, keen.weights, m)
        tomorrow = q_values(keen.kernel, rest, np.zeros_like(keen.weights), m)
        legal = np.isfinite(true)
        np.testing.assert_allclose((paid[m] + tomorrow)[legal], (true - phi[m][:, None])[legal], atol=1e-5)


def test_a_sampled_potential_has_the_mean_of_the_expected_one(keen: Problem) -> None:
    models = [reward_model(keen, Settings(rewards=r)) for r in ("expected", "sampled")]
    means = [play(TrainEnv(keen.journey, m, 2000, 30, seed=6), 40)[0] for m in models]
    difference = (means[1] - means[0]).mean(axis=1)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    assert abs(difference.mean()) < 4 * error


def test_a_relaxation_is_never_worth_less_than_the_journey(keen: Problem) -> None:
    kept = potential(keen.kernel, keen.weights, keen.service_only)
    every = potential(keen.kernel, keen.weights, keen.service_only, every_consent=True)
    assert (kept >= keen.solution.values - 1e-9).all()
    assert (every >= kept - 1e-9).all()
    assert relaxed_kernel(keen.kernel).opt_out.max() == 0.0


def test_clocks_are_staggered_and_cuts_are_not_ends(keen: Problem) -> None:
    env = TrainEnv(keen.journey, reward_model(keen, Settings()), 300, 30, seed=1)
    env.reset()
    cut_on = []
    for day in range(30):
        _, _, over, infos = env.step(np.zeros(300, dtype=np.int64))
        cut_on += [day] * sum(bool(info) for info in infos)
        assert all(over[i] for i, info in enumerate(infos) if info)
    assert np.bincount(cut_on, minlength=30).max() <= 10  # 300 customers over 30 days


def test_every_observation_and_mask_is_the_simulators(keen: Problem) -> None:
    env = TrainEnv(keen.journey, reward_model(keen, Settings()), 64, 30, seed=2)
    first = env.reset()
    stacked = np.stack(env.env_method("action_masks"))
    assert stacked.shape == (64, len(keen.journey.actions))
    assert stacked[:, 0].all()
    following, *_ = env.step(np.zeros(64, dtype=np.int64))
    np.testing.assert_array_equal(following, env.simulator.observations)
    assert (first != following).any()
    assert len(env.get_attr("action_masks")) == 64


@pytest.mark.parametrize("kind", ["expected", "sampled"])
def test_a_reward_that_is_not_finite_names_tick_and_customer(tiny: Scenario, kind: str) -> None:
    body = tiny.model_dump(mode="json")
    body["prices"]["goodwill_level"] = 1e200  # a slip of the exponent: overflows in float32
    spoiled = Problem(compile_journey(Scenario.model_validate(body), "keen"), "lifetime_value", 0)
    rewards = reward_model(spoiled, Settings(rewards=kind, shaping="none"))  # type: ignore[arg-type]
    env = TrainEnv(spoiled.journey, rewards, 500, 30, seed=0)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ScenarioError, match=r"tick \d+, customer \d+: a reward is not finite"),
    ):
        play(env, 60)
