"""Training on the belief: days are paid against a baseline that knows the belief, and correct it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.personas.models import Hidden
from envs.personas.rollouts import mean_ahead, qmdp, rollout_values
from training.network import PolicyNetwork
from training.personas.env import BeliefEnv, Plan, baseline
from training.personas.ppo import Corrected


@pytest.fixture(scope="module")
def hidden(root: Any) -> Hidden:
    """The shipped scenario of hidden types."""
    journey = compile_journey(load_scenario(root / "configs/scenarios/personas.yaml"), "everybody")
    return Hidden(journey, journey.weights())


def test_a_day_under_qmdps_values_pays_the_believed_loss_of_its_action(hidden: Hidden) -> None:
    env, rng = BeliefEnv(hidden, baseline(hidden, "qmdp", 0.1), 64, 50, seed=2), np.random.default_rng(0)
    strides, consents = np.asarray(hidden.journey.rules.strides), hidden.kernels[0].consents.tolist()
    env.scale = 3.0
    for _ in range(30):
        before, believed = env.simulator.states.astype(np.int64), env.simulator.beliefs.copy()
        legal = env.action_masks()
        actions = (rng.random(legal.shape) * legal).argmax(axis=1)
        stepped: Any = env.step(actions)
        following, rewards = stepped[:2]
        assert (following[:, -2:] == env.simulator.beliefs.astype(np.float32)).all()
        for i in range(64):
            m, x = consents.index(int(before[i, 5])), int(before[i] @ strides)
            lost = [hidden.values[p][m, x] - hidden.q[p][m, x, actions[i]] for p in range(2)]
            expected = -env.scale * (believed[i, 0] * lost[0] + believed[i, 1] * lost[1])
            np.testing.assert_allclose(rewards[i], expected, rtol=1e-5, atol=1e-6)
    assert rewards.max() <= 1e-6


def test_following_the_mean_models_plan_earns_nothing_against_itself(hidden: Hidden) -> None:
    env = BeliefEnv(hidden, baseline(hidden, "mean", 0.1), 64, 50, seed=2)
    strides = np.asarray(hidden.journey.rules.strides)
    for _ in range(30):
        states = env.simulator.states.astype(np.int64)
        planned: Any = hidden.mean_policy[states[:, 5], states @ strides]
        stepped: Any = env.step(planned.astype(np.int64))
        assert np.abs(stepped[1]).max() < 1e-6


@pytest.mark.parametrize("plan", ["mean", "qmdp"])
def test_no_step_from_a_baseline_is_the_baseline_and_every_step_is_legal(hidden: Hidden, plan: Plan) -> None:
    base = baseline(hidden, plan, 0.1)
    network = PolicyNetwork(hidden.journey.encoding.sizes, len(hidden.journey.actions))
    planner = mean_ahead(hidden) if plan == "mean" else qmdp(hidden)
    policies: dict[str, Any] = {
        "planner": planner,
        "none": Corrected(base, network, 0.0),
        "far": Corrected(base, network, 1e3),
    }
    found = rollout_values(hidden, policies, 400, seed=3, days=40)  # raises where an action is illegal
    np.testing.assert_allclose(found["none"], found["planner"], atol=1e-3)
    assert np.abs(found["far"] - found["planner"]).max() > 1.0


def test_the_priors_logits_are_hugely_negative_exactly_where_an_action_is_illegal(hidden: Hidden) -> None:
    env = BeliefEnv(hidden, baseline(hidden, "mean", 0.1), 500, 50, seed=4)
    for _ in range(20):
        logits, legal = env.prior_logits(), env.action_masks()
        assert ((logits > -1e7) == legal).all()
        assert logits.dtype == np.float32
        env.step(logits.argmax(axis=1))
