"""Clusters of hidden types go the whole way: trained, exported, judged as the file, tracked, resumed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from envs.cli import main
from envs.errors import Interrupted
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.personas.models import Hidden
from envs.personas.rollouts import Seen, mean_ahead, rollout_values
from envs.policy.policy import NetworkPolicy, load_bundle
from envs.solve.kernel import legal_masks
from tests.training.silence import dead_port
from training.checkpoint import Checkpoint, Identity, Unsaved
from training.network import PolicyNetwork
from training.personas import judge as hidden_judge
from training.personas import ppo as belief_ppo
from training.personas.env import baseline
from training.personas.export import random_rows, to_file
from training.personas.judge import HiddenJudge, greedy
from training.personas.ppo import BeliefSettings, Corrected, learn

ROWS = 50_000
TINY = {"samples": 4_096, "customers": 64, "steps": 16, "batch": 256, "epochs": 2}
SETTINGS = BeliefSettings.model_validate(TINY)


@pytest.fixture(scope="module")
def hidden(root: Path) -> Hidden:
    """The shipped scenario of hidden types."""
    journey = compile_journey(load_scenario(root / "configs/scenarios/personas.yaml"), "everybody")
    return Hidden(journey, journey.weights())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few customers to choose on and to judge on."""
    monkeypatch.setattr(belief_ppo, "CHOOSERS", 100)
    monkeypatch.setattr(hidden_judge, "CUSTOMERS", 100)


@pytest.fixture(scope="module")
def corrected(hidden: Hidden) -> Corrected:
    """A network whose opinions overrule the prior about as often as not."""
    torch.manual_seed(3)
    network = PolicyNetwork(hidden.journey.encoding.sizes, len(hidden.journey.actions), [16])
    return Corrected(baseline(hidden, "mean", 0.1), network, 20.0)


def rows(hidden: Hidden) -> Seen:
    """Random states and beliefs; half of the masks cut further, as the day's rules do, never wait."""
    random = np.random.default_rng(8)
    block, state, belief, observations = random_rows(hidden, ROWS, 7)
    kernel = hidden.kernels[0]
    legal = np.stack([legal_masks(kernel, m) for m in range(len(kernel.consents))])[block, state]
    cut = (random.random(legal.shape) < 0.4) & (random.random((ROWS, 1)) < 0.5)
    cut[:, 0] = False
    return Seen(block, state, belief, observations, legal & ~cut)


def test_the_file_decides_as_the_learned_policy_in_every_state_at_every_belief(
    hidden: Hidden, corrected: Corrected
) -> None:
    seen = rows(hidden)
    file = NetworkPolicy(to_file(hidden, corrected), hidden.journey, "file")
    chances, _ = file.evaluate(seen.observation, seen.legal)
    served = chances.argmax(axis=1)
    np.testing.assert_array_equal(served, corrected(seen))
    assert (chances[~seen.legal] == 0.0).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    overruled = (served != Corrected(corrected.base)(seen)).mean()
    assert 0.2 < overruled < 0.9  # both halves of the file are heard


def test_the_files_values_are_the_mean_plans_action_values_weighed_by_the_belief(
    hidden: Hidden, corrected: Corrected
) -> None:
    seen = rows(hidden)
    file = NetworkPolicy(to_file(hidden, corrected), hidden.journey, "file")
    values = file.evaluate(seen.observation, seen.legal)[1]
    for i in range(2_000):
        q = [hidden.mean_q[p][seen.block[i], seen.state[i]] for p in range(2)]
        legal = np.isfinite(q[0])
        expected = seen.belief[i, 0] * q[0][legal] + seen.belief[i, 1] * q[1][legal]
        np.testing.assert_allclose(values[i, legal], expected, atol=1e-5)
        assert (values[i, ~legal] < values[i, legal].min()).all()


def test_a_planners_file_is_worth_what_the_planner_is(hidden: Hidden, few: None) -> None:
    planner = Corrected(baseline(hidden, "mean", 0.1))
    file = NetworkPolicy(to_file(hidden, planner), hidden.journey, "file")
    judge = HiddenJudge(hidden)
    found = judge.samples(greedy(file))
    np.testing.assert_allclose(found, judge.planners["ahead"], atol=1e-9)
    assert judge.over(found)["qmdp"].mean > 0.0 == judge.over(found)["ahead"].mean


def test_the_judge_meets_nobody_whom_the_learner_met(hidden: Hidden) -> None:
    seeds = {HiddenJudge(hidden, met).seed for met in ((0, 5_000), (9_000, 14_000), (4_000, 9_000))}
    assert seeds == {9_000, 9_001}
    assert HiddenJudge(hidden, (9_000, 9_001)).seed == 9_002


def test_judged_alone_or_beside_others_a_policy_is_worth_the_same(hidden: Hidden, few: None) -> None:
    judge = HiddenJudge(hidden)
    alone = rollout_values(hidden, {"ahead": mean_ahead(hidden)}, judge.customers, judge.seed)["ahead"]
    np.testing.assert_array_equal(alone, judge.planners["ahead"])
    own = judge.value(judge.planners["mean"])
    assert own.low == own.mean == own.high == hidden.from_start(hidden.mean_values)


JOB = Identity("run", "scenario", "everybody", "lifetime_value", 0)


def weights(policy: Corrected) -> list[Any]:
    """The policy trunk."""
    assert policy.network is not None
    return [p.detach().numpy().copy() for p in policy.network.policy.parameters()]


def test_interrupted_twice_the_weights_and_the_curve_are_those_of_an_uninterrupted_run(
    hidden: Hidden, few: None, tmp_path: Path
) -> None:
    straight = Checkpoint(None, JOB)
    whole = learn(hidden, SETTINGS, 0, straight)
    for after in (1, 2):  # the first offer of a resumed run is where it was stopped
        stop = iter([*[False] * after, True])
        report = Checkpoint(tmp_path / "c.pt", JOB, wanted=partial(next, stop))
        with pytest.raises(Interrupted):
            learn(hidden, SETTINGS, 0, report)
    torch.rand(7)
    resumed = Checkpoint(tmp_path / "c.pt", JOB)
    again = learn(hidden, SETTINGS, 0, resumed)
    assert again.samples == whole.samples == 4_096
    assert again.step == whole.step
    for one, other in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [(p.samples, p.share) for p in resumed.curve] == [(p.samples, p.share) for p in straight.curve]


def mixed(root: Path, folder: Path) -> Path:
    """The shipped scenario with a second cluster, of deal seekers only, who are known to be."""
    body = yaml.safe_load((root / "configs/scenarios/personas.yaml").read_text())
    body["clusters"][0]["share"] = 0.5
    body["clusters"].append({"name": "seekers", "label": "Known", "share": 0.5, "behavior": {}})
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump(body, allow_unicode=True))
    return path


def run_config(folder: Path, scenario: Path, learner: str, settings: dict[str, Any]) -> Path:
    """A run of these settings."""
    body = {"learner": learner, "settings": settings, "scenario": str(scenario), "workers": 1}
    path = folder / f"{learner}.yaml"
    path.write_text(yaml.safe_dump(body | {"out": str(folder / learner)}))
    return path


def test_a_run_trains_both_kinds_of_cluster_and_tells_what_stands_in_for_a_score(
    root: Path, tmp_path: Path, few: None, hidden: Hidden, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_config(tmp_path, mixed(root, tmp_path), "ppo", TINY)
    with dead_port() as uri:
        assert main(["train", str(run), "--tracking", uri, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    everybody, seekers = document["clusters"]
    assert 0.0 < seekers["score"] <= 1.0
    assert document["min_score"] == document["weighted_score"] == seekers["score"]
    assert everybody["score"] is None
    assert "no exact optimum" in everybody["no_score"]
    assert everybody["upper_bound"] == pytest.approx(hidden.from_start(hidden.values))
    for name in ("value", "over_qmdp", "over_mean", "over_ahead"):
        assert everybody[f"{name}_low"] <= everybody[name] <= everybody[f"{name}_high"]
    entry = load_bundle(document["bundle"]).manifest.clusters["everybody"]
    assert entry.simulated is not None
    assert entry.simulated.over["qmdp"].mean == everybody["over_qmdp"]
    assert entry.simulated.reason == everybody["no_score"]
    assert (tmp_path / "ppo" / "scores.csv").read_text().count("everybody,") == 7
    spooled = "".join(p.read_text() for p in (tmp_path / "ppo").rglob("*.jsonl"))
    for name in ("final.over_qmdp_low", "final.upper_bound", "final.value_high", "baseline.mean_ahead"):
        assert name in spooled


def test_a_cluster_trained_as_a_run_is_the_policy_that_was_learned(
    root: Path, tmp_path: Path, few: None, hidden: Hidden, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_config(tmp_path, root / "configs/scenarios/personas.yaml", "ppo", TINY | {"gae_lambda": 0.9})
    assert main(["train", str(run), "--tracking", "off"]) == 0
    page = capsys.readouterr().out
    assert "over QMDP" in page.replace("\n", " ")
    policy = load_bundle(tmp_path / "ppo" / "bundle").policy("everybody")
    learned, seen = learn(hidden, SETTINGS, 0, Unsaved()), rows(hidden)
    chances, _ = policy.evaluate(seen.observation, seen.legal)
    np.testing.assert_array_equal(chances.argmax(axis=1), learned(seen))


@pytest.mark.parametrize(
    ("learner", "settings", "words"),
    [
        ("dqn", {}, "the learner knows no hidden types"),
        ("ppo", {"rewards": "sampled", "prior": "none"}, "correction of a plan"),
    ],
)
def test_what_cannot_be_learned_on_a_belief_is_refused_before_anything_is_trained(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], learner: str, settings: Any, words: str
) -> None:
    run = run_config(tmp_path, mixed(root, tmp_path), learner, settings)
    assert main(["train", str(run), "--tracking", "off"]) == 2
    error = capsys.readouterr().err.strip()
    assert "clusters.everybody.personas" in error
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_sweep_which_ranks_by_exact_scores_refuses_hidden_types_at_once(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = yaml.safe_load((root / "configs/training/sweep.yaml").read_text())
    scenario = mixed(root, tmp_path)
    sweep |= {"scenario": str(scenario), "clusters": [], "out": str(tmp_path / "out"), "tracking": "off"}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    assert main(["sweep", str(path)]) == 2
    assert "clusters.everybody.personas" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
