"""From model to V*: this solver against QuantEcon's on the same sparse problem, and by size.

    python -m experiments.benchmarks.solving

One table. The peer gets the problem in its own form (sorted state-action pairs, a sparse
matrix) for free: only its solve is timed. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from envs.cli.output import table
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.solver import solve
from envs.solve.sweeps import gain_of
from experiments.benchmarks.wide import wide_scenario

SHIPPED = ("omnichannel_retail", "subscription_telecom", "retail_bank")
SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
Row = tuple[str, int, float, float, float, float]


def peer_problem(kernel: Kernel, weights: Any) -> tuple[Any, Any, Any, Any]:
    """Rewards, sparse transitions, states and actions of the legal pairs (no consent)."""
    from scipy.sparse import csr_matrix, vstack

    states, actions = kernel.states, kernel.actions
    after = csr_matrix((kernel.data, kernel.indices, kernel.indptr), shape=(states * actions, states + 1))
    width = kernel.arrive_to.shape[1]
    arrive = csr_matrix(
        (kernel.arrive_p.ravel(), kernel.arrive_to.ravel(), np.arange(0, states * width + 1, width)),
        shape=(states, states + 1),
    )
    churned = csr_matrix(([1.0], ([0], [states])), shape=(1, states + 1))
    full = vstack([arrive, churned]).tocsr()
    legal = ((kernel.legal(0)[:, None] >> np.arange(actions)) & 1).astype(bool).ravel()
    rows = vstack([(after @ full)[np.flatnonzero(legal)], churned]).tocsr()
    pair_states = np.append(np.repeat(np.arange(states), actions)[legal], states)
    pair_actions = np.append(np.tile(np.arange(actions), states)[legal], 0)
    rewards = np.append(gain_of(kernel, weights).ravel()[legal], 0.0)
    return rewards, rows, pair_states, pair_actions


def against_quantecon() -> list[Row]:
    """31,104 states × 10 actions, one consent pattern, to 1e-6."""
    from quantecon.markov import DiscreteDP

    scenario = wide_scenario(4, 5, 5, 3, 4, 3, opt_outs=False)
    journey = compile_journey(scenario, "all")
    solve(build_kernel(journey), journey.weights())  # compiled before the clock starts
    started = time.perf_counter()
    kernel = build_kernel(journey)
    built = time.perf_counter() - started
    started = time.perf_counter()
    ours = solve(kernel, journey.weights())
    rows: list[Row] = [("journey", kernel.states, built, time.perf_counter() - started, 0.0, ours.bound)]
    rewards, matrix, pair_states, pair_actions = peer_problem(kernel, journey.weights())
    peer = DiscreteDP(rewards, matrix, scenario.discount, pair_states, pair_actions)
    for method in ("modified_policy_iteration", "policy_iteration"):
        started = time.perf_counter()
        result = peer.solve(method=method, epsilon=1e-6 * float(np.abs(ours.values).max()))
        seconds = time.perf_counter() - started
        gap = float(np.abs(result.v[:-1] - ours.values[0]).max())
        rows.append((f"QuantEcon {method.replace('_', ' ')}", kernel.states, 0.0, seconds, 0.0, gap))
    return rows


def by_size(label: str, scenario: Scenario, cluster: str) -> Row:
    """Build and solve once (after a tiny warm-up); memory of this process at its peak."""
    warm = compile_journey(wide_scenario(2, 1, 2, 2, 2, 1, opt_outs=True), "all")
    solve(build_kernel(warm), warm.weights())
    journey = compile_journey(scenario, cluster)
    started = time.perf_counter()
    kernel = build_kernel(journey)
    built = time.perf_counter() - started
    started = time.perf_counter()
    solution = solve(kernel, journey.weights())
    seconds = time.perf_counter() - started
    return label, kernel.states * len(kernel.consents), built, seconds, peak_megabytes(), solution.bound


def peak_megabytes() -> float:
    """Largest resident memory since this program started (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def sized(name: str) -> Row:
    """One row of the size table, by name."""
    if name == "wide":
        return by_size("3 M states", wide_scenario(6, 5, 7, 4, 4, 3, opt_outs=True), "all")
    scenario, cluster = name.split(":")
    return by_size(name, load_scenario(SCENARIOS / f"{scenario}.yaml"), cluster)


def main() -> None:
    """Print the table; with an argument, one row as JSON (a process of its own)."""
    if len(sys.argv) > 1:
        print(json.dumps(sized(sys.argv[1])))
        return
    rows = against_quantecon()
    names = [f"{s}:{load_scenario(SCENARIOS / f'{s}.yaml').clusters[0].name}" for s in SHIPPED] + ["wide"]
    for name in names:
        command = [sys.executable, "-m", "experiments.benchmarks.solving", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(tuple(json.loads(done.stdout)))
    columns = ("what", "states", "build s", "solve s", "peak MB", "largest error")
    cells = [(*r[:4], f"{r[4]:.0f}" if r[4] else "–", f"{r[5]:.1e}") for r in rows]
    Console().print(table("solving, to V* within 1e-6", columns, cells))


if __name__ == "__main__":
    main()
