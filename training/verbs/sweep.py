"""`journey sweep SWEEP.yaml`: a learner's settings searched, every trial judged exactly on several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envs.cli.output import emit, figure, table


def sweep(
    config: Annotated[Path, typer.Argument(help="A sweep config, e.g. configs/training/sweep.yaml.")],
    scenario: Annotated[Path | None, typer.Option(help="Scenario file instead of the config's.")] = None,
    cluster: Annotated[list[str] | None, typer.Option(help="Only this cluster; may be repeated.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials there shall be in the end.")] = None,
    seed: Annotated[int | None, typer.Option(help="The sampler's seed instead of the config's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder instead of the config's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs of a trial at a time.")] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow tracking URI, or off.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Search settings; the same command goes on with an interrupted or finished sweep."""
    from training.sweeps.config import load_sweep
    from training.sweeps.sweep import run

    loaded = load_sweep(
        config,
        scenario=str(scenario) if scenario else None,
        clusters=cluster or None,
        trials=trials,
        sampler_seed=seed,
        out=str(out) if out else None,
        workers=workers,
        tracking=tracking,
    )
    document = run(loaded)
    emit(document, json, lambda console: show(console, document))


def show(console: Console, document: dict[str, Any]) -> None:
    """The trials, best first, and where things are."""
    console.width = max(console.width, 132)  # wrapped rows of figures cannot be compared
    names = sorted({name for row in document["trials"] for name in row["params"]})
    columns = ["trial", "state", "score", "95 % over seeds", *names, "seconds", "samples"]
    rows = []
    for row in sorted(document["trials"], key=lambda r: -1.0 if r["score"] is None else -r["score"] - 2.0):
        interval = f"[{figure(row['low'])}, {figure(row['high'])}]" if row["low"] is not None else ""
        values = [_short(row["params"].get(name)) for name in names]
        samples = f"{row['samples']:,}" if row["samples"] is not None else ""
        rows.append([row["trial"], row["state"], row["score"], interval, *values, row["seconds"], samples])
    console.print(table(f"{document['learner']} on {document['scenario']}", columns, rows))
    for name, share in document["importance"].items():
        console.print(f"importance of {name}: {share:.2f}")
    console.print(f"best run: journey train {document['best_run']}")
    if document["mlflow_run_id"]:
        console.print(f"MLflow run: {document['mlflow_run_id']}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
