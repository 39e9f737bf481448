"""`journey evaluate BUNDLE`: its exact value in a scenario, or off-policy estimates from a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envs.cli.output import emit, figure, table
from envs.errors import UserError


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that `journey train` wrote.")],
    scenario: Annotated[Path | None, typer.Option(help="Exact value in this scenario.")] = None,
    log: Annotated[list[Path] | None, typer.Option(help="Estimate from this log; may be repeated.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping of a raw log.")] = None,
    customers: Annotated[Path | None, typer.Option(help="Attributes of an event log's customers.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="Also always TOUCHPOINT:CHANNEL.")] = None,
    served: Annotated[bool, typer.Option(help="Also the policy as served, with exploration.")] = False,
    discount: Annotated[float, typer.Option(min=0.0, max=1.0, help="A day, for a log.")] = 1.0,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples; 0: normal intervals.")] = 0,
    simulate: Annotated[bool, typer.Option(help="Rollouts even where the exact value exists.")] = False,
    rollouts: Annotated[int, typer.Option(min=100, help="Customers a cluster, simulated.")] = 20_000,
    days: Annotated[int, typer.Option(min=1, max=4_000, help="Days, simulated.")] = 365,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and rollouts.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """The value of a bundle in a scenario or on a held-out log."""
    from envs.files.scenario_file import load_scenario
    from envs.policy.policy import load_bundle
    from training.judging.evaluate import LogOptions, in_scenario, on_log
    from training.logs.logged import read_logged

    if (scenario is None) == (not log):
        raise UserError("nothing to evaluate on", expected="either --scenario S or --log LOG")
    opened = load_bundle(bundle)
    if scenario is not None:
        document = in_scenario(opened, load_scenario(scenario), rollouts, days, seed, simulate)
        emit(document, as_json, lambda console: show_values(console, document))
        return
    logged = read_logged(log or [], opened.scenario, mapping, customers)
    document = on_log(opened, logged, LogOptions(tuple(against or ()), discount, seed, served, bootstrap))
    emit(document, as_json, lambda console: show_estimates(console, document))


def show_values(console: Console, document: dict[str, Any]) -> None:
    """One row a cluster; says so where the scenario is not the one trained in."""
    columns = ["cluster", "method", "value", "served", "V*", "service only", "never", "score", "edge"]
    keys = ("name", "method", "value", "value_served", "optimum", "service_only", "never", "score", "edge")
    rows = [[c.get(key) for key in keys] for c in document["clusters"]]
    horizon = document["clusters"][0]["horizon"]
    console.print(table(f"{document['scenario']}, {document['objective']} ({horizon})", columns, rows))
    if not document["same_scenario"]:
        console.print("not the scenario this bundle was trained in: its clusters are judged by name")


MOST_DECISIONS = 12  # a table of more would not be read


def show_estimates(console: Console, document: dict[str, Any]) -> None:
    """Policies, then paired differences; a refusal stands where its interval would."""
    console.print(
        f"{document['customers']:,} of {document['customers_in_the_log']:,} customers, "
        f"{document['decisions']:,} decisions; "
        f"{document['currency']} a customer; 95 % {document['interval']['method']} intervals over customers; "
        f"{document['horizon']}"
    )
    columns = ["policy", "one decision: IPW", "doubly robust", "journey: fitted Q", "marginalised DR"]
    for title, part in (("estimates", "policies"), ("paired differences", "differences")):
        rows = [_row(name, figures) for name, figures in document[part].items()]
        console.print(table(title, columns, rows))
    parts = document["policies"] | document["differences"]
    by_decision = zip(*(p["by_decision"] for p in parts.values()), strict=True)
    waves = [[t + 1, *map(cell, row)] for t, row in enumerate(by_decision)]
    if len(waves) <= MOST_DECISIONS:
        console.print(table("IPW by decision", ["decision", *parts], waves))
    chosen = ", ".join(f"{key} {share:.1%}" for key, share in document["chosen"].items() if share >= 0.001)
    console.print(f"the policy's choices in the logged states: {chosen}")
    console.print("fitted Q: a value in a fitted model, no interval; a refusal names the figure that failed")


def _row(name: str, figures: dict[str, Any]) -> list[str]:
    fitted = figure(figures["journey_fitted_q"]["mean"], 2)
    whole = cell(figures["journey_marginalised_dr"])
    return [name, cell(figures["one_decision_ipw"]), cell(figures["one_decision_dr"]), fitted, whole]


def cell(result: dict[str, Any]) -> str:
    """`mean [low, high]`, or the refusal."""
    if result["refused"]:
        return f"refused: {result['reason']}"
    return f"{result['mean']:.2f} [{result['low']:.2f}, {result['high']:.2f}]"
