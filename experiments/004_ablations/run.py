"""What is each part of the PPO recipe worth? One row of `rows.csv` a variant and seed.

    python experiments/004_ablations/run.py

One cluster, a third of the recipe's samples, one switch at a time; exact scores of what would be
exported. Finished rows are kept; a row belongs to a scenario and to its settings.
"""

from __future__ import annotations

import csv
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.solve.references import References
from training.checkpoint import Unsaved
from training.judging.judge import references
from training.judging.seeds import interquartile_mean, paired_difference
from training.learner import Problem, Table
from training.learners import ppo
from training.threads import single_threaded

mpl.use("Agg")
HERE = Path(__file__).resolve().parent
SCENARIO, CLUSTER = HERE.parents[1] / "configs" / "scenarios" / "omnichannel_retail.yaml", "early_adopter"
ROWS, SEEDS = HERE / "rows.csv", 5
FIELDS = ("scenario_hash", "settings_hash", "variant", "seed", "samples", "score", "seconds")
SAMPLES, NEVER = 500_000, 1_000_000  # never: no point of the learning curve after the first

VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "no prior": {"prior": "none"},
    "no prior, no potential": {"prior": "none", "shaping": "none"},
    "sampled rewards, potential": {"rewards": "sampled"},
    "sampled rewards, nothing else": {"rewards": "sampled", "shaping": "none"},
    "crude potential (every consent)": {"shaping": "relaxed_all"},
    "clocks not staggered": {"staggered": False},
    "returns not scaled": {"return_size": 0.0},
    "no nearness to the prior": {"entropy": 0.0},
    "lambda 0.9": {"gae_lambda": 0.9},
    "125,000 samples": {"samples": 125_000},
    "250,000 samples": {"samples": 250_000},
    "1,000,000 samples": {"samples": 1_000_000},
}


@single_threaded()
def main() -> None:
    """Make the rows that are missing, then draw and print them."""
    scenario = load_scenario(SCENARIO)
    journey = compile_journey(scenario, CLUSTER)
    known = references(Problem(journey, "lifetime_value", 0))
    wanted = {}
    for seed in range(SEEDS):
        for name, changes in VARIANTS.items():
            settings = ppo.Settings.model_validate({"samples": SAMPLES, "judged_every": NEVER} | changes)
            digest = sha256(settings.model_dump_json().encode()).hexdigest()[:12]
            wanted[scenario.digest()[:12], digest, name, str(seed)] = settings
    rows = [row for row in _read() if tuple(row[k] for k in FIELDS[:4]) in wanted]
    done = {tuple(row[k] for k in FIELDS[:4]) for row in rows}
    for key, settings in wanted.items():
        if key not in done:
            problem = Problem(journey, "lifetime_value", int(key[3]))
            found = run_cell(problem, settings, known)
            rows.append(dict(zip(FIELDS, (*key, *found), strict=True)))
            _write(rows)
            print(*rows[-1].values(), flush=True)
    print(table(rows, known))
    draw(rows, known)


def run_cell(problem: Problem, settings: ppo.Settings, known: References) -> tuple[str, str, str]:
    """Samples, score and seconds of one run."""
    began = time.process_time()
    learned = ppo.learn(problem, settings, Unsaved())
    seconds = time.process_time() - began
    if isinstance(learned.policy, Table):
        value = problem.value_of(learned.policy.actions)
    else:
        value = ppo.greedy_value(problem, learned.policy)
    return str(learned.samples), f"{known.score(value):.6f}", f"{seconds:.1f}"


def scores(rows: list[dict[str, str]], variant: str) -> list[float]:
    """Of the seeds, in order."""
    found = sorted((r for r in rows if r["variant"] == variant), key=lambda r: int(r["seed"]))
    return [float(row["score"]) for row in found]


def table(rows: list[dict[str, str]], known: References) -> str:
    """Markdown: what is lost against the recipe, paired by seed."""
    recipe = scores(rows, "recipe")
    lines = [
        "| variant | score (interquartile mean) | least | against the recipe, 95 % interval |",
        "|---|--:|--:|---|",
    ]
    for name in VARIANTS:
        found = scores(rows, name)
        told = ""
        if name != "recipe" and len(found) == len(recipe) > 1:
            d = paired_difference(found, recipe)
            told = f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
        if found:
            lines.append(f"| {name} | {interquartile_mean(found):.4f} | {min(found):.4f} | {told} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, str]], known: References) -> None:
    """A dot a seed; the gap to the optimum on a logarithmic scale."""
    import matplotlib.pyplot as plt

    problem = Problem(compile_journey(load_scenario(SCENARIO), CLUSTER), "lifetime_value", 0)
    phi = ppo.shaping_potential(problem, ppo.Settings())
    greedy = ppo.greedy_policy(problem.kernel, problem.weights, phi)
    potential = known.score(problem.value_of(greedy))
    figure, axes = plt.subplots(figsize=(8.0, 4.6), layout="constrained")
    names = [name for name in reversed(VARIANTS) if scores(rows, name)]
    for place, name in enumerate(names):
        gaps = 1.0 - np.array(scores(rows, name))
        axes.plot(gaps, np.full(len(gaps), place), "o", color="tab:blue", alpha=0.6, markersize=5)
    label = "the potential's greedy policy, no learning"
    axes.axvline(1.0 - (potential or 0.0), color="tab:orange", label=label)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"gap to the optimum, 1 − score (to the right is better); {CLUSTER}, a dot a seed")
    axes.legend(loc="lower left", frameon=False, fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(HERE / "ablations.png", dpi=130)


def _read() -> list[dict[str, str]]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(rows: list[dict[str, str]]) -> None:
    part = ROWS.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(ROWS)


if __name__ == "__main__":
    main()
