"""Record 008: the shipped sweep, and its best trial against the defaults on seeds it has not seen.

Both parts go on where they stopped: the sweep by its study, the comparison row by row.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

from envs.files.scenario_file import load_scenario
from training.judging.seeds import interquartile_mean, paired_difference
from training.run_config import RunConfig, load_run
from training.runs.cluster_run import Job, train_cluster
from training.sweeps.config import load_sweep
from training.sweeps.sweep import run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FRESH = (10, 11, 12, 13)  # seeds the sweep has not seen
COLUMNS = ["settings", "seed", "score", "run_hash"]


def main() -> int:
    config = load_sweep(
        ROOT / "configs" / "training" / "sweep.yaml",
        scenario=str(ROOT / "configs" / "scenarios" / "tiny.yaml"),
        out=str(ROOT / "runs" / "008_sweep"),
        tracking="off",
    )
    document = run(config)
    for name in ("trials.csv", "importance.png"):
        shutil.copy(Path(config.out) / name, HERE / name)
    runs = {"best": load_run(document["best_run"]), "defaults": config.run_with({}, 0)}
    for name, base in runs.items():
        for seed in FRESH:
            compare(name, base.model_copy(update={"seed": seed}))
    report({name: base.settings for name, base in runs.items()})
    return 0


def compare(name: str, config: RunConfig) -> None:
    """One row, unless it is there."""
    rows = table()
    key = [name, str(config.seed), config.model_copy(update={"scenario": "tiny"}).digest()]
    if any([row["settings"], row["seed"], row["run_hash"]] == key for row in rows):
        return
    job = Job(config, load_scenario(config.scenario), config.clusters[0], "lifetime_value")
    score = train_cluster(job).record["score"]
    with (HERE / "fresh_seeds.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not rows:
            writer.writerow(COLUMNS)
        writer.writerow([key[0], key[1], f"{score:.6f}", key[2]])


def table() -> list[dict[str, str]]:
    path = HERE / "fresh_seeds.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(settings: dict[str, dict[str, object]]) -> None:
    scores = {name: [float(r["score"]) for r in table() if r["settings"] == name] for name in settings}
    for name, values in scores.items():
        print(name, {k: settings[name][k] for k in ("learning_rate", "entropy", "gae_lambda")})
        print(f"  fresh seeds {FRESH}: {values}, interquartile mean {interquartile_mean(values):.4f}")
    print("best − defaults, paired over seeds:", paired_difference(scores["best"], scores["defaults"]))


if __name__ == "__main__":
    sys.exit(main())
