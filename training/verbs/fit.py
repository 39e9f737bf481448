"""`journey fit LOG… --mapping MAP.yaml --out DIR`: a scenario from a log, with its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from envs.cli.output import emit, table
from training.fit.evidence import calibrations, likelihoods
from training.fit.fit import FitResult, fit_log
from training.fit.report import NON_CAUSAL, document, write_report
from training.logs.mapping import load_mapping


def fit(
    logs: Annotated[list[Path], typer.Argument(help="Log files.")],
    mapping: Annotated[Path, typer.Option(help="How to read the log, and the scenario to fill.")],
    out: Annotated[Path, typer.Option(help="Folder for scenario.yaml and the report.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Estimate a scenario from a log, with uncertainty and a report."""
    result = fit_log(logs, load_mapping(mapping), out)
    written = write_report(result, out)
    whole = document(result) | {"written": [str(out / "scenario.yaml"), *map(str, written)]}
    emit(whole, as_json, lambda console: _render(console, result, out))


def _render(console: Console, result: FitResult, out: Path) -> None:
    K = len(result.clustering.names)
    sizes = (result.cells.customers[:K] + result.cells.customers[K:]).tolist()
    rows = [[name, int(size)] for name, size in zip(result.clustering.names, sizes, strict=True)]
    console.print(table(f"{out}/scenario.yaml", ["cluster", "customers"], rows))
    errors = {c.event: c.error for c in calibrations(result)}
    held = [[x.event, x.trials, x.gain_per_1000, errors.get(x.event)] for x in likelihoods(result)]
    columns = ["event", "held-out trials", "nats gained a 1,000", "calibration error"]
    console.print(table("judged on held-out customers", columns, held))
    seconds = sum(result.seconds.values())
    console.print(f"{result.report.rows:,} rows in {seconds:.1f} s; report: {out}/fit_report.html")
    if not result.report.causal:
        console.print(NON_CAUSAL)
