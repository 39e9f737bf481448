"""A training run: every cluster a job, one bundle, one tracked run.

What a cluster's training is stands in `cluster_run.py`, where it runs in `engine.py`; here are
the records on disk, the bundle and what is tracked.
"""

from __future__ import annotations

import csv
import datetime as dt
import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envs.cli.output import to_json
from envs.errors import ConfigError, Interrupted
from envs.files.document import did_you_mean
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.policy.bundle import Manifest, write_bundle
from envs.scenario.schema import Scenario
from training.personas.run import refuse_unfit
from training.run_config import RunConfig
from training.runs.cluster_run import Job, Outcome
from training.runs.engine import engine_module, train_all
from training.runs.plots import draw
from training.runs.unfinished import begin, end
from training.tracking.tracking import Tracker


def run(config: RunConfig, resume: bool = False) -> dict[str, Any]:
    """Train, judge, export and track; returns design §8's document.

    `resume` goes on with the unfinished run in the output folder, to the same result.
    """
    scenario = load_scenario(config.scenario)
    objective, clusters = chosen(config, scenario)
    refuse_unfit(config, scenario, clusters)
    engine_module(config.engine)  # a wrong name, or an extra that is missing, before anything begins
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        unfinished = begin(out, config, scenario, resume)
        name = f"{scenario.name} {config.learner}"
        tracker = Tracker(config.tracking, config.experiment, name, out, again=resume)
        if not resume:  # a resumed run was described, and parameters of a run cannot change
            _describe(tracker, config, scenario, objective)
        jobs = [Job(config, scenario, c, objective, folder=unfinished / c) for c in clusters]
        try:
            outcomes = train_all(jobs, config.workers, config.engine)
            document = _finish(config, scenario, objective, outcomes, tracker)
            end(unfinished)
            return document
        except (KeyboardInterrupt, Interrupted):
            tracker.end(tracker.parent, "KILLED")
            raise Interrupted(f"stopped; the checkpoints are in {unfinished}") from None
        except BaseException:
            tracker.end(tracker.parent, "FAILED")
            raise


def chosen(config: RunConfig, scenario: Scenario) -> tuple[str, list[str]]:
    """The objective and the clusters, both known to the scenario."""
    objective = config.objective or scenario.default_objective
    if objective not in scenario.objectives:
        names = list(scenario.objectives)
        raise ConfigError("unknown objective", got=objective, hint=did_you_mean(objective, names))
    known = [c.name for c in scenario.clusters]
    for name in config.clusters:
        if name not in known:
            raise ConfigError("unknown cluster", got=name, hint=did_you_mean(name, known))
    return objective, config.clusters or known


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """One run at a time in an output folder."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "choose another --out"
            raise ConfigError("another run is writing here", where=str(out), hint=hint) from None
        yield


def _describe(tracker: Tracker, config: RunConfig, scenario: Scenario, objective: str) -> None:
    """What the parent run is, before it starts."""
    tracker.params(tracker.parent, config.model_dump(mode="json") | {"objective": objective})
    facts = {"scenario_hash": scenario.digest(), "run_hash": config.digest(), "git_commit": git_commit()}
    tracker.tags(tracker.parent, facts)


def _finish(
    config: RunConfig, scenario: Scenario, objective: str, outcomes: list[Outcome], tracker: Tracker
) -> dict[str, Any]:
    """Write the bundle and the records, log everything, return the document."""
    out = Path(config.out)
    bundle = write_bundle(
        out / "bundle",
        manifest(config, scenario, objective, outcomes, tracker.run_id),
        scenario,
        {o.file: o.content for o in outcomes},
        {"scenario": scenario.digest(), "clusters": {o.cluster: o.paths for o in outcomes}},
    )
    records = [o.record for o in outcomes]
    document = {
        "scenario": scenario.name,
        "scenario_hash": scenario.digest(),
        "objective": objective,
        "learner": config.learner,
        "seed": config.seed,
        "clusters": records,
        **_overall(records),
        "bundle": str(bundle),
        "mlflow_run_id": tracker.run_id,
    }
    (out / "result.json").write_text(to_json(document))
    (out / "run.json").write_text(config.model_dump_json(indent=1))
    for outcome in outcomes:
        (out / f"{outcome.cluster}.curve.json").write_text(to_json(outcome.curve))
    score_table(records, out / "scores.csv")
    plots = draw(outcomes, out / "plots")
    _track(tracker, config, outcomes, document, [out / "result.json", out / "scores.csv", bundle, *plots])
    return document


def _overall(records: list[dict[str, Any]]) -> dict[str, float | None]:
    """The minimum over clusters, and the mean weighted by their shares."""
    scored = [r for r in records if r["score"] is not None]
    if not scored:
        return {"min_score": None, "weighted_score": None}
    weight = sum(r["share"] for r in scored)
    return {
        "min_score": min(r["score"] for r in scored),
        "weighted_score": sum(r["share"] * r["score"] for r in scored) / weight,
    }


def score_table(records: list[dict[str, Any]], path: Path) -> None:
    """One row a cluster and policy: the learned one, its references, what is shown beside it."""
    rows = [["cluster", "policy", "value", "score"]]
    for record in records:
        bound = "upper_bound" if record["optimum"] is None else "optimum"
        room = record[bound] - record["service_only"]
        values = {"learned": record["value"], bound: record[bound]} | record["baselines"]
        values |= {name: beside["value"] for name, beside in record["shown_beside"].items()}
        for name, value in values.items():
            flat = record["score"] is None
            score = "" if flat else f"{(value - record['service_only']) / room:.6f}"
            rows.append([record["name"], name, f"{value:.6f}", score])
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _track(
    tracker: Tracker, config: RunConfig, outcomes: list[Outcome], document: dict[str, Any], files: list[Path]
) -> None:
    for outcome in outcomes:
        child = tracker.child(outcome.cluster)
        record = outcome.record
        facts = {"cluster": outcome.cluster, "seed": config.seed, "samples": record["samples"]}
        tracker.params(child, facts | {"learner": config.learner, "settings": config.settings})
        tracker.curve(child, outcome.curve, outcome.began)
        figures = {k: v for k, v in record.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        tracker.metrics(child, {f"final.{k}": v for k, v in figures.items()})
        tracker.metrics(child, {f"component.{k}": v for k, v in record["components"].items()})
        tracker.metrics(child, {f"baseline.{k}": v for k, v in record["baselines"].items()})
        tracker.end(child)
    tracker.metrics(tracker.parent, {k: document[k] for k in ("min_score", "weighted_score")})
    for file in files:
        tracker.artifact(tracker.parent, file, "bundle" if file.is_dir() else None)
    tracker.end(tracker.parent)


def manifest(
    config: RunConfig, scenario: Scenario, objective: str, outcomes: list[Outcome], run_id: str | None
) -> Manifest:
    """The bundle's manifest."""
    journey = compile_journey(scenario, outcomes[0].cluster)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    return Manifest(
        name=scenario.name,
        version=now.strftime("%Y%m%dT%H%M%SZ"),
        scenario_hash=scenario.digest(),
        objective=objective,
        learner=config.learner,
        observation=list(journey.encoding.levels),
        actions=[a.key for a in journey.actions],
        exploration=config.exploration,
        clusters={o.cluster: o.entry for o in outcomes},
        run_id=run_id,
        git_commit=git_commit(),
        created_at=now.isoformat(),
    )


def git_commit() -> str | None:
    """The commit of the code that runs, where it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
