"""A bundle of exact tables for a scenario, made by the solver alone (no learner, no torch)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from envs.journey.journey import compile_journey
from envs.policy.policy import ClusterEntry, Manifest, Parity, TablePolicy, write_bundle
from envs.scenario.schema import Scenario
from envs.solve.evaluation import evaluate_policy
from envs.solve.kernel import Kernel, build_kernel, state_observations
from envs.solve.paths import ideal_path
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import q_values


def write_planned_bundle(
    folder: Path, scenario: Scenario, *, version: str = "1", exploration: float = 0.1
) -> Path:
    """Every cluster's optimum as the planner exports it."""
    files: dict[str, bytes] = {}
    entries: dict[str, ClusterEntry] = {}
    paths: dict[str, Any] = {}
    for cluster in scenario.clusters:
        journey = compile_journey(scenario, cluster.name)
        kernel = build_kernel(journey)
        solution = solve(kernel, journey.weights())
        optimum = solution.start_value(kernel)
        name = f"{cluster.name}.npz"
        files[name] = _table(kernel, solution)
        entries[cluster.name] = ClusterEntry(
            file=name,
            max_regret=0.05 * abs(optimum),
            score=1.0,
            score_served=None,
            optimum=optimum,
            value=evaluate_policy(kernel, solution.actions, journey.weights()).value,
            value_error=1e-6,
            belief=list(journey.encoding.beliefs),
            parity=_parity(TablePolicy(files[name], journey, name), kernel),
        )
        paths[cluster.name] = {
            scenario.default_objective: ideal_path(kernel, solution.values, solution.actions)
        }
    manifest = Manifest(
        name=scenario.name,
        version=version,
        scenario_hash=scenario.digest(),
        objective=scenario.default_objective,
        learner="planner",
        observation=list(journey.encoding.levels),
        actions=[action.key for action in journey.actions],
        exploration=exploration,
        clusters=entries,
        created_at="2026-01-01T00:00:00Z",
    )
    described = {"scenario": scenario.digest(), "clusters": paths}
    return write_bundle(folder, manifest, scenario, files, described)


def _table(kernel: Kernel, solution: Solution) -> bytes:
    weights = kernel.journey.weights()
    q = np.stack([q_values(kernel, solution.values, weights, m) for m in range(len(kernel.consents))])
    legal = np.isfinite(q)
    gaps = np.where(legal, np.maximum(solution.values[:, :, None] - np.where(legal, q, 0.0), 0.0), -1.0)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        consents=kernel.consents,
        actions=solution.actions,
        values=solution.values,
        gaps=gaps.astype(np.float32),
        scale=np.float64(1.0),
    )
    return buffer.getvalue()


def _parity(policy: TablePolicy, kernel: Kernel) -> Parity:
    observations: Any = state_observations(kernel, 0)[:16]
    return Parity(observations=observations.tolist(), probabilities=policy.raw(observations).tolist())
