"""`journey solve SCENARIO`: the optimum, the baselines and the ideal paths, cluster by cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer
from rich.console import Console

from envs.arrays import Floats
from envs.cli.output import emit, table, tracked
from envs.errors import UserError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey, refuse_hidden
from envs.scenario.schema import Scenario
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.paths import ideal_path
from envs.solve.references import References, references, start_value
from envs.solve.solver import solve as solve_kernel
from envs.solve.uncapped import Uncapped, uncapped


class Worth(TypedDict):
    """What a policy is worth from d0, and its share of what there is to win."""

    value: float
    score: float | None


class Baseline(TypedDict):
    """The best simple baseline."""

    name: str
    value: float


class _Uncapped(TypedDict):
    uncapped_optimum: float | None  # null without contact caps
    uncapped_policy: Worth | None


class Solved(_Uncapped):
    """One cluster's row of design §8's document; values are of d0, in objective units."""

    name: str
    states: int
    optimum: float
    error_bound: float
    service_only: float
    never: float
    best_baseline: Baseline
    baselines: dict[str, float]
    value: float
    score: float | None
    edge: float | None
    solve_seconds: float
    path: Mapping[str, Any]  # `ideal_path`'s document


def solve(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    cluster: Annotated[str | None, typer.Option(help="Only this cluster.")] = None,
    objective: Annotated[str | None, typer.Option(help="Default: the scenario's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """The exact optimum, the baselines and the best paths of a scenario."""
    problem = load_scenario(scenario)
    name = objective or problem.default_objective
    known = [c.name for c in problem.clusters]
    if name not in problem.objectives:
        raise UserError("unknown objective", got=name, expected=", ".join(problem.objectives))
    if cluster is not None and cluster not in known:
        raise UserError("unknown cluster", got=cluster, expected=", ".join(known))
    chosen = [cluster] if cluster else known
    rows = [solve_cluster(problem, c, name) for c in tracked(chosen, "solving")]
    document = {
        "scenario": problem.name,
        "scenario_hash": problem.digest(),
        "objective": name,
        "horizon": f"infinite, discounted {problem.discount} a day",
        "clusters": rows,
    }
    emit(document, as_json, lambda console: _render(console, problem, rows))


def solve_cluster(scenario: Scenario, cluster: str, objective: str) -> Solved:
    """One cluster's row of design §8's document, without a learner."""
    started = time.perf_counter()
    journey = compile_journey(scenario, cluster)
    refuse_hidden(journey)
    kernel = build_kernel(journey)
    weights = kernel.journey.weights(objective)
    solution = solve_kernel(kernel, weights)
    seconds = time.perf_counter() - started
    known = references(kernel, weights, solution)
    best, value = known.best
    return {
        "name": cluster,
        "states": kernel.states * len(kernel.consents),
        "optimum": known.optimum,
        "error_bound": solution.bound,
        "service_only": known.service_only,
        "never": known.never,
        "best_baseline": {"name": best, "value": value},
        "baselines": known.baselines,
        **_without_caps(kernel, weights, known, uncapped(kernel, weights)),
        "value": known.optimum,
        "score": known.score(known.optimum),
        "edge": known.edge(known.optimum),
        "solve_seconds": seconds,
        "path": ideal_path(kernel, solution.values, solution.actions),
    }


def _without_caps(kernel: Kernel, weights: Floats, known: References, free: Uncapped | None) -> _Uncapped:
    """The upper bound without contact caps, and its policy's value under them; null without caps."""
    if free is None:
        return {"uncapped_optimum": None, "uncapped_policy": None}
    value = start_value(kernel, free.obedient, weights)
    return {
        "uncapped_optimum": free.optimum,
        "uncapped_policy": {"value": value, "score": known.score(value)},
    }


def _render(console: Console, scenario: Scenario, rows: list[Solved]) -> None:
    columns = ("cluster", "states", "optimum", "service only", "never", "best baseline", "its value", "s")
    cells = [_cells(row) for row in rows]
    title = f"{scenario.name}: exact values a customer ({scenario.currency}, discounted)"
    console.print(table(title, columns, cells))
    for row in rows:
        steps = " → ".join(f"{_label(s)} ×{s['days']}" for s in row["path"]["steps"][:8])
        free = row["uncapped_policy"]
        if free is not None:
            console.print(
                f"{row['name']}: without contact caps {row['uncapped_optimum']:.4g}; "
                f"planned without them and made to obey, {free['value']:.4g}"
            )
        console.print(f"{row['name']}: {row['path']['start']} to {row['path']['target']}: {steps}")


def _cells(row: Solved) -> tuple[object, ...]:
    best = row["best_baseline"]
    values = (row["optimum"], row["service_only"], row["never"], best["name"], best["value"])
    return (row["name"], f"{row['states']:,}", *values, row["solve_seconds"])


def _label(step: Mapping[str, object]) -> str:
    return f"{step['touchpoint']} by {step['channel']}" if step.get("touchpoint") else "wait"
