"""`journey simulate SCENARIO`: an event log with propensities, and its table of customers."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Annotated

import typer

from envs.cli.output import emit, table, tracked
from envs.errors import UserError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.simulate.log import FIRST_DAY, Span, customers_path, write_simulated_log
from envs.simulate.logging_policy import deciders

MIXTURE = "business_rules:0.7+random_legal:0.3"


def simulate(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    out: Annotated[Path, typer.Option(help="Log to write, in .parquet.")],
    policy: Annotated[str, typer.Option(help="A baseline, a bundle, or A:0.7+B:0.3.")] = MIXTURE,
    customers: Annotated[int, typer.Option(min=1, help="Customers a cluster.")] = 1_000,
    days: Annotated[int, typer.Option(min=1, max=4_000, help="Days.")] = 90,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    first_day: Annotated[str | None, typer.Option(help="Local date of day 0, such as 2026-01-05.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Draw an event log with propensities from a scenario."""
    problem = load_scenario(scenario)
    if out.suffix != ".parquet":
        raise UserError("unknown kind of file", where="--out", got=out.name, expected="a name in .parquet")
    span = Span(customers, days, seed, _first_day(problem, first_day))
    started = time.perf_counter()
    behavior = deciders(policy)
    journeys = [compile_journey(problem, c.name) for c in problem.clusters]
    counts = write_simulated_log(
        out, [(j, behavior(j)) for j in tracked(journeys, "preparing")], span, policy
    )
    document = {
        "scenario": problem.name,
        "scenario_hash": problem.digest(),
        "policy": policy,
        "log": str(out),
        "customers_table": str(customers_path(out)),
        "customers": customers * len(journeys),
        "days": days,
        "first_day": span.first_day,
        "seed": seed,
        "events": counts,
        "rows": sum(counts.values()),
        "seconds": round(time.perf_counter() - started, 2),
    }
    rows = [[kind, count] for kind, count in counts.items()]
    emit(document, as_json, lambda console: console.print(table(f"{out}", ["event", "rows"], rows)))


def _first_day(scenario: Scenario, stated: str | None) -> dt.date:
    season = scenario.memory.opportunities.season_start
    if stated is None:
        return season or FIRST_DAY
    try:
        return dt.date.fromisoformat(stated)
    except ValueError:
        raise UserError(
            "not a date", where="--first-day", got=stated, expected="such as 2026-01-05"
        ) from None
