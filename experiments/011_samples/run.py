"""How far from sampled days alone? One row of `rows.csv` a cluster and seed of PPO on sampled days.

    python experiments/011_samples/run.py

Nothing of the solver is learned from; it only judges. Finished rows are kept. The rows of
`from_samples` are made by `make proof` and stand with those of record 002; both are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from envs.files.scenario_file import load_scenario
from experiments.proof.rows import ROOT, Cell, read_rows, write_rows
from experiments.proof.run import STUDIED, Wanted, run_cell
from training.run_config import load_run

ROWS = Path(__file__).resolve().parent / "rows.csv"
LEARNERS = ("from_samples", "ppo_samples")


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description="learning from samples alone")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    cells = [
        wanted("ppo_samples", name, cluster, seed)
        for seed in range(options.seeds)
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
    ours = [row for row in read_rows() if row.run == "from_samples"]
    draw([row for row in (*rows.values(), *ours) if row.score is not None])


def draw(rows: list[Cell]) -> None:
    """How near each learner comes, a mark a cluster and seed."""
    import matplotlib.pyplot as plt

    places = sorted({(row.scenario, row.cluster) for row in rows}, reverse=True)
    figure, axes = plt.subplots(figsize=(8.0, 4.2), layout="constrained")
    for learner, marker in zip(LEARNERS, "o^", strict=True):
        mine = [row for row in rows if row.run == learner]
        spots = [places.index((row.scenario, row.cluster)) for row in mine]
        axes.plot(
            [float(row.score or 0.0) for row in mine], spots, marker, markersize=6, alpha=0.6, label=learner
        )
    axes.axvline(0.95, color="0.5", linewidth=1, linestyle="--", label="0.95 aimed at")
    axes.set_yticks(range(len(places)), [" ".join(place) for place in places], fontsize=8)
    axes.set_xlim(right=1.01)
    axes.set_xlabel("exact score, from sampled days alone")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(ROWS.with_name("scores.png"), dpi=130)


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
