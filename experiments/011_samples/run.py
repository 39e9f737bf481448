"""How far from sampled days and rewards alone? One row of `rows.csv` a learner, cluster and seed.

    python experiments/011_samples/run.py

Nothing of the solver is learned from; it only judges. Finished rows are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from envs.scenario_file import load_scenario
from training.proof import STUDIED, Wanted, run_cell
from training.proof_rows import ROOT, read_rows, write_rows
from training.run_config import load_run

ROWS = Path(__file__).resolve().parent / "rows.csv"
LEARNERS = ("coupled", "ppo_samples")


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description="learning from samples alone")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    cells = [
        wanted(learner, name, cluster, seed)
        for seed in range(options.seeds)
        for learner in LEARNERS
        for name, cluster in STUDIED.items()
    ]
    keys = {cell.key for cell in cells}
    rows = {row.key: row for row in read_rows(ROWS) if row.key in keys}
    for cell in cells:
        if cell.key not in rows:
            row = rows[cell.key] = run_cell(cell)
            write_rows(list(rows.values()), ROWS)
            told = f"{row.scenario} {row.cluster} {row.run}: score {row.score:.4f}"
            print(f"{told}, {row.cpu_seconds:.0f} CPU s, {row.samples:,} days", flush=True)


def wanted(learner: str, name: str, cluster: str, seed: int) -> Wanted:
    """The cell of a shipped config."""
    path = f"configs/scenarios/{name}.yaml"
    config = load_run(
        ROOT / "configs" / "training" / f"{learner}.yaml",
        scenario=path, tracking="off", objective="lifetime_value", seed=seed,
    )  # fmt: skip
    return Wanted(learner, config, load_scenario(ROOT / path), cluster)


if __name__ == "__main__":
    main()
