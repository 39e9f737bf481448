"""`make proof`: how close every policy comes to the optimum, one row a finished cell.

A cell is a scenario, a cluster and a learner. Finished cells whose scenario, run config and
seed are unchanged are not run again, so the study can be interrupted and resumed. The rows
are committed; `make test` checks that they belong to the scenarios as they are.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from envs.output import tracked
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from training.cluster_run import Job, train_cluster
from training.run_config import RunConfig, load_run

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "experiments" / "002_scores" / "scores.csv"
SCENARIOS = ("tiny", "omnichannel_retail", "subscription_telecom", "retail_bank")
LEARNERS = ("planner", "ppo")
FLOOR = {"planner": 1.0 - 1e-6, "ppo": 0.97}  # of the score
GAP = 0.01  # of |V*|, where the score is null


@dataclass(frozen=True)
class Cell:
    """One row: exact figures of the exported file's greedy policy under `lifetime_value`."""

    scenario: str
    cluster: str
    learner: str
    seed: int
    scenario_hash: str
    run_hash: str
    optimum: float
    service_only: float
    best_baseline: str
    best_baseline_value: float
    value: float
    score: float | None
    score_served: float | None
    edge: float | None
    potential_greedy: float | None  # value of the shaping potential's own greedy policy
    train_seconds: float
    samples: int
    command: str

    @property
    def key(self) -> tuple[str, str, str, int, str, str]:
        """What makes a cell the same cell."""
        return self.scenario, self.cluster, self.learner, self.seed, self.scenario_hash, self.run_hash

    @property
    def passes(self) -> bool:
        """Whether the cell meets its threshold."""
        if self.score is None:
            return self.optimum - self.value <= GAP * abs(self.optimum)
        return self.score >= FLOOR[self.learner]


def wanted(names: tuple[str, ...] = SCENARIOS) -> list[tuple[RunConfig, Scenario, str]]:
    """Every cell there should be: run config, scenario, cluster."""
    out = []
    for name in names:
        path = Path("configs") / "scenarios" / f"{name}.yaml"
        scenario = load_scenario(ROOT / path)
        for learner in LEARNERS:
            run = ROOT / "configs" / "training" / f"{learner}.yaml"
            config = load_run(run, scenario=str(path), tracking="off", objective="lifetime_value")
            out += [(config, scenario, cluster.name) for cluster in scenario.clusters]
    return out


def identity(config: RunConfig, scenario: Scenario, cluster: str) -> tuple[str, str, str, int, str, str]:
    """The key a finished cell of these would have."""
    learner = config.learner
    return scenario.name, cluster, learner, config.seed, scenario.digest(), config.digest()


def read_rows(path: Path = ROWS) -> list[Cell]:
    """The finished cells."""
    if not path.exists():
        return []
    kinds = {f.name: str(f.type) for f in fields(Cell)}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Cell(**{k: _parsed(v, kinds[k]) for k, v in row.items()})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]


def _parsed(text: str, kind: str) -> str | int | float | None:
    if kind.startswith("float"):
        return float(text) if text else None
    return int(text) if kind == "int" else text


def write_rows(rows: list[Cell], path: Path = ROWS) -> None:
    """All rows, in the order of scenario, cluster and learner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted(rows, key=lambda r: (SCENARIOS.index(r.scenario), r.cluster, r.learner))
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Cell)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in rows)
    part.replace(path)


def run_cell(config: RunConfig, scenario: Scenario, cluster: str) -> Cell:
    """Train and judge one cell."""
    record = train_cluster(Job(config, scenario, cluster, "lifetime_value")).record
    command = (
        f"journey train configs/training/{config.learner}.yaml --scenario {config.scenario} "
        f"--cluster {cluster} --objective lifetime_value --seed {config.seed}"
    )
    best = record["best_baseline"]
    kept = ("optimum", "service_only", "value", "score", "score_served", "edge", "train_seconds", "samples")
    return Cell(
        scenario=scenario.name, cluster=cluster, learner=config.learner, seed=config.seed,
        scenario_hash=scenario.digest(), run_hash=config.digest(), best_baseline=best["name"],
        best_baseline_value=best["value"], command=command,
        potential_greedy=record["shown_beside"].get("potential_greedy", {}).get("value"),
        **{k: record[k] for k in kept},
    )  # fmt: skip


def main(names: list[str]) -> int:
    """Run what is missing; 1 when a cell misses its threshold."""
    cells = wanted(tuple(names) or SCENARIOS)
    keys = {identity(*cell) for cell in wanted()}
    rows = [row for row in read_rows() if row.key in keys]
    done = {row.key for row in rows}
    missing = [cell for cell in cells if identity(*cell) not in done]
    print(f"{len(missing)} of {len(cells)} cells to run", file=sys.stderr)
    for config, scenario, cluster in tracked(missing, "proof"):
        row = run_cell(config, scenario, cluster)
        others = [r for r in read_rows() if r.key in keys and r.key != row.key]
        write_rows([*others, row])
        mark = "" if row.passes else "  below its threshold"
        print(f"{scenario.name} {cluster} {config.learner}: score {row.score}{mark}", flush=True)
    return 0 if all(row.passes for row in read_rows()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
