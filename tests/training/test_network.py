"""The exported file answers what torch answers, on every input there can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.errors import BundleError, UserError
from envs.policy.policy import NetworkPolicy
from training.judging.judge import exact_q
from training.judging.values import fit_values
from training.learner import Problem
from training.network import PolicyNetwork, to_onnx


@pytest.fixture(scope="module")
def network(keen: Problem) -> PolicyNetwork:
    torch.manual_seed(3)
    return PolicyNetwork(keen.journey.encoding.sizes, len(keen.journey.actions))


def last_bias(network: PolicyNetwork) -> torch.Tensor:
    """The bias of the logits."""
    layer = network.policy[-1]
    assert isinstance(layer, torch.nn.Linear)
    return layer.bias


def test_the_onnx_file_agrees_with_torch(network: PolicyNetwork, keen: Problem) -> None:
    policy = NetworkPolicy(to_onnx(network), keen.journey, "file")
    with torch.no_grad():
        expected, values = (t.numpy() for t in network(torch.from_numpy(keen.observations)))
    got = policy.raw(keen.observations)
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).all()
    np.testing.assert_allclose(got, expected, atol=1e-6)
    every = np.ones_like(keen.legal)
    np.testing.assert_allclose(policy.evaluate(keen.observations, every)[1], values, atol=1e-5)


def test_one_hot_tells_every_state_apart(network: PolicyNetwork, keen: Problem) -> None:
    with torch.no_grad():
        ones = network.one_hot(torch.from_numpy(keen.observations)).numpy()
    assert (ones.sum(axis=1) == len(keen.journey.encoding.names)).all()
    assert len(np.unique(ones, axis=0)) == keen.states


def test_a_belief_passes_through_unchanged() -> None:
    network = PolicyNetwork((3, 0), 2)
    with torch.no_grad():
        row = network.one_hot(torch.tensor([[1.0, 0.25]])).numpy()
    np.testing.assert_array_equal(row, [[0.0, 1.0, 0.0, 0.25]])


def test_masks_leave_no_probability_on_illegal_actions(network: PolicyNetwork, keen: Problem) -> None:
    probabilities, _ = NetworkPolicy(to_onnx(network), keen.journey, "file").evaluate(
        keen.observations, keen.legal
    )
    assert probabilities[~keen.legal].sum() == 0.0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_a_legal_action_survives_enormous_logits_elsewhere(keen: Problem) -> None:
    network = PolicyNetwork(keen.journey.encoding.sizes, len(keen.journey.actions))
    with torch.no_grad():
        last_bias(network).copy_(torch.tensor([0.0, 1e6, 0.0, 0.0, 0.0, 0.0]))
    only_wait = np.zeros_like(keen.legal)
    only_wait[:, 0] = True
    probabilities, _ = NetworkPolicy(to_onnx(network), keen.journey, "file").evaluate(
        keen.observations, only_wait
    )
    assert (probabilities[:, 0] == 1.0).all()


def test_nan_is_refused_on_the_way_in_and_on_the_way_out(keen: Problem) -> None:
    network = PolicyNetwork(keen.journey.encoding.sizes, len(keen.journey.actions))
    policy = NetworkPolicy(to_onnx(network), keen.journey, "file")
    observation = keen.observations[:2].copy()
    observation[1, 2] = np.nan
    with pytest.raises(UserError, match="row 1, fatigue"):
        policy.evaluate(observation, keen.legal[:2])
    with torch.no_grad():
        last_bias(network).fill_(torch.nan)
    broken = NetworkPolicy(to_onnx(network), keen.journey, "keen.onnx")
    with pytest.raises(BundleError, match=r"keen\.onnx: network gave a number that is not finite"):
        broken.evaluate(keen.observations[:2], keen.legal[:2])


def test_a_network_for_other_observations_is_refused(keen: Problem) -> None:
    with pytest.raises(BundleError, match="network has another layout"):
        NetworkPolicy(to_onnx(PolicyNetwork((2, 2), 6)), keen.journey, "file")


def test_the_value_trunk_learns_the_exact_q_of_its_policy(keen: Problem) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(keen.journey.encoding.sizes, len(keen.journey.actions))
    actions = keen.solution.actions
    q = exact_q(keen, actions).reshape(keen.states, -1)
    fit_values(network, keen.observations, q, actions.ravel(), seed=0)
    with torch.no_grad():
        got = network.q_values(torch.from_numpy(keen.observations)).numpy()
    error = np.abs(got - q)[np.isfinite(q)]
    assert error.mean() < 0.01 * q[np.isfinite(q)].std()
