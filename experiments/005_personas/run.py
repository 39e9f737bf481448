"""What knowing, guessing and learning a hidden type are worth: one row a finished cell.

    PYTHONPATH=. python experiments/005_personas/run.py [SAMPLES]

Cells that are in `rows.csv` for the scenario as it is are not run again. Policies are compared
on the same customers (common random numbers); exact figures have no interval.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.belief_grid import grid_bounds
from envs.hidden import Hidden
from envs.hidden_rollouts import interval, qmdp, rollout_values
from envs.journey import compile_journey
from envs.kernel import start_distribution
from envs.scenario_file import load_scenario

HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parents[1] / "configs" / "scenarios" / "personas.yaml"
ROWS = HERE / "rows.csv"
CUSTOMERS, SEED, POINTS, SEEDS = 4_000, 1, 33, (0, 1, 2)
OVER = ("over_qmdp", "over_low", "over_high")  # paired by customer
FIELDS = ("cell", "scenario_hash", "samples", "value", "low", "high", *OVER, "seconds")
Row = dict[str, Any]


class Silent:
    """Nobody listens."""

    def __call__(self, point: Any) -> None:
        """Nothing."""

    def saved(self) -> None:
        """Nothing was interrupted."""

    def offer(self, state: Any) -> None:
        """Nothing is kept."""


def main(samples: int) -> None:
    """Run what is missing."""
    scenario = load_scenario(SCENARIO)
    journey = compile_journey(scenario, "everybody")
    hidden = Hidden(journey, journey.weights())
    done = {(r["cell"], r["scenario_hash"], r["samples"]) for r in _read()}
    for cell, run in cells(hidden, samples).items():
        spent = str(samples) if cell.startswith("learned") else ""
        if (cell, scenario.digest(), spent) in done:
            continue
        began = time.perf_counter()
        for row in run():
            row = {"cell": cell, "scenario_hash": scenario.digest(), "samples": spent} | row
            _append(row | {"seconds": f"{time.perf_counter() - began:.1f}"})


def cells(hidden: Hidden, samples: int) -> dict[str, Callable[[], list[Row]]]:
    """Every row there should be."""
    of = hidden.values_of
    start, prior = start_distribution(hidden.kernels[0]), float(hidden.journey.shares[0])

    def exact(value: float) -> list[Row]:
        return [{"value": f"{value:.6f}"}]

    def bound(which: str) -> list[Row]:
        return exact(float((start * getattr(_bounds(hidden), which)(prior)).sum()))

    out: dict[str, Callable[[], list[Row]]] = {
        "service_only": lambda: exact(hidden.from_start(of(hidden.service_only))),
        "mean_model": lambda: exact(hidden.from_start(of(hidden.mean_policy))),
        "told_the_type": lambda: exact(hidden.from_start(hidden.values)),
        "qmdp": lambda: [_simulated(_qmdp(hidden), None)],
        "lower_bound": lambda: bound("lower"),
        "upper_bound": lambda: bound("upper"),
    }
    for seed in SEEDS:
        out[f"learned_{seed}"] = lambda seed=seed: [_learned(hidden, samples, seed)]  # type: ignore[misc]
    return out


_KEPT: dict[str, Any] = {}


def _bounds(hidden: Hidden) -> Any:
    if "bounds" not in _KEPT:
        _KEPT["bounds"] = grid_bounds(hidden, POINTS)
    return _KEPT["bounds"]


def _qmdp(hidden: Hidden) -> Any:
    if "qmdp" not in _KEPT:
        _KEPT["qmdp"] = rollout_values(hidden, {"qmdp": qmdp(hidden)}, CUSTOMERS, SEED)["qmdp"]
    return _KEPT["qmdp"]


def _learned(hidden: Hidden, samples: int, seed: int) -> Row:
    from training.belief_ppo import decider, learn

    network = learn(hidden, samples, seed, Silent())
    found = rollout_values(hidden, {"learned": decider(network)}, CUSTOMERS, SEED)["learned"]
    return _simulated(found, _qmdp(hidden))


def _simulated(found: Any, beside: Any) -> Row:
    own = interval(found)
    row = {"value": f"{own.mean:.6f}", "low": f"{own.low:.6f}", "high": f"{own.high:.6f}"}
    if beside is not None:
        over = interval(np.asarray(found) - beside)
        figures = (over.mean, over.low, over.high)
        row |= {name: f"{figure:.6f}" for name, figure in zip(OVER, figures, strict=True)}
    return row


def _read() -> list[Row]:
    if not ROWS.exists():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _append(row: Row) -> None:
    fresh = not ROWS.exists()
    with ROWS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
