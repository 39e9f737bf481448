"""Training on the belief: a day pays what not knowing the type costs, at the belief it was decided on."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.hidden import Hidden
from envs.journey import compile_journey
from envs.scenario_file import load_scenario
from training.belief_env import BeliefEnv


def test_a_day_pays_the_believed_loss_of_its_action(root: Any) -> None:
    journey = compile_journey(load_scenario(root / "configs/scenarios/personas.yaml"), "everybody")
    hidden = Hidden(journey, journey.weights())
    env, rng = BeliefEnv(hidden, 64, 50, seed=2), np.random.default_rng(0)
    strides, consents = np.asarray(journey.rules.strides), hidden.kernels[0].consents.tolist()
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
