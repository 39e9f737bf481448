"""No learner's file ever chooses what the rules forbid, whatever it was taught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import BundleError
from envs.journey.journey import compile_journey
from envs.policy.policy import NetworkPolicy, Policy, TablePolicy, serving_probabilities
from envs.scenario.schema import Scenario
from training.checkpoint import Unsaved
from training.judging.export import to_npz
from training.learner import Problem, Table
from training.learners import distilled, ppo
from training.network import PolicyNetwork, to_onnx
from training.ope.log_panel import observe
from training.run_config import learner_module, learner_names

STATES = 1_000_000
CHUNK = 125_000
# a few steps of each: legality must hold for any weights
QUICK = {
    "samples": 1_024, "customers": 64, "steps": 16, "batch": 128, "days": 8, "iterations": 2,
    "judged_every": 1_000, "floor": 0.0, "compare": False, "visits": 4_096, "epochs": 2,
    "stages": [{"days": 50_000, "explore": 0.5}],
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tiny: Scenario) -> tuple[Any, Any]:
    """Observations and masks of random states, churned ones too; half of the masks cut further."""
    journey, random = compile_journey(tiny, "keen"), np.random.default_rng(11)
    sizes = journey.rules.sizes.copy()
    sizes[0] += 1
    states = random.integers(0, sizes, size=(STATES, len(sizes)))
    observations, legal = observe(journey, states)
    # the service clears bits for reasons of its own, never that of wait
    cleared = (random.random(legal.shape) < 0.3) & (random.random((STATES, 1)) < 0.5)
    cleared[:, 0] = False
    return observations, legal & ~cleared


def illegal(policy: Policy, observations: Any, legal: Any) -> int:
    """Illegal actions with any chance, greedy or as served."""
    count = 0
    for low in range(0, len(legal), CHUNK):
        part, mask = observations[low : low + CHUNK], legal[low : low + CHUNK]
        probabilities, values = policy.evaluate(part, mask)
        served = serving_probabilities(probabilities, values, mask, exploration=0.5, max_regret=1e9)
        greedy = probabilities.argmax(axis=1)
        count += int((~mask[np.arange(len(mask)), greedy]).sum() + (served[~mask] > 0).sum())
        assert np.allclose(served.sum(axis=1), 1.0)
    return count


def quick(kind: Any) -> Any:
    """Settings of a learner, and of the recipes inside it, cut to a few steps."""
    known = {key: value for key, value in QUICK.items() if key in kind.model_fields}
    inner = {"ppo": ppo.Settings, "teacher": distilled.Settings}
    nested = {name: quick(recipe) for name, recipe in inner.items() if name in kind.model_fields}
    return kind(**known, **nested)


def taught(problem: Problem, learner: str) -> Policy:
    """The learner's file after a few steps."""
    module = learner_module(learner)
    settings = quick(module.Settings)
    policy = module.learn(problem, settings, Unsaved()).policy
    if isinstance(policy, Table):
        return TablePolicy(to_npz(problem, policy), problem.journey, "table")
    return NetworkPolicy(to_onnx(policy), problem.journey, "network")


@pytest.mark.parametrize("learner", learner_names())
def test_no_learner_chooses_an_illegal_action_in_a_million_states(
    keen: Problem, drawn: tuple[Any, Any], learner: str
) -> None:
    observations, legal = drawn
    assert (~legal).sum() > STATES
    assert illegal(taught(keen, learner), observations, legal) == 0


def biased(problem: Problem, action: int, bias: float) -> NetworkPolicy:
    """A network that wants one action everywhere."""
    network = PolicyNetwork(problem.journey.encoding.sizes, len(problem.journey.actions), [8], [8])
    last: Any = network.policy[-1]
    with torch.no_grad():
        last.bias[action] = bias
    return NetworkPolicy(to_onnx(network), problem.journey, "network")


@pytest.mark.parametrize("action", range(1, 6))
def test_a_network_that_insists_on_one_action_is_not_heard_where_it_is_illegal(
    keen: Problem, drawn: tuple[Any, Any], action: int
) -> None:
    observations, legal = drawn
    policy = biased(keen, action, 1e6)
    some = slice(0, 50_000)
    assert illegal(policy, observations[some], legal[some]) == 0
    greedy = policy.evaluate(observations[some], legal[some])[0].argmax(axis=1)
    np.testing.assert_array_equal(greedy == action, legal[some][:, action])


def test_a_network_that_is_not_finite_is_refused(keen: Problem, drawn: tuple[Any, Any]) -> None:
    observations, legal = drawn
    with pytest.raises(BundleError, match="not finite"):
        biased(keen, 1, float("nan")).evaluate(observations[:8], legal[:8])
