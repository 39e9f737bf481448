"""What does a contact cap cost, and is it worth planning with? One row of `rows.csv` a cell.

    python experiments/009_caps/run.py

A cell is a cluster of `capped.yaml` and a number of texts allowed in any seven days. Its rows hold
exact values: the optimum that has the cap in its state, the plan made without the cap and held
back by the masks, and the uncapped optimum. Finished cells whose scenario is unchanged are kept.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.solve.baselines import service_only
from envs.solve.evaluation import occupancy
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.references import start_value
from envs.solve.solver import solve
from envs.solve.uncapped import at_cap, uncapped

mpl.use("Agg")
HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parents[1] / "configs" / "scenarios" / "capped.yaml"
ROWS = HERE / "rows.csv"
ALLOWED = (1, 2, 3, 4)  # texts in any seven days; the scenario ships with 2
FIELDS = (
    "cluster", "allowed", "scenario_hash", "states", "service_only", "optimum", "obeyed", "uncapped",
    "at_cap", "wished_at_cap", "texts_a_week",
)  # fmt: skip


def main() -> None:
    """Make the rows that are missing, then draw them."""
    scenario = load_scenario(SCENARIO)
    rows = [row for row in _read() if row["scenario_hash"] == scenario.digest()[:12]]
    done = {(row["cluster"], int(row["allowed"])) for row in rows}
    for cluster in scenario.clusters:
        for allowed in ALLOWED:
            if (cluster.name, allowed) not in done:
                rows.append(cell(scenario, cluster.name, allowed))
                _write(rows)
                print(rows[-1], flush=True)
    draw(_read())


def with_cap(scenario: Scenario, allowed: int) -> Scenario:
    """The scenario with another number of texts in its window."""
    caps = [cap.model_copy(update={"contacts": allowed}) for cap in scenario.memory.caps]
    memory = scenario.memory.model_copy(update={"caps": caps})
    return scenario.model_copy(update={"memory": memory, "max_states": 1_000_000})


def cell(scenario: Scenario, cluster: str, allowed: int) -> dict[str, Any]:
    """Exact figures of one cluster under one cap."""
    kernel = build_kernel(compile_journey(with_cap(scenario, allowed), cluster))
    weights = kernel.journey.weights()
    best, free = solve(kernel, weights), uncapped(kernel, weights)
    assert free is not None
    visits, full = occupancy(kernel, best.actions), at_cap(kernel)
    reach = np.array([int(pattern) >> 1 & 1 == 1 for pattern in kernel.consents])  # consent to texts
    within = visits[reach][:, full].sum() / visits[reach].sum()
    texts = _texts(kernel)
    return {
        "cluster": cluster,
        "allowed": allowed,
        "scenario_hash": scenario.digest()[:12],
        "states": kernel.states * len(kernel.consents),
        "service_only": start_value(kernel, service_only(kernel), weights),
        "optimum": best.start_value(kernel),
        "obeyed": start_value(kernel, free.obedient, weights),
        "uncapped": free.optimum,
        "at_cap": within,
        "wished_at_cap": (visits * texts[free.wishes])[reach][:, full].sum() / visits[reach][:, full].sum(),
        "texts_a_week": 7.0 * (visits * texts[best.actions])[reach].sum() / visits[reach].sum(),
    }


def _texts(kernel: Kernel) -> Any:
    """(A,) true for marketing texts."""
    rules = kernel.journey.rules
    texts = np.asarray(rules.action_channel) == 1
    marketing: Any = (rules.marketing >> np.arange(kernel.actions) & 1).astype(bool)
    return texts & marketing


def draw(rows: list[dict[str, str]]) -> None:
    """What is won of what could be won without a cap, by the number of texts allowed."""
    from matplotlib import pyplot as plt

    clusters = sorted({row["cluster"] for row in rows})
    figure, axes = plt.subplots(1, len(clusters), figsize=(8.0, 3.4), sharey=True)
    for axis, cluster in zip(axes, clusters, strict=True):
        own = sorted((r for r in rows if r["cluster"] == cluster), key=lambda r: int(r["allowed"]))
        allowed = [int(r["allowed"]) for r in own]
        for name, label, mark in (
            ("optimum", "cap in the state", "o-"),
            ("obeyed", "cap obeyed blindly", "s--"),
        ):
            axis.plot(allowed, [_share(r, name) for r in own], mark, label=label)
        axis.axhline(1.0, color="grey", linewidth=0.8)
        axis.set(title=cluster, xlabel="texts allowed in 7 days", xticks=allowed)
    axes[0].set_ylabel("share of the uncapped gain")
    axes[0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(HERE / "cost_of_the_cap.png", dpi=110)
    plt.close(figure)


def _share(row: dict[str, str], name: str) -> float:
    low = float(row["service_only"])
    return (float(row[name]) - low) / (float(row["uncapped"]) - low)


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
