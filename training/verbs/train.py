"""`journey train RUN.yaml`: one policy a cluster, judged exactly, as a bundle."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from envs.cli.output import emit, figure, table
from envs.errors import Interrupted


def train(
    run: Annotated[Path, typer.Argument(help="A run config, e.g. configs/training/ppo.yaml.")],
    scenario: Annotated[Path | None, typer.Option(help="Scenario file instead of the config's.")] = None,
    cluster: Annotated[list[str] | None, typer.Option(help="Only this cluster; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the config's.")] = None,
    objective: Annotated[str | None, typer.Option(help="Objective instead of the config's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder instead of the config's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Clusters at a time, one thread each.")] = None,
    engine: Annotated[str | None, typer.Option(help="Where clusters run: process or ray.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")] = False,
    tracking: Annotated[str | None, typer.Option(help="MLflow tracking URI, or off.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train one policy a cluster, judge it exactly, write a bundle."""
    from training.run_config import load_run
    from training.runs.train import run as run_training

    config = load_run(
        run,
        scenario=str(scenario) if scenario else None,
        clusters=cluster or None,
        seed=seed,
        objective=objective,
        out=str(out) if out else None,
        workers=workers,
        tracking=tracking,
        engine=engine,
    )
    try:
        document = run_training(config, resume)
    except Interrupted as stopped:
        options = {"scenario": scenario, "seed": seed, "objective": objective, "out": out}
        options |= {"workers": workers, "tracking": tracking, "engine": engine}
        command = resume_command(run, cluster or [], options, json)
        raise Interrupted(f"{stopped}; to go on: {command}") from None
    emit(document, json, lambda console: show(console, document))


def resume_command(run: Path, clusters: list[str], options: Mapping[str, object], json: bool) -> str:
    """The command line that goes on with an interrupted run."""
    words = ["journey", "train", str(run)]
    for name in clusters:
        words += ["--cluster", name]
    for key, value in options.items():
        words += [] if value is None else [f"--{key}", str(value)]
    return shlex.join([*words, *(["--json"] if json else []), "--resume"])


def show(console: Console, document: dict[str, Any]) -> None:
    """The score table, and where things are."""
    console.width = max(console.width, 132)  # wrapped rows of figures cannot be compared
    console.print(score_table(document))
    for cluster in document["clusters"]:
        if "no_score" in cluster:
            console.print(simulated(cluster))
    console.print(f"bundle: {document['bundle']}")
    if document["mlflow_run_id"]:
        console.print(f"MLflow run: {document['mlflow_run_id']}")


def score_table(document: dict[str, Any]) -> Table:
    """Every cluster's policy between its references."""
    columns = ["cluster", "states", "V*", "service only", "never", "best baseline", "value"]
    columns += ["score", "served", "edge", "seconds", "samples"]
    rows = []
    for c in document["clusters"]:
        best = f"{figure(c['best_baseline']['value'])} {c['best_baseline']['name'].replace('_', ' ')}"
        gap = None if c["money_gap"] is None else f"gap {figure(c['money_gap'])}"
        score = c["score"] if c["score"] is not None else gap
        rows.append(
            [c["name"], f"{c['states']:,}", c["optimum"], c["service_only"], c["never"], best, c["value"],
             score, c["score_served"], c["edge"], round(c["train_seconds"]), f"{c['samples']:,}"]
        )  # fmt: skip
    title = f"{document['learner']} on {document['scenario']}, {document['objective']} (discounted, infinite)"
    return table(title, columns, rows)


def simulated(cluster: dict[str, Any]) -> str:
    """What stands in for the score where types are hidden."""

    def shown(name: str) -> str:
        low, high = (figure(cluster[f"{name}_{end}"]) for end in ("low", "high"))
        return f"{figure(cluster[name])} ({low} to {high})"

    return (
        f"{cluster['name']}: {cluster['no_score']}; value {shown('value')}, over QMDP {shown('over_qmdp')}, "
        f"over the mean model {shown('over_mean')}, over its look ahead {shown('over_ahead')}; "
        f"told the type {figure(cluster['upper_bound'])}"
    )
