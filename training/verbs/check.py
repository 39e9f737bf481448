"""`journey check`: a scenario file is asked whether it is alive, a log what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envs.cli.output import emit, table
from envs.errors import UserError
from envs.files.scenario_file import load_scenario
from training.judging.alive import check_scenario
from training.logs.log_check import LogReport, inspect
from training.logs.mapping import load_mapping
from training.logs.prepare import prepare


def check(
    files: Annotated[list[Path], typer.Argument(help="A scenario file, or the files of a log.")],
    mapping: Annotated[Path | None, typer.Option(help="How to read the log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what is in a log or a scenario, and what is wrong with it."""
    if mapping is None and all(file.suffix in (".yaml", ".yml", ".json") for file in files):
        _check_scenarios(files, as_json)
        return
    if mapping is None:
        raise UserError(
            "a log needs its mapping", expected="--mapping MAP.yaml", hint="journey map LOG writes a skeleton"
        )
    report = inspect(prepare(files, load_mapping(mapping)))
    emit(report.document(), as_json, lambda console: _render(console, report))


def _check_scenarios(files: list[Path], as_json: bool) -> None:
    if len(files) > 1:
        raise UserError("one scenario at a time", got=len(files))
    report = check_scenario(load_scenario(files[0]))
    document = {**vars(report), "alive": report.alive, "failures": report.failures}
    emit(document, as_json, report.render)


def _render(console: Console, report: LogReport) -> None:
    console.print(
        f"{report.rows:,} rows, {report.customers:,} customers, {report.first_day} to {report.last_day}"
    )
    kinds: list[list[Any]] = [[kind, count] for kind, count in report.kinds.items()]
    console.print(table("events", ["kind", "rows"], kinds))
    console.print(table("contacts", ["channel", "rows"], [[c, n] for c, n in report.channels.items()]))
    findings = [
        [f.name, f.count, f"{f.share:.2%}", "refused" if f.refused else "counted", f.treatment]
        for f in report.findings
    ]
    if findings:
        console.print(table("findings", ["what", "rows", "share", "fit", "what is done"], findings))
    known = f"{report.propensities:,} of {report.decisions:,} decisions carry a propensity"
    console.print(f"{known}: channel effects are {'randomised' if report.causal else 'NOT causal'}")
    verdict = (
        "fit would run" if not report.refusals else f"fit would refuse (max_share {report.max_share:.1%})"
    )
    console.print(verdict)
