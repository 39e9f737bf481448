"""One network for all clusters, or one each? One row of `rows.csv` a cluster, seed and arm.

    python experiments/010_pooled/run.py --samples 300000 --seeds 2

Arms of equal samples a cluster: `pooled` (all of them in one network), `fine_tuned` (a share of
them pooled, the rest on the cluster alone) and `per_cluster`; `same_updates` is `per_cluster` with
as many customers a cluster as the pooled network has, so with as many rollouts. `pooled_part` is
where fine-tuning began, `prior` what every arm corrects. Scores are exact: `score` of the exported
policy, which is never below the prior's, `whole` of all that was learned, `step` is how much of it is
exported. Finished arms are kept; a row belongs to a scenario and a recipe.
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
import torch

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from training.checkpoint import Unsaved
from training.judging.judge import bounds
from training.learner import Learned, Problem
from training.learners.pooled import (
    Settings,
    Stage,
    fine_tuned,
    greedy_actions,
    network_of,
    train_pooled,
)
from training.learners.ppo import finished, own_prior
from training.learners.ppo import learn as learn_alone
from training.network import PolicyNetwork
from training.threads import single_threaded

mpl.use("Agg")
HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parents[1] / "configs" / "scenarios" / "omnichannel_retail.yaml"
ROWS = HERE / "rows.csv"
FIELDS = (
    "scenario_hash", "recipe", "cluster", "seed", "arm", "samples", "score", "whole", "step", "seconds",
)  # fmt: skip
ARMS = ("pooled", "fine_tuned", "per_cluster", "same_updates")
MARKS = dict(zip(("prior", "pooled_part", *ARMS), "_sos^D", strict=True))


@single_threaded()
def main() -> None:
    """Make the seeds that are missing, then draw them."""
    parser = argparse.ArgumentParser(description="pooled, fine-tuned or per cluster")
    parser.add_argument("--samples", type=int, default=300_000, help="customer-days a cluster")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    scenario = load_scenario(SCENARIO)
    settings = Settings.model_validate({"ppo": {"samples": options.samples, "judged_every": 10_000}})
    recipe = sha256(settings.model_dump_json().encode()).hexdigest()[:12]
    same = {"scenario_hash": scenario.digest()[:12], "recipe": recipe}
    rows = [row for row in _read() if all(row[key] == value for key, value in same.items())]
    for seed in range(options.seeds):
        problems = [
            Problem(compile_journey(scenario, c.name), "lifetime_value", seed) for c in scenario.clusters
        ]
        for arm in ("prior", *ARMS):
            if not any(int(row["seed"]) == seed and row["arm"] == arm for row in rows):
                rows += [same | {"seed": seed} | row for row in run_arm(arm, problems, settings)]
                _write(rows)
                print(json.dumps(rows[-len(problems) :]), flush=True)
    draw(_read(), scenario)


def run_arm(arm: str, problems: list[Problem], settings: Settings) -> list[dict[str, Any]]:
    """The rows of one arm, a cluster each; seconds are the arm's, shared equally."""
    began, report = time.perf_counter(), Stage(Unsaved(), 0.0, 1.0)
    out: list[tuple[str, Problem, Learned]] = []
    if arm == "prior":
        out = [(arm, problem, uncorrected(problem, settings)) for problem in problems]
    elif arm in ("per_cluster", "same_updates"):
        customers = settings.ppo.customers // (len(problems) if arm == "same_updates" else 1)
        recipe = settings.ppo.model_copy(update={"customers": customers})
        out = [(arm, problem, learn_alone(problem, recipe, report)) for problem in problems]
    else:
        share = 1.0 if arm == "pooled" else settings.pooled_share
        weights = train_pooled(problems[0], settings.model_copy(update={"pooled_share": share}), report)
        for problem in problems:
            own, prior = weights[problem.journey.cluster.name], own_prior(problem, settings.ppo)
            network, samples = network_of(problem, settings, own["policy"]), own["samples"]
            name = arm if share == 1.0 else "pooled_part"
            out.append((name, problem, finished(problem, settings.ppo, network, prior, samples)))
            if share < 1.0:
                network, more = fine_tuned(problem, settings, own, report)
                out.append((arm, problem, finished(problem, settings.ppo, network, prior, samples + more)))
    seconds = (time.perf_counter() - began) / len(problems)
    return [row_of(*each) | {"seconds": f"{seconds:.1f}"} for each in out]


def uncorrected(problem: Problem, settings: Settings) -> Learned:
    """The prior alone: a network of zeros corrects nothing."""
    encoding = problem.journey.encoding
    network = PolicyNetwork(encoding.sizes, len(problem.journey.actions), settings.ppo.hidden)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return finished(problem, settings.ppo, network, own_prior(problem, settings.ppo), 0)


def row_of(arm: str, problem: Problem, learned: Learned) -> dict[str, Any]:
    """Scores of one candidate."""
    actions, whole = greedy_actions(problem, learned), learned.shown_beside["whole_step"]
    return {
        "cluster": problem.journey.cluster.name, "arm": arm, "samples": learned.samples,
        "score": exact(problem, actions), "whole": exact(problem, whole), "step": learned.notes["step"],
    }  # fmt: skip


def exact(problem: Problem, actions: Any) -> str:
    """The exact score of (M, S) actions."""
    return f"{bounds(problem).score(problem.value_of(actions)):.6f}"


def draw(rows: list[dict[str, Any]], scenario: Scenario) -> None:
    """What is left to the optimum by cluster and arm, a mark a seed."""
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    names = [cluster.name for cluster in scenario.clusters]
    for number, (arm, mark) in enumerate(MARKS.items()):
        own = [row for row in rows if row["arm"] == arm]
        where = [names.index(row["cluster"]) + 0.12 * (number - 2.5) for row in own]
        left = [1.0 - float(row["score"]) for row in own]
        axis.plot(where, left, mark, color=f"C{number}", label=arm.replace("_", " "))
    axis.set(yscale="log", xticks=range(len(names)), ylabel="1 − exact score (lower is better)")
    axis.set_xticklabels(names)
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
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
