"""One network for all clusters, or one each? One row of `rows.csv` a cluster, seed and arm.

    python experiments/010_pooled/run.py

Arms of equal samples a cluster: `pooled` (all of them in one network), `fine_tuned` (a share of
them pooled, the rest on the cluster alone) and `per_cluster`; `same_updates` is `per_cluster` with
as many customers a cluster as the pooled network has, so with as many rollouts. `pooled_part` is
where fine-tuning began. Scores are exact. Finished seeds are kept; a row belongs to a scenario and a recipe.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numba
import numpy as np

from envs.journey import compile_journey
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from training.checkpoint import Unsaved
from training.learner import Problem
from training.learners.pooled import (
    Settings,
    Stage,
    fine_tuned,
    network_of,
    score_of,
    train_pooled,
)
from training.learners.ppo import learn as learn_alone
from training.network import PolicyNetwork, single_threaded

mpl.use("Agg")
HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parents[1] / "configs" / "scenarios" / "omnichannel_retail.yaml"
ROWS = HERE / "rows.csv"
FIELDS = ("scenario_hash", "recipe", "cluster", "seed", "arm", "samples", "score", "seconds")
ARMS = ("pooled", "fine_tuned", "per_cluster", "same_updates")


def main() -> None:
    """Make the seeds that are missing, then draw them."""
    parser = argparse.ArgumentParser(description="pooled, fine-tuned or per cluster")
    parser.add_argument("--samples", type=int, default=150_000, help="customer-days a cluster")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    numba.set_num_threads(1)
    single_threaded()
    scenario = load_scenario(SCENARIO)
    settings = Settings.model_validate({"ppo": {"samples": options.samples, "judged_every": 10_000}})
    recipe = sha256(settings.model_dump_json().encode()).hexdigest()[:12]
    same = {"scenario_hash": scenario.digest()[:12], "recipe": recipe}
    rows = [row for row in _read() if all(row[key] == value for key, value in same.items())]
    for seed in range(options.seeds):
        problems = [
            Problem(compile_journey(scenario, c.name), "lifetime_value", seed) for c in scenario.clusters
        ]
        for arm in ARMS:
            if not any(int(row["seed"]) == seed and row["arm"] == arm for row in rows):
                rows += [same | {"seed": seed} | row for row in run_arm(arm, problems, settings)]
                _write(rows)
                print(json.dumps(rows[-len(problems) :]), flush=True)
    draw(_read(), scenario)


def run_arm(arm: str, problems: list[Problem], settings: Settings) -> list[dict[str, Any]]:
    """The rows of one arm, a cluster each; seconds are the arm's, shared equally."""
    began, report, out = time.perf_counter(), Stage(Unsaved(), 0.0, 1.0), []
    if arm in ("per_cluster", "same_updates"):
        customers = settings.ppo.customers // (len(problems) if arm == "same_updates" else 1)
        recipe = settings.ppo.model_copy(update={"customers": customers})
        for problem in problems:
            made = learn_alone(problem, recipe, report)
            assert isinstance(made.policy, PolicyNetwork)
            out.append((arm, problem, made.policy, made.samples))
    else:
        share = 1.0 if arm == "pooled" else settings.pooled_share
        weights = train_pooled(problems[0], settings.model_copy(update={"pooled_share": share}), report)
        for problem in problems:
            own = weights[problem.journey.cluster.name]
            network = network_of(problem, settings, own["policy"])
            out.append((arm if share == 1.0 else "pooled_part", problem, network, own["samples"]))
            if share < 1.0:
                network, more = fine_tuned(problem, settings, own, report)
                out.append((arm, problem, network, own["samples"] + more))
    seconds = (time.perf_counter() - began) / len(problems)
    return [
        {
            "cluster": problem.journey.cluster.name, "arm": name, "samples": samples,
            "score": f"{score_of(problem, network):.6f}", "seconds": f"{seconds:.1f}",
        }
        for name, problem, network, samples in out
    ]  # fmt: skip


def draw(rows: list[dict[str, Any]], scenario: Scenario) -> None:
    """Scores by cluster and arm, a mark a seed."""
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for offset, (arm, mark) in enumerate(
        zip(("pooled", "pooled_part", "fine_tuned", "per_cluster", "same_updates"), "os^Dv", strict=True)
    ):
        for position, cluster in enumerate(scenario.clusters):
            scores = [float(r["score"]) for r in rows if r["arm"] == arm and r["cluster"] == cluster.name]
            where = np.full(len(scores), position + 0.15 * (offset - 2))
            axis.plot(
                where,
                scores,
                mark,
                color=f"C{offset}",
                label=arm.replace("_", " ") if position == 0 else None,
            )
    axis.set(xticks=range(len(scenario.clusters)), ylabel="exact score")
    axis.set_xticklabels([cluster.name for cluster in scenario.clusters])
    axis.legend(fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    figure.savefig(HERE / "pooled_or_each.png", dpi=110)
    plt.close(figure)


def _read() -> list[dict[str, Any]]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(rows: list[dict[str, Any]]) -> None:
    with ROWS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
