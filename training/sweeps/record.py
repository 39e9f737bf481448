"""What a sweep leaves to read: the table of trials, the importance plot, the best run's config."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes

matplotlib.use("Agg")
import yaml
from matplotlib import pyplot as plt
from optuna.trial import FrozenTrial

from training.sweeps.config import SweepConfig
from training.tracking.redaction import without_password


def rows(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """One row a trial: its state, its score with the interval over seeds, its settings."""
    return [_row(trial) for trial in trials]


def _row(trial: FrozenTrial) -> dict[str, Any]:
    kept = trial.user_attrs
    state = "failed" if "error" in kept else trial.state.name.lower()
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    return {
        "trial": trial.number,
        "state": state,
        "score": trial.value if state == "complete" else None,
        "low": kept.get("low"),
        "high": kept.get("high"),
        "last_score": last,  # of the learning curve: all a pruned trial has
        "params": kept.get("params", {}),
        "runs": kept.get("runs", []),
        "samples": kept.get("samples"),
        "seconds": kept.get("seconds"),
        "error": kept.get("error"),
    }


def write_table(table: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """The trials as CSV, a column a setting."""
    names = sorted({name for row in table for name in row["params"]})
    plain = ["trial", "state", "score", "low", "high", "last_score", "samples", "seconds"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*plain, *names])
        for row in table:
            cells = [row[key] for key in plain] + [row["params"].get(name) for name in names]
            writer.writerow(["" if c is None else f"{c:.6g}" if isinstance(c, float) else c for c in cells])
    return path


def best_run(config: SweepConfig, best: FrozenTrial, out: Path) -> Path:
    """The best trial as a run config that `journey train` takes as it is."""
    run = config.run_with(best.user_attrs["params"], config.seeds[0])
    tracking = without_password(config.tracking)  # a file that is logged holds no password
    run = run.model_copy(update={"out": str(out / "best"), "tracking": tracking})
    path = out / "best.yaml"
    head = (
        f"# Trial {best.number}, the best of a sweep: interquartile mean score {best.value:.4f} "
        f"[{best.user_attrs['low']:.4f}, {best.user_attrs['high']:.4f}] over seeds {config.seeds}.\n"
    )
    body = run.model_dump(mode="json", exclude_none=True)
    path.write_text(head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def draw(table: Sequence[Mapping[str, Any]], importance: Mapping[str, float], path: Path) -> Path:
    """Which settings move the score, and how the search went."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    names = list(importance)[::-1]
    left.barh(names, [importance[name] for name in names], color="tab:blue")
    for place, name in enumerate(names):
        left.text(importance[name] + 0.01, place, f"{importance[name]:.2f}", va="center", fontsize=8)
    left.set_xlim(0.0, 1.1)
    left.set_xlabel("share of the score's variance (fANOVA)")
    complete = [row for row in table if row["state"] == "complete"]
    left.set_title(f"Importance, {len(complete)} complete trials")
    if not importance:
        left.text(0.5, 0.5, "too few complete trials", ha="center", transform=left.transAxes)
    _history(right, table, complete)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _history(axes: Axes, table: Sequence[Mapping[str, Any]], complete: Sequence[Mapping[str, Any]]) -> None:
    numbers = [row["trial"] for row in complete]
    scores = [row["score"] for row in complete]
    spread = [
        [row["score"] - row["low"] for row in complete],
        [row["high"] - row["score"] for row in complete],
    ]
    axes.errorbar(numbers, scores, yerr=spread, fmt="o", markersize=4, capsize=2, label="complete")
    pruned = [row for row in table if row["state"] == "pruned" and row["last_score"] is not None]
    if pruned:
        places, last = [row["trial"] for row in pruned], [row["last_score"] for row in pruned]
        axes.plot(places, last, "x", color="grey", label="pruned, last score")
    best = [max(scores[: i + 1]) for i in range(len(scores))]
    axes.step(numbers, best, where="post", color="black", linewidth=0.8, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("score (0: service only, 1: optimum)")
    axes.set_title("Interquartile mean over clusters and seeds")
    axes.legend(frameon=False, fontsize=8)
