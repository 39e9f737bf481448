"""A sweep: trials proposed by a seeded TPE sampler, one after another, kept in an Optuna study on disk.

Trial by trial the sampler is seeded anew by how many are finished, so a sweep that was
interrupted comes to the same trials as one that was not. The study in the output folder is
the record; table, plot and best run are drawn from it, and MLflow has a child run a trial.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from envs.cli.output import progress, to_json
from envs.errors import ConfigError, Interrupted, JourneyError, UserError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey, refuse_hidden
from envs.scenario.schema import Scenario
from training.interrupt import interruptible
from training.learner import Point
from training.runs.cluster_run import Job
from training.runs.train import chosen, git_commit, locked
from training.sweeps.config import SweepConfig
from training.sweeps.record import best_run, draw, rows, write_table
from training.sweeps.trial import STEPS, Prune, Trial, run_trial, summary
from training.tracking.tracking import Tracker

NAME = "sweep"
WARMUP = 2  # tenths of the first job before anything is pruned

log = logging.getLogger(__name__)


def run(config: SweepConfig) -> dict[str, Any]:
    """Go on to the wanted number of trials; returns the document of `journey sweep`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scenario = load_scenario(config.scenario)
    objective, clusters = chosen(config, scenario)
    for name in clusters:  # trials are ranked by exact scores
        refuse_hidden(compile_journey(scenario, name))
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        study = _study(config, out, f"{scenario.digest()} {objective} {' '.join(clusters)}")
        tracker = Tracker(config.tracking, config.experiment, f"sweep {scenario.name}", out, again=True)
        sweep = Sweep(config, scenario, objective, clusters, study, tracker)
        try:
            sweep.describe()
            sweep.go_on()
            return sweep.finish(out)
        except (KeyboardInterrupt, Interrupted):
            tracker.end(tracker.parent, "KILLED")
            done = len(finished(study))
            raise Interrupted(f"stopped after {done} trials; the same command goes on in {out}") from None
        except BaseException:
            tracker.end(tracker.parent, "FAILED")
            raise


class Sweep:
    """One session of a sweep."""

    def __init__(
        self, config: SweepConfig, scenario: Scenario, objective: str, clusters: list[str],
        study: optuna.Study, tracker: Tracker,
    ) -> None:  # fmt: skip
        self._config, self._scenario, self._objective = config, scenario, objective
        self._clusters, self._study, self._tracker = clusters, study, tracker

    def describe(self) -> None:
        """What the parent run is."""
        tracker, config = self._tracker, self._config
        may_change = {"seed", "trials", "out", "tracking", "workers", "engine", "checkpoint_seconds"}
        tracker.params(tracker.parent, config.model_dump(mode="json", exclude=may_change))  # params may not
        facts = {"scenario_hash": self._scenario.digest(), "git_commit": git_commit()}
        tracker.tags(tracker.parent, facts | {"trials": config.trials, "objective": self._objective})

    def go_on(self) -> None:
        """Run trials until there are as many as wanted."""
        config, study = self._config, self._study
        with interruptible() as stop, progress() as bar:
            done = len(finished(study))
            task = bar.add_task("trials", total=config.trials, completed=done, note="")
            while done < config.trials:
                seed = np.random.SeedSequence([config.sampler_seed, done]).generate_state(1)[0]
                study.sampler = optuna.samplers.TPESampler(
                    seed=int(seed), n_startup_trials=config.startup_trials
                )
                self._one(study.ask(), stop)
                done = len(finished(study))
                best = best_of(study)
                note = f"best {best.value:.4f} (trial {best.number})" if best else ""
                bar.update(task, completed=done, note=note)
                if stop():
                    raise Interrupted("stopped between trials")

    def _one(self, trial: optuna.Trial, stop: Callable[[], bool]) -> None:
        """Run one trial; told to the study and tracked however it ends."""
        params = self._config.propose(trial)
        trial.set_user_attr("params", params)
        run = self._tracker.child(f"trial {trial.number}", {"trial": trial.number})
        self._tracker.params(run, params)
        jobs = [
            Job(self._config.run_with(params, seed), self._scenario, cluster, self._objective, label="trial")
            for cluster in self._clusters
            for seed in self._config.seeds
        ]

        def judged(step: int, score: float) -> None:
            trial.report(score, step)
            if trial.should_prune():
                raise Prune

        try:
            result = run_trial(jobs, self._config.run_with(params, 0), judged, stop)
        except (UserError, Interrupted, KeyboardInterrupt):
            self._study.tell(trial, state=TrialState.FAIL)  # begun again by the next session
            self._tracker.end(run, "KILLED")
            raise
        except (JourneyError, ArithmeticError, ValueError, RuntimeError) as error:  # they cannot learn
            log.warning("trial %s failed: %s", trial.number, error)
            trial.set_user_attr("error", str(error)[:500])
            self._study.tell(trial, state=TrialState.FAIL)
            self._tracker.tags(run, {"state": "failed", "error": str(error)[:200]})
            self._tracker.end(run, "FAILED")
            return
        self._tell(trial, result, run)

    def _tell(self, trial: optuna.Trial, result: Trial, run: str | None) -> None:
        for key, value in summary(result).items():
            trial.set_user_attr(key, value)
        for (cluster, seed, _), curve in result.curves.items():
            named = [_renamed(point, f"{cluster}.seed_{seed}") for point in curve]
            self._tracker.curve(run, named, result.began)
        if result.outcomes:
            estimate = result.estimate
            self._study.tell(trial, estimate.mean)
            figures = {"score": estimate.mean, "score_low": estimate.low, "score_high": estimate.high}
            self._tracker.metrics(run, figures)
        else:
            self._study.tell(trial, state=TrialState.PRUNED)
        self._tracker.tags(run, {"state": "complete" if result.outcomes else "pruned"})
        self._tracker.end(run)

    def finish(self, out: Path) -> dict[str, Any]:
        """Write and log the record of all trials; returns the document."""
        config, study, tracker = self._config, self._study, self._tracker
        best = best_of(study)
        if best is None:
            raise UserError("no trial was completed", where=str(out), hint="every one failed: see trials.csv")
        table = rows(finished(study))
        files = [write_table(table, out / "trials.csv"), best_run(config, best, out)]
        importance = importances(study, config.sampler_seed)
        files.append(draw(table, importance, out / "importance.png"))
        tracker.metrics(tracker.parent, {"best_score": best.value})
        document = {
            "scenario": self._scenario.name,
            "scenario_hash": self._scenario.digest(),
            "objective": self._objective,
            "learner": config.learner,
            "clusters": self._clusters,
            "seeds": config.seeds,
            "trials": table,
            "best": next(row for row in table if row["trial"] == best.number),
            "importance": importance,
            "best_run": str(out / "best.yaml"),
            "mlflow_run_id": tracker.run_id,
        }
        (out / "result.json").write_text(to_json(document))
        for file in [*files, out / "result.json"]:
            tracker.artifact(tracker.parent, file)
        tracker.end(tracker.parent)
        return document


def _renamed(point: Point, prefix: str) -> Point:
    """One job's metrics among those of its trial."""
    return replace(point, metrics={f"{prefix}.{name}": value for name, value in point.metrics.items()})


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count: complete, pruned, or impossible to learn with; in their order."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [t for t in study.get_trials(deepcopy=False) if t.state in ended or "error" in t.user_attrs]


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the highest score; of equals the first."""
    complete = [t for t in finished(study) if t.state == TrialState.COMPLETE]
    return max(complete, key=lambda t: (t.value, -t.number), default=None)


def importances(study: optuna.Study, seed: int) -> dict[str, float]:
    """Share of the score's variance each setting explains in complete trials (fANOVA); empty if too few."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    with contextlib.suppress(ValueError, RuntimeError):  # fewer than two trials, or all alike
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    return {}


def _study(config: SweepConfig, out: Path, problem: str) -> optuna.Study:
    """The study in the folder, or a new one; raises `ConfigError` where it is another sweep's."""
    storage = JournalStorage(JournalFileBackend(str(out / "study.journal")))
    study = optuna.create_study(
        storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, pruner=_pruner(config)
    )
    identity = f"{config.identity()} {problem}"
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", identity)
    elif known != identity:
        hint = "choose another out; only trials, workers, engine and tracking may change"
        raise ConfigError("another sweep lies here", where=str(out), hint=hint)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # its process was killed: the folder is locked by us
    return study


def _pruner(config: SweepConfig) -> optuna.pruners.BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(config.startup_trials, n_warmup_steps=WARMUP)
    if config.pruner == "hyperband":
        most = STEPS * len(config.seeds) * max(len(config.clusters), 1)
        return optuna.pruners.HyperbandPruner(min_resource=WARMUP + 1, max_resource=most)
    return optuna.pruners.NopPruner()
