"""Sweeps: the objective, pruning, going on after an interruption, and what is left to read."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import training.sweeps.trial
from envs.errors import ConfigError, Interrupted, UserError
from tests.training.silence import dead_port
from training.judging.seeds import interquartile_mean
from training.learner import Point
from training.run_config import load_run
from training.runs.cluster_run import Job, Key
from training.runs.train import run as train
from training.sweeps.config import load_sweep
from training.sweeps.sweep import run
from training.sweeps.trial import Progress
from training.tracking.spool import journals, read

TEXT = """
learner: ppo
settings: {{samples: 1000, shaping: none}}
scenario: {scenario}
clusters: [keen, wary]
space:
  learning_rate: {{low: 0.0001, high: 0.1, log: true}}
  batch: {{low: 64, high: 512}}
  hidden: {{choices: [[16], [32, 32]]}}
trials: 8
seeds: [3, 5]
startup_trials: 3
workers: 1
out: {out}
tracking: "{tracking}"
"""


def written(tiny_path: Path, out: Path, tracking: str = "off", **changes: str) -> Path:
    """A sweep config; `changes` replaces whole lines by their key."""
    text = TEXT.format(scenario=tiny_path, out=out, tracking=tracking)
    for key, line in changes.items():
        text = "\n".join(line if row.startswith(f"{key}:") else row for row in text.splitlines()) + "\n"
    out.mkdir(exist_ok=True)
    path = out / "sweep.yaml"
    path.write_text(text)
    return path


class Scripted:
    """An engine whose runs need no learning: the score is a function of settings, cluster and seed."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.trials, self.interrupt_at = 0, interrupt_at

    def final(self, job: Job) -> float:
        """Best at a learning rate of 0.003; every cluster and seed a little different."""
        settings = job.config.settings
        luck = 0.01 * job.config.seed + (0.05 if job.cluster == "wary" else 0.0)
        return 0.9 - 0.2 * abs(math.log10(settings["learning_rate"] / 0.003)) - luck

    def run(
        self, jobs: Sequence[Job], workers: int, show: Callable[[Key, Point], None], stop: Callable[[], bool]
    ) -> list[Any]:
        """One trial's jobs, each with a curve that rises to its score."""
        self.trials += 1
        out = []
        for job in jobs:
            final = self.final(job)
            for tenth in range(11):
                if self.trials == self.interrupt_at and tenth == 1:  # before anything is pruned
                    raise KeyboardInterrupt
                show(job.key, Point(tenth / 10, 100 * tenth, 0.1 * tenth, {"score": final * tenth / 10}))
            out.append(SimpleNamespace(cluster=job.cluster, record={"score": final}))
        return out


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Puts a scripted engine in the engine's place."""

    def put(engine: Scripted | None = None) -> Scripted:
        made = engine or Scripted()
        monkeypatch.setattr(training.sweeps.trial, "engine_module", lambda name: made)
        return made

    return put


def without_times(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of trials that must be the same: their numbers and seconds may differ."""
    return [{k: v for k, v in row.items() if k not in ("trial", "seconds")} for row in table]


def test_a_trials_score_is_the_interquartile_mean_over_clusters_and_seeds(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    scripted()
    best = run(load_sweep(written(tiny_path, tmp_path)))["best"]
    scores = [r["score"] for r in best["runs"]]
    assert [(r["cluster"], r["seed"]) for r in best["runs"]] == [
        ("keen", 3), ("keen", 5), ("wary", 3), ("wary", 5),
    ]  # fmt: skip
    assert best["score"] == pytest.approx(interquartile_mean(scores))
    assert best["score"] == pytest.approx(sum(sorted(scores)[1:3]) / 2)  # two of four are the middle
    assert best["low"] <= best["score"] <= best["high"]


def test_an_interrupted_sweep_goes_on_to_the_trials_of_an_uninterrupted_one(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    scripted()
    whole = run(load_sweep(written(tiny_path, tmp_path / "whole")))
    scripted(Scripted(interrupt_at=5))
    parts = load_sweep(written(tiny_path, tmp_path / "parts"))
    with pytest.raises(Interrupted, match="stopped after 4 trials; the same command goes on"):
        run(parts)
    engine = scripted()
    resumed = run(parts)
    assert engine.trials == 4  # only the running trial was lost
    assert without_times(resumed["trials"]) == without_times(whole["trials"])
    assert len({str(row["params"]) for row in whole["trials"]}) == 8  # nothing is tried twice
    assert run(parts)["trials"] == resumed["trials"]  # done: nothing is run again
    assert engine.trials == 4


def test_a_finished_sweep_is_extended_and_another_sweep_is_refused(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    scripted()
    path = written(tiny_path, tmp_path, trials="trials: 2")
    assert len(run(load_sweep(path))["trials"]) == 2
    assert len(run(load_sweep(path, trials=3))["trials"]) == 3
    with pytest.raises(ConfigError, match="another sweep lies here"):
        run(load_sweep(path, sampler_seed=9))


def test_a_trial_that_lags_is_pruned_and_the_good_ones_are_not(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    engine = scripted()
    table = run(load_sweep(written(tiny_path, tmp_path, trials="trials: 16")))["trials"]
    pruned = [row for row in table if row["state"] == "pruned"]
    complete = [row["score"] for row in table if row["state"] == "complete"]
    assert pruned
    assert len(complete) >= 3
    assert engine.trials == 16
    for row in pruned:  # all of a curve is proportional to its end: half of the earlier ones were better
        rate = abs(math.log10(row["params"]["learning_rate"] / 0.003))
        earlier = table[: table.index(row)]
        better = [r for r in earlier if abs(math.log10(r["params"]["learning_rate"] / 0.003)) < rate]
        assert len(better) >= sum(r["state"] == "complete" for r in earlier) / 2
        assert row["samples"] < 4000
        assert row["score"] is None


def test_what_the_pruner_sees_does_not_depend_on_what_runs_beside_what() -> None:
    keys: list[Key] = [("keen", 0, ""), ("keen", 1, ""), ("wary", 0, "")]
    points = {key: [(d / 10, 0.1 * j + 0.01 * d) for d in range(11)] for j, key in enumerate(keys)}

    def seen(order: Sequence[int]) -> list[tuple[int, float]]:
        told: list[tuple[int, float]] = []
        progress = Progress(keys, lambda step, score: told.append((step, score)))
        left = {j: list(points[key]) for j, key in enumerate(keys)}
        for j in order:
            progress.add(keys[j], *left[j].pop(0))
        return told

    one_after_another = seen(np.repeat([0, 1, 2], 11).tolist())
    assert [step for step, _ in one_after_another] == list(range(1, 25))
    random = np.random.default_rng(1)
    for _ in range(20):
        assert seen(random.permutation(np.repeat([0, 1, 2], 11)).tolist()) == one_after_another


def test_settings_that_cannot_learn_cost_their_trial_and_not_the_sweep(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    class Fragile(Scripted):
        def final(self, job: Job) -> float:
            if self.trials == 2:
                raise ArithmeticError("reward is NaN on day 3")
            return super().final(job)

    engine = scripted(Fragile())
    table = run(load_sweep(written(tiny_path, tmp_path)))["trials"]
    assert [row["state"] for row in table].count("failed") == 1
    assert table[1]["error"] == "reward is NaN on day 3"
    assert engine.trials == 8


def test_every_trial_is_a_child_run_and_the_plot_and_the_table_are_logged(
    tiny_path: Path, tmp_path: Path, scripted: Callable[..., Scripted]
) -> None:
    scripted(Scripted(interrupt_at=3))
    with dead_port() as uri:
        secret = uri.replace("://", "://me:hunter2@")
        config = load_sweep(written(tiny_path, tmp_path, secret, trials="trials: 6"))
        with pytest.raises(Interrupted):
            run(config)
        scripted()
        table = run(config)["trials"]
    (journal,) = journals(tmp_path)  # one tracked run, gone on with
    operations = list(read(journal))
    children = {o["run"]: o["name"] for o in operations if o["op"] == "run" and o["parent"] == "0"}
    assert list(children.values()) == [f"trial {n}" for n in range(7)]
    ends = {children[o["run"]]: o["status"] for o in operations if o["op"] == "end" and o["run"] != "0"}
    assert ends == {f"trial {n}": "KILLED" if n == 2 else "FINISHED" for n in range(7)}
    params = {children[o["run"]]: o["values"] for o in operations if o["op"] == "params" and o["run"] != "0"}
    for row in table:
        assert params[f"trial {row['trial']}"] == {k: str(v) for k, v in row["params"].items()}
    logged = {o["file"] for o in operations if o["op"] == "artifact" and o["run"] == "0"}
    assert logged == {"trials.csv", "importance.png", "best.yaml", "result.json"}
    assert (tmp_path / "importance.png").stat().st_size > 10_000
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == [0, 1, 3, 4, 5, 6]
    texts = [p.read_text() for p in [*tmp_path.glob("spool/*"), tmp_path / "best.yaml"]]
    assert not any("hunter2" in text for text in texts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": "trials: 0"}, "trials: expected 1..100000"),
        ({"seeds": "seeds: []"}, "seeds: expected at least 1 item"),
        ({"seeds": "seed: 1"}, "seed: a sweep has seeds"),
        ({"startup_trials": "prunr: none"}, "did you mean 'pruner'"),
        ({"startup_trials": "pruner: medain"}, "pruner"),
        ({"  batch": "  bacth: {low: 64, high: 512}"}, "did you mean 'batch'"),
        ({"  batch": "  batch: {low: 512, high: 64}"}, "space.batch: expected low below high"),
        ({"  batch": "  batch: {low: 0, high: 64, log: true}"}, "low above 0 for a log scale"),
        ({"  batch": "  batch: {low: 0, high: 64}"}, "space.batch"),
        ({"  batch": "  batch: {low: 64}"}, "space.batch: expected low and high, or choices"),
        ({"  batch": "  batch: {low: 64, high: 512, choices: [1, 2]}"}, "choices, or low and high"),
        ({"  hidden": "  hidden: {choices: [[16], [1]]}"}, "space.hidden"),
    ],
)
def test_a_bad_sweep_config_gets_one_line(
    tiny_path: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError) as raised:
        load_sweep(written(tiny_path, tmp_path, **changes))
    assert words in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert "sweep.yaml:" in str(raised.value)


def test_the_best_run_is_trained_as_it_is_and_scores_what_its_trial_scored(
    tiny_path: Path, tmp_path: Path
) -> None:
    changes = {"learner": "learner: distilled", "settings": "settings: {steps: 60}"}
    changes |= {"trials": "trials: 2", "seeds": "seeds: [3]", "clusters": "clusters: [wary]"}
    document = run(load_sweep(written(tiny_path, tmp_path, **changes)))
    trained = train(load_run(document["best_run"]))
    (own,) = document["best"]["runs"]
    assert trained["clusters"][0]["score"] == own["score"]
    assert trained["seed"] == own["seed"]
