"""Every number the layout must not move: models, optima, references, scores, simulated days.

    python experiments/013_layout/run.py [--write]

One row a cluster of the shipped fully observed scenarios. Without `--write` the rows are compared
with `rows.csv`: digests bit for bit; where those differ, values to 1e-12 relative and greedy actions
exactly, and what differs is printed.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from envs.day.masks import unpack
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.simulate.simulator import Simulator
from envs.solve.kernel import start_distribution
from training.checkpoint import Unsaved
from training.judging.export import export
from training.judging.judge import references
from training.learner import Problem
from training.learners import distilled, planner
from training.threads import single_threaded

ROWS = Path(__file__).parent / "rows.csv"
SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
STUDIED = ("tiny", "omnichannel_retail", "subscription_telecom", "retail_bank", "capped")
OBJECTIVE, SEED, EXPLORATION, REGRET = "lifetime_value", 7, 0.05, 0.01
CUSTOMERS, DAYS = 500, 60
RELATIVE = 1e-12


@dataclass(frozen=True)
class Row:
    """One cluster; numbers as Python prints them, which keeps every bit."""

    scenario: str
    cluster: str
    start: str
    model: str
    optimum: float
    values: str
    greedy: str
    service_only: float
    best_baseline: float
    baselines: str
    planner: float | None
    distilled: float | None
    simulated: str


def digest(*arrays: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def simulated(journey: Journey) -> str:
    """Sixty days of 500 customers under random legal actions, beginning to end."""
    simulator, random = Simulator(journey, CUSTOMERS, SEED), np.random.default_rng(SEED)
    parts = [simulator.states.copy()]
    for _ in range(DAYS):
        mask = unpack(simulator.legal, len(journey.actions))
        actions = np.where(mask, random.random(mask.shape), -1.0).argmax(axis=1)
        day = simulator.step(actions)
        parts += [simulator.states.copy(), simulator.observations.copy(), simulator.legal.copy()]
        parts += [day.rewards.copy(), day.outcomes.copy(), day.values.copy()]
    return digest(*parts)


@single_threaded()
def measured(name: str, cluster: str) -> Row:
    """One cluster's numbers."""
    journey = compile_journey(load_scenario(SCENARIOS / f"{name}.yaml"), cluster)
    problem = Problem(journey, OBJECTIVE, SEED)
    kernel, known = problem.kernel, references(problem)
    scores = []
    for learner in (planner, distilled):
        learned = learner.learn(problem, learner.Settings(), Unsaved(lambda point: None))
        scores.append(export(problem, learned, EXPLORATION, REGRET, known).verdict.score)
    return Row(
        name, cluster, digest(start_distribution(kernel)),
        digest(kernel.bits, kernel.indptr, kernel.indices, kernel.data, kernel.reward, kernel.arrive_to,
               kernel.arrive_p, kernel.opt_out, kernel.consents),
        known.optimum, digest(problem.solution.values), digest(problem.solution.actions),
        known.service_only, known.best[1], digest(np.array(list(known.baselines.values()))),
        scores[0], scores[1], simulated(journey),
    )  # fmt: skip


def close(before: str, after: str) -> bool:
    """Whether two printed numbers agree to `RELATIVE`."""
    try:
        a, b = float(before), float(after)
    except ValueError:
        return False
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b))


def main() -> int:
    """Measure all; write, or compare."""
    rows = []
    for name in STUDIED:
        for cluster in load_scenario(SCENARIOS / f"{name}.yaml").clusters:
            rows.append([str(v) for v in astuple(measured(name, cluster.name))])
            print(*rows[-1][:2], "measured", flush=True)
    names = [f.name for f in fields(Row)]
    if "--write" in sys.argv:
        with ROWS.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([names, *rows])
        return 0
    with ROWS.open(encoding="utf-8") as file:
        before = list(csv.reader(file))[1:]
    moved = 0
    for old, new in zip(before, rows, strict=True):
        for what, a, b in zip(names, old, new, strict=True):
            if a != b:
                moved += 0 if close(a, b) else 1
                print(f"{new[0]} {new[1]} {what}: {a} -> {b}{' (within 1e-12)' if close(a, b) else ''}")
    print(f"{len(rows)} clusters compared, {moved} numbers moved")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
