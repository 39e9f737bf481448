"""What the other learners and the libraries' defaults reach, one row of `rows.csv` a finished cell.

    python experiments/006_other_learners/run.py [--only NAME] [--seeds 0 1 2]

One cluster of each of four scenarios, not every learner on each (`WHERE`). Our learners run as
their configs say but for `SETTINGS`; the library defaults (stable-baselines3's DQN and PPO,
sb3-contrib's MaskablePPO) run on the Gymnasium environment for a fixed number of processor
seconds, and an illegal action passes as wait. Every policy is valued exactly. Finished rows are
kept: a row belongs to a scenario and a config, and only missing ones are made.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.gym_env import CustomerJourneyEnv
from envs.solve.references import References
from training.checkpoint import Unsaved
from training.judging.judge import bounds
from training.learner import Problem, Table
from training.learners.ppo import greedy_value
from training.run_config import RunConfig, learner_module, load_run, settings_of
from training.threads import single_threaded

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs"
ROWS = HERE / "rows.csv"
CLUSTERS = {
    "tiny": "wary", "omnichannel_retail": "early_adopter", "subscription_telecom": "heavy_user",
    "retail_bank": "young",
}  # fmt: skip
OURS = ("dqn", "bandit")
LIBRARY: dict[str, Any] = {"sb3_dqn": DQN, "sb3_ppo": PPO, "maskable_ppo": MaskablePPO}
SECONDS = 60.0  # of one thread, of a library default
SETTINGS: dict[str, dict[str, Any]] = {"dqn": {"samples": 600_000}}  # other than the shipped config's
WHERE: dict[str, tuple[str, ...]] = {
    "dqn": tuple(CLUSTERS),
    "bandit": tuple(CLUSTERS),
    **dict.fromkeys(LIBRARY, ("omnichannel_retail", "subscription_telecom")),
}
FIELDS = (
    "scenario", "cluster", "learner", "seed", "scenario_hash", "run_hash", "optimum", "service_only",
    "value", "score", "cpu_seconds", "samples",
)  # fmt: skip


class Clock(BaseCallback):
    """Stops learning when its processor seconds are over: other work on the machine costs none."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.process_time() + seconds

    def _on_step(self) -> bool:
        return time.process_time() < self._end


@single_threaded()
def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description="other learners, and library defaults")
    parser.add_argument("--only", nargs="*", default=[*OURS, *LIBRARY], help="learners")
    parser.add_argument("--scenarios", nargs="*", default=list(CLUSTERS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0], help="of our learners")
    options = parser.parse_args()
    for learner in options.only:
        for name in (n for n in WHERE[learner] if n in options.scenarios):
            scenario = load_scenario(CONFIGS / "scenarios" / f"{name}.yaml")
            for seed in options.seeds if learner in OURS else [0]:
                key = {
                    "scenario": name, "cluster": CLUSTERS[name], "learner": learner, "seed": str(seed),
                    "scenario_hash": scenario.digest(), "run_hash": run_hash(learner, name, seed),
                }  # fmt: skip
                if not any(all(row[k] == v for k, v in key.items()) for row in finished()):
                    keep(key | cell(scenario, learner, seed))
    draw(finished())


def config_of(learner: str, scenario: str, seed: int) -> RunConfig:
    """The learner's shipped config on this scenario."""
    path = f"configs/scenarios/{scenario}.yaml"
    run = CONFIGS / "training" / f"{learner}.yaml"
    config = load_run(run, scenario=path, seed=seed, tracking="off", objective="lifetime_value")
    return config.model_copy(update={"settings": config.settings | SETTINGS.get(learner, {})})


def run_hash(learner: str, scenario: str, seed: int) -> str:
    """What decides the result besides the scenario."""
    return config_of(learner, scenario, seed).digest() if learner in OURS else f"defaults, {SECONDS:g} s"


def cell(scenario: Scenario, learner: str, seed: int) -> dict[str, str]:
    """Learn and judge; processor seconds with its judging, without the optimum's."""
    journey = compile_journey(scenario, CLUSTERS[scenario.name])
    problem = Problem(journey, "lifetime_value", seed)
    known: References = bounds(problem)
    began = time.process_time()
    value, samples = ours(problem, learner) if learner in OURS else library(problem, LIBRARY[learner])
    score = known.score(value)
    return {
        "optimum": f"{known.optimum:.4f}",
        "service_only": f"{known.service_only:.4f}",
        "value": f"{value:.4f}",
        "score": "" if score is None else f"{score:.4f}",
        "cpu_seconds": f"{time.process_time() - began:.1f}",
        "samples": str(samples),
    }


def ours(problem: Problem, learner: str) -> tuple[float, int]:
    """Exact value of the learned greedy policy, and its samples."""
    config = config_of(learner, problem.journey.scenario.name, problem.seed)
    learned = learner_module(learner).learn(problem, settings_of(config), Unsaved())
    if isinstance(learned.policy, Table):
        return problem.value_of(learned.policy.actions), learned.samples
    return greedy_value(problem, learned.policy), learned.samples


def library(problem: Problem, algorithm: Any) -> tuple[float, int]:
    """The library's defaults for `SECONDS`; where it prefers an illegal action, it waits."""
    journey = problem.journey
    env = CustomerJourneyEnv(journey.scenario, journey.cluster.name, problem.objective)
    model = algorithm("MlpPolicy", env, seed=problem.seed, device="cpu")
    model.learn(10**9, callback=Clock(SECONDS))
    chosen = np.concatenate([
        greedy(model, problem.observations[low : low + 50_000], problem.legal[low : low + 50_000])
        for low in range(0, problem.states, 50_000)
    ])  # fmt: skip
    chosen = np.where(problem.legal[np.arange(problem.states), chosen], chosen, 0).astype(np.int8)
    return problem.value_of(chosen.reshape(problem.blocks, -1)), int(model.num_timesteps)


def greedy(model: Any, observations: Any, legal: Any) -> Any:
    """(N,) actions; only MaskablePPO is told what is legal."""
    with torch.no_grad():
        if isinstance(model, MaskablePPO):
            return model.predict(observations, deterministic=True, action_masks=legal)[0]
        return model.predict(observations, deterministic=True)[0]


def draw(rows: list[dict[str, str]]) -> None:
    """A dot a cell: how far each learner comes, on which cluster."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 3.4), layout="constrained")
    learners = [name for name in reversed([*OURS, *LIBRARY]) if any(r["learner"] == name for r in rows)]
    for (scenario, cluster), marker in zip(CLUSTERS.items(), "o^sD", strict=True):
        mine = [r for r in rows if r["scenario"] == scenario and r["score"]]
        places = [learners.index(r["learner"]) for r in mine]
        label = f"{cluster} ({scenario})"
        axes.plot([float(r["score"]) for r in mine], places, marker, alpha=0.75, markersize=6, label=label)
    axes.axvline(0.0, color="0.6", linewidth=1, zorder=0)
    axes.axvline(1.0, color="0.6", linewidth=1, zorder=0)
    axes.set_yticks(range(len(learners)), learners)
    axes.set_xlabel("exact score: 0 is service only, 1 is the optimum")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(HERE / "scores.png", dpi=130)


def finished() -> list[dict[str, str]]:
    """The rows there are."""
    if not ROWS.exists():
        return []
    with ROWS.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(row: dict[str, str]) -> None:
    """Replace an older row of the same cell, keep all others."""
    same = ("scenario", "learner", "seed")
    rows = [old for old in finished() if any(old[k] != row[k] for k in same)]
    with ROWS.with_suffix(".part").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])
    ROWS.with_suffix(".part").replace(ROWS)
    shown = ("scenario", "cluster", "learner", "seed", "score", "cpu_seconds")
    print(", ".join(f"{k} {row[k]}" for k in shown), flush=True)


if __name__ == "__main__":
    main()
