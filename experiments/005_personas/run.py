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

from envs.day.masks import unpack
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.personas.bounds import grid_bounds
from envs.personas.models import Hidden
from envs.personas.rollouts import Interval, Seen, mean_ahead, qmdp
from envs.simulate.simulator import Simulator
from envs.solve.kernel import start_distribution
from training.personas.judge import PLANNERS, HiddenJudge

HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parents[1] / "configs" / "scenarios" / "personas.yaml"
ROWS, CHOICES = HERE / "rows.csv", HERE / "choices.csv"
POINTS, SEEDS = 33, (0, 1, 2)  # no learner sees the judge's customers
OVER = tuple(f"over_{x}{end}" for x in PLANNERS for end in ("", "_low", "_high"))
SHARE = ("share", "share_low", "share_high")  # of the gap from QMDP to the upper bound
FIELDS = ("cell", "scenario_hash", "samples", "value", "low", "high", *OVER, *SHARE, "step", "seconds")
Row = dict[str, Any]


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
    plot()


def cells(hidden: Hidden, samples: int) -> dict[str, Callable[[], list[Row]]]:
    """Every row there should be."""
    start, prior = start_distribution(hidden.kernels[0]), float(hidden.journey.shares[0])
    judge = HiddenJudge(hidden)

    def exact(name: str) -> list[Row]:
        return [{"value": f"{judge.exact[name]:.6f}"}]

    def bound(which: str) -> list[Row]:
        return [{"value": f"{float((start * getattr(_bounds(hidden), which)(prior)).sum()):.6f}"}]

    out: dict[str, Callable[[], list[Row]]] = {
        "service_only": lambda: exact("service_only"),
        "mean_model": lambda: exact("mean_model"),
        "told_the_type": lambda: exact("told_the_type"),
        "lower_bound": lambda: bound("lower"),
        "upper_bound": lambda: bound("upper"),
        "qmdp": lambda: [_simulated(judge, judge.planners["qmdp"])],
        "mean_ahead": lambda: [_simulated(judge, judge.planners["ahead"])],
    }
    for seed in SEEDS:
        out[f"learned_{seed}"] = lambda seed=seed: [_learned(judge, samples, seed)]  # type: ignore[misc]
    return out


_KEPT: dict[str, Any] = {}


def _bounds(hidden: Hidden) -> Any:
    if "bounds" not in _KEPT:
        _KEPT["bounds"] = grid_bounds(hidden, POINTS)
    return _KEPT["bounds"]


def _learned(judge: HiddenJudge, samples: int, seed: int) -> Row:
    from training.checkpoint import Unsaved
    from training.personas.ppo import BeliefSettings, learn

    hidden = judge.hidden
    policy = learn(hidden, BeliefSettings(samples=samples), seed, Unsaved())
    planners = {"qmdp": qmdp(hidden), "mean_ahead": mean_ahead(hidden)} if seed == SEEDS[0] else {}
    _chosen(hidden, planners | {f"learned_{seed}": policy})
    return _simulated(judge, judge.samples(policy)) | {"step": policy.step}


def _simulated(judge: HiddenJudge, found: Any) -> Row:
    """The judge's figures as a row."""
    upper = next(float(r["value"]) for r in _read() if r["cell"] == "upper_bound")
    figures: list[Interval] = [judge.value(found), *judge.over(found).values(), judge.share(found, upper)]
    names = ("value", "low", "high", *OVER, *SHARE)
    cells = [f"{x:.6f}" for each in figures for x in (each.mean, each.low, each.high)]
    return dict(zip(names, cells, strict=True))


def _chosen(hidden: Hidden, policies: dict[str, Any]) -> None:
    """What is done with a customer just met, consent given to all, at 49 beliefs."""
    rules = hidden.journey.rules
    simulator = Simulator(hidden.journey, 1_000, 0)
    full = int(hidden.kernels[0].consents[-1])
    fresh = (simulator.states[:, 0] == 0) & (simulator.states[:, 5] == full)
    i = int(np.flatnonzero(fresh)[0])
    believed = np.linspace(0.01, 0.97, 49)
    beliefs = np.stack([believed, 1.0 - believed], axis=1)
    observed = np.repeat(simulator.observations[i : i + 1], len(beliefs), axis=0)
    observed[:, -2:] = beliefs
    block = np.full(len(beliefs), len(hidden.kernels[0].consents) - 1)
    state = np.full(len(beliefs), int(simulator.states[i].astype(int) @ np.asarray(rules.strides)))
    legal = np.repeat(unpack(simulator.legal[i : i + 1], len(hidden.journey.actions)), len(beliefs), axis=0)
    seen = Seen(block, state, beliefs, observed, legal)
    with CHOICES.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for name, decide in policies.items():
            keys = [hidden.journey.actions[int(a)].key for a in decide(seen)]
            writer.writerows(zip([name] * len(keys), [f"{b:.2f}" for b in believed], keys, strict=True))


def plot() -> None:
    """Each policy's action over the belief, one band a policy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with CHOICES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names, keys = list(dict.fromkeys(r[0] for r in rows)), sorted({r[2] for r in rows}, key=_order)
    bands = np.array([[keys.index(r[2]) for r in rows if r[0] == name] for name in names])
    colours = ["#d9d9d9", "#4477aa", "#66ccee", "#ee6677", "#ccbb44", "#228833", "#aa3377"][: len(keys)]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(names) + 1.8), layout="constrained")
    axes.imshow(
        bands, aspect="auto", extent=(0.0, 0.98, len(names) - 0.5, -0.5), interpolation="nearest",
        cmap=matplotlib.colors.ListedColormap(colours), vmin=-0.5, vmax=len(keys) - 0.5,
    )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("belief that the customer seeks deals (a new customer: 0.3)")
    axes.axvline(0.3, color="black", linewidth=1, linestyle=":")
    for band in range(1, len(names)):
        axes.axhline(band - 0.5, color="white", linewidth=3)
    patches = [matplotlib.patches.Patch(color=c, label=k) for c, k in zip(colours, keys, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(keys), frameon=False)
    figure.savefig(HERE / "choices.png", dpi=110)


def _order(key: str) -> tuple[bool, str]:
    return key != "wait", key


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
