"""One network for all clusters: what is served is what was learned, cluster by cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import ConfigError, Interrupted
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from training.checkpoint import Unsaved
from training.learner import Learned, Problem, Table
from training.learners import pooled
from training.learners.pooled import Settings, learn, network_of, train_pooled, trunks
from training.learners.ppo import agent_in, own_prior, training_env
from training.parts.masked_ppo import CutPPO
from training.parts.pooled_env import PooledEnv, pooled_sizes
from training.run_config import RunConfig
from training.runs.cluster_run import Job, train_cluster

SMALL = Settings.model_validate(
    {"ppo": {"samples": 8_192, "customers": 64, "steps": 16, "batch": 256, "hidden": [16, 16]}}
)


@pytest.fixture(scope="module")
def pair(keen: Problem, wary: Problem) -> list[Problem]:
    """Both clusters of the hand-checkable scenario."""
    return [keen, wary]


@pytest.fixture
def env(pair: list[Problem]) -> PooledEnv:
    """Sixty-four customers of each."""
    return PooledEnv([training_env(problem, SMALL.ppo, own_prior(problem, SMALL.ppo)) for problem in pair])


def scrambled(env: PooledEnv, pair: list[Problem]) -> CutPPO:
    """A pooled learner whose every weight is a draw."""
    model = agent_in(env, SMALL.ppo, pooled_sizes(pair), 0.9, seed=4)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


@pytest.mark.parametrize("number", [0, 1])
def test_the_folded_network_gives_the_pooled_networks_logits(
    number: int, env: PooledEnv, pair: list[Problem]
) -> None:
    model, problem = scrambled(env, pair), pair[number]
    folded = network_of(problem, SMALL, trunks(model, pooled_sizes(pair), number)["policy"])
    seen = problem.observations
    numbered = torch.from_numpy(np.column_stack([seen, np.full(len(seen), number, np.float32)]))
    with torch.no_grad():
        features: Any = model.policy.extract_features(numbered)
        expected = model.policy.action_net(model.policy.mlp_extractor.forward_actor(features))
        found = folded.logits(torch.from_numpy(seen))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-4)  # logits here are of size 100
    swapped = network_of(problem, SMALL, trunks(model, pooled_sizes(pair), 1 - number)["policy"])
    assert not torch.allclose(swapped.logits(torch.from_numpy(seen)), expected, atol=0.1)


def test_pooled_customers_live_the_days_they_would_live_in_their_own_cluster(
    env: PooledEnv, pair: list[Problem]
) -> None:
    alone = [training_env(problem, SMALL.ppo, own_prior(problem, SMALL.ppo)) for problem in pair]
    random, ended = np.random.default_rng(1), 0
    for _ in range(40):
        masks = env.action_masks()
        actions = np.where(masks, random.random(masks.shape), -1.0).argmax(axis=1)
        env.step_async(actions)
        observations, rewards, dones, infos = env.step_wait()
        ended += int(dones.sum())
        for k, member in enumerate(alone):
            own = slice(64 * k, 64 * (k + 1))
            member.step_async(actions[own])
            expected = member.step_wait()
            assert (observations[own, :-1] == expected[0]).all()
            assert (observations[own, -1] == k).all()
            assert (rewards[own] == expected[1]).all()
            assert (dones[own] == expected[2]).all()
            for info, theirs in zip(infos[own], expected[3], strict=True):
                assert info.keys() == theirs.keys()
                if info:
                    assert info["terminal_observation"].tolist() == [*theirs["terminal_observation"], k]
    assert ended > 50


def learned_once(problem: Problem) -> Learned:
    """With a floor nobody reaches, so that every candidate is made."""
    return learn(problem, SMALL.model_copy(update={"floor": 1.0}), Unsaved())


def test_the_best_of_pooled_fine_tuned_and_alone_is_exported_and_named(wary: Problem) -> None:
    made = learned_once(wary)
    assert isinstance(made.policy, Table)
    values = {name: wary.value_of(policy) for name, policy in made.shown_beside.items()}
    assert set(values) == {"pooled", "fine_tuned", "per_cluster", "potential_greedy", "whole_step"}
    rivals = {name: values[name] for name in ("pooled", "fine_tuned", "per_cluster")}
    assert wary.value_of(made.policy.actions) == max(rivals.values()) == values[made.notes["won"]]
    spent = made.notes["samples"]
    assert made.samples == sum(spent.values())
    rollout = 64 * 16  # each stage ends with a whole rollout
    assert abs(spent["pooled"] + spent["fine_tuned"] - spent["per_cluster"]) <= 2 * rollout


def test_a_cluster_above_the_floor_is_not_fine_tuned(wary: Problem) -> None:
    low = SMALL.model_copy(update={"floor": 0.0, "compare": False, "pooled_share": 1.0})
    made = learn(wary, low, Unsaved())
    assert made.notes["won"] == "pooled"
    assert set(made.shown_beside) == {"pooled", "potential_greedy", "whole_step"}


def test_jobs_of_a_run_share_one_pooled_network_and_it_is_the_one_each_would_train(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    original = train_pooled

    def counted(problem: Problem, *rest: Any) -> dict[str, Any]:
        trained.append(problem.journey.cluster.name)
        return original(problem, *rest)

    monkeypatch.setattr(pooled, "train_pooled", counted)
    only = SMALL.model_copy(update={"floor": 0.0, "compare": False})
    for name in ("keen", "wary"):
        journey = compile_journey(tiny, name)
        together = learn(Problem(journey, "lifetime_value", 0, tmp_path), only, Unsaved())
        alone = learn(Problem(journey, "lifetime_value", 0), only, Unsaved())
        for ours, theirs in zip(weights_of(together), weights_of(alone), strict=True):
            assert torch.equal(ours, theirs)
    assert trained == ["keen", "keen", "wary"]  # once for both, and once for each without the folder


def weights_of(made: Learned) -> list[torch.Tensor]:
    """The policy trunk."""
    assert made.correction is not None
    return list(made.correction.policy.parameters())


def test_the_document_of_a_run_says_which_won_and_why(
    tiny: Scenario, tiny_path: Path, tmp_path: Path
) -> None:
    settings = SMALL.model_copy(update={"compare": False}).model_dump(mode="json")
    config = RunConfig(learner="pooled", settings=settings, scenario=str(tiny_path), tracking="off")
    job = Job(config, tiny, "wary", "lifetime_value", folder=tmp_path / "wary")
    record = train_cluster(job).record
    won = record["notes"]["won"]
    assert f"{won} {record['score']:.4f}" in record["notes"]["why"]
    assert record["score"] == max(
        record["shown_beside"][name]["score"] for name in record["notes"]["samples"]
    )
    assert list(tmp_path.glob("pooled-*.pt"))
    assert train_cluster(job).record == record  # read back from the folder


def test_an_interrupt_stops_a_stage(wary: Problem) -> None:
    class Stopped(Unsaved):
        def offer(self, state: Any) -> None:
            raise Interrupted("wary: stopped")

    with pytest.raises(Interrupted):
        learn(wary, SMALL, Stopped())


def test_clusters_that_see_different_things_are_not_pooled(wary: Problem, pair: list[Problem]) -> None:
    memory = wary.journey.scenario.memory.model_copy(update={"fatigue_capacity": 5})
    other = wary.journey.scenario.model_copy(update={"memory": memory})
    stranger = Problem(compile_journey(other, "wary"), "lifetime_value", 0)
    with pytest.raises(ConfigError, match="wary.*cannot be pooled"):
        pooled_sizes([pair[0], stranger])
