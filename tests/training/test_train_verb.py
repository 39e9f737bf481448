"""`journey train` as a person runs it: one document, one bundle, one tracked run, clear refusals."""

from __future__ import annotations

import fcntl
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from envs.cli import main
from envs.errors import ConfigError
from envs.policy.policy import load_bundle
from training.run_config import load_run

ENTRY = {"name", "states", "optimum", "service_only", "never", "best_baseline", "value", "score", "edge"}
ENTRY |= {"train_seconds", "samples"}


def train(root: Path, out: Path, *options: str) -> int:
    """Run the planner on `tiny`."""
    run = str(root / "configs" / "training" / "planner.yaml")
    scenario = ["--scenario", str(root / "configs" / "scenarios" / "tiny.yaml")]
    return main(["train", run, *scenario, "--out", str(out), "--workers", "1", *options])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tracking store of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}"


def test_the_document_has_every_figure_of_the_contract_and_the_run_is_tracked(
    root: Path, tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(root, tmp_path / "out", "--tracking", store, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in document["clusters"]] == ["keen", "wary"]
    for cluster in document["clusters"]:
        assert cluster.keys() >= ENTRY
        assert cluster["best_baseline"].keys() == {"name", "value"}
        assert cluster["score"] == pytest.approx(1.0, abs=1e-6)
        assert cluster["best_baseline"]["value"] == max(cluster["baselines"].values())
    bundle = load_bundle(document["bundle"])
    assert bundle.manifest.run_id == document["mlflow_run_id"]
    _check_tracked(store, document)


def _check_tracked(store: str, document: dict[str, Any]) -> None:
    """A parent with the score table and the bundle, a child a cluster with its figures."""
    from mlflow import MlflowClient

    warnings.simplefilter("ignore")  # the library's own deprecations
    client = MlflowClient(store)
    parent = client.get_run(document["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["scenario_hash"] == document["scenario_hash"]
    assert parent.data.params["learner"] == "planner"
    kept = {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert {"bundle", "result.json", "scores.csv", "scores.png"} <= kept
    experiment = client.get_experiment_by_name("journey")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId")}
    assert set(children) == {"keen", "wary"}
    for cluster in document["clusters"]:
        metrics = children[cluster["name"]].data.metrics
        assert metrics["final.score"] == pytest.approx(cluster["score"])
        assert metrics["component.conversion_margin"] == cluster["components"]["conversion_margin"]


def test_workers_change_nothing(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for workers in ("1", "2"):
        options = ["--workers", workers, "--tracking", "off", "--json"]
        assert train(root, tmp_path / workers, *options) == 0
    one, two = (json.loads(line) for line in capsys.readouterr().out.strip().splitlines())
    for a, b in zip(one["clusters"], two["clusters"], strict=True):
        assert {k: v for k, v in a.items() if k != "train_seconds"} == {
            k: v for k, v in b.items() if k != "train_seconds"
        }
    files = [(tmp_path / w / "bundle" / "keen.npz").read_bytes() for w in ("1", "2")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "keem"], "did you mean 'keen'"),
        (["--objective", "retentoin"], "did you mean 'retention'"),
        (["--seed", "-1"], "seed: expected"),
        (["--scenario", "nowhere.yaml"], "no such file"),
        (["--engine", "rey"], "did you mean 'ray'"),
        (["--resume"], "no unfinished run to resume"),
    ],
)
def test_a_slip_gets_one_line_and_exit_2(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert train(root, tmp_path / "out", "--tracking", "off", *options) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learner: pop\nscenario: x\n", "did you mean 'ppo'"),
        ("learner: ppo\nscenario: x\nsetings: {}\n", "did you mean 'settings'"),
        ("learner: ppo\nscenario: x\nsettings: {clip: -1}\n", "settings.clip"),
        ("learner: ppo\nscenario: x\nsettings: {sample: 5}\n", "did you mean 'samples'"),
        ("learner: planner\nscenario: x\nworkers: 0\n", "workers: expected 1..64"),
        ("scenario: x\n", "learner: missing"),
        ("", "empty"),
    ],
)
def test_a_bad_run_config_gets_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert main(["train", str(path)]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


def test_off_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("learner: planner\nscenario: x\ntracking: off\n")
    assert load_run(path).tracking == "off"
    path.write_text("learner: planner\nscenario: x\ntracking: on\n")
    with pytest.raises(ConfigError, match="tracking"):
        load_run(path)


def test_the_second_run_on_a_folder_is_told_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert train(root, tmp_path, "--tracking", "off") == 2
    assert "another run is writing here" in capsys.readouterr().err
