"""`journey train RUN.yaml`: one policy a cluster, judged exactly, as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envs.output import emit, figure, table


def train(
    run: Annotated[Path, typer.Argument(help="A run config, e.g. configs/training/ppo.yaml.")],
    scenario: Annotated[Path | None, typer.Option(help="Scenario file instead of the config's.")] = None,
    cluster: Annotated[list[str] | None, typer.Option(help="Only this cluster; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the config's.")] = None,
    objective: Annotated[str | None, typer.Option(help="Objective instead of the config's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder instead of the config's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes, one cluster each at a time.")] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow tracking URI, or off.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train one policy a cluster, judge it exactly, write a bundle."""
    from training.run_config import load_run
    from training.train import run as run_training

    config = load_run(
        run,
        scenario=str(scenario) if scenario else None,
        clusters=cluster or None,
        seed=seed,
        objective=objective,
        out=str(out) if out else None,
        workers=workers,
        tracking=tracking,
    )
    document = run_training(config)
    emit(document, json, lambda console: show(console, document))


def show(console: Console, document: dict[str, Any]) -> None:
    """The score table, and where things are."""
    console.width = max(console.width, 132)  # wrapped rows of figures cannot be compared
    console.print(score_table(document))
    console.print(f"bundle: {document['bundle']}")
    if document["mlflow_run_id"]:
        console.print(f"MLflow run: {document['mlflow_run_id']}")


def score_table(document: dict[str, Any]) -> Any:
    """Every cluster's policy between its references."""
    columns = ["cluster", "states", "V*", "service only", "never", "best baseline", "value"]
    columns += ["score", "served", "edge", "seconds", "samples"]
    rows = []
    for c in document["clusters"]:
        best = f"{figure(c['best_baseline']['value'])} {c['best_baseline']['name'].replace('_', ' ')}"
        score = c["score"] if c["score"] is not None else f"gap {figure(c['money_gap'])}"
        rows.append(
            [c["name"], f"{c['states']:,}", c["optimum"], c["service_only"], c["never"], best, c["value"],
             score, c["score_served"], c["edge"], round(c["train_seconds"]), f"{c['samples']:,}"]
        )  # fmt: skip
    title = f"{document['learner']} on {document['scenario']}, {document['objective']} (discounted, infinite)"
    return table(title, columns, rows)
