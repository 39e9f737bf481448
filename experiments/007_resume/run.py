"""Interrupt a run at five random points, resume each, and compare the weights bit for bit."""

from __future__ import annotations

import csv
import hashlib
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import Interrupted
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from training.checkpoint import Checkpoint, Identity
from training.learner import Learned, Problem, Table
from training.learners import ppo

HERE = Path(__file__).parent
ROWS = HERE / "rows.csv"
SEED = 7  # of the points
UPDATES = 20
SETTINGS = ppo.Settings(samples=UPDATES * 512 * 32, customers=512, steps=32)
JOB = Identity("007", "tiny", "keen", "lifetime_value", 0)


def weights(learned: Learned) -> Any:
    """Every weight of the policy trunk, in one row."""
    assert not isinstance(learned.policy, Table)
    return np.concatenate([p.detach().numpy().ravel() for p in learned.policy.policy.parameters()])


def main() -> None:
    """One row a point; rows already made are kept."""
    scenario = load_scenario(HERE.parents[1] / "configs" / "scenarios" / "tiny.yaml")
    problem = Problem(compile_journey(scenario, "keen"), "lifetime_value", 0)
    points = sorted(np.random.default_rng(SEED).choice(np.arange(1, UPDATES), 5, replace=False).tolist())
    rows = list(csv.DictReader(ROWS.open(encoding="utf-8"))) if ROWS.exists() else []
    missing = [point for point in points if str(point) not in {row["updates"] for row in rows}]
    if not missing:
        return
    straight = weights(ppo.learn(problem, SETTINGS, Checkpoint(None, JOB)))
    for point in missing:
        rows.append(resumed(problem, point, straight))
        with ROWS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(rows[-1], flush=True)


def resumed(problem: Problem, point: int, straight: Any) -> dict[str, Any]:
    """Stop after `point` updates, go on in a fresh model, compare with the straight run."""
    offers, began = itertools.count(), 0.0

    def wanted() -> bool:
        nonlocal began
        began = time.perf_counter()
        return next(offers) == point

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        try:
            ppo.learn(problem, SETTINGS, Checkpoint(path, JOB, wanted=wanted))
        except Interrupted:
            wrote = time.perf_counter() - began
        size = path.stat().st_size
        learned = ppo.learn(problem, SETTINGS, Checkpoint(path, JOB))
    found = weights(learned)
    return {
        "updates": point,
        "samples": point * SETTINGS.customers * SETTINGS.steps,
        "checkpoint_kib": round(size / 1024),
        "write_ms": round(1000 * wrote),
        "largest_difference": float(np.abs(found - straight).max()),
        "weights_sha256": hashlib.sha256(found.tobytes()).hexdigest()[:16],
        "straight_sha256": hashlib.sha256(straight.tobytes()).hexdigest()[:16],
        "samples_of_the_resumed_run": learned.samples,
    }


if __name__ == "__main__":
    main()
