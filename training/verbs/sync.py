"""`journey sync OUT…`: what a silent tracking server missed, replayed into it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envs.cli.output import emit, table


def sync(
    out: Annotated[list[Path], typer.Argument(help="Output folders of runs or sweeps.")],
    tracking: Annotated[str | None, typer.Option(help="MLflow tracking URI instead of the run's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Log what is in the spool of these folders; again adds nothing."""
    from training.tracking.sync import sync_all

    document = sync_all(out, tracking)
    emit(document, json, lambda console: show(console, document))


def show(console: Console, document: dict[str, Any]) -> None:
    """One row a run, and what could not be logged."""
    columns = ["folder", "MLflow run", "operations", "new", "state"]
    runs = document["runs"]
    rows = [[r["out"], r["mlflow_run_id"], r["operations"], r["applied"], r["state"]] for r in runs]
    console.print(table("synced", columns, rows))
    for run in runs:
        for reason in run["refused"]:
            console.print(f"not logged, {run['out']}: {reason}")
