"""Fold constants chosen by held-out likelihood from the grid that a mapping declares.

Every candidate replays the log; what happened is the same under all of them, only the state it
is explained by differs, so the likelihoods of the held-out customers compare. Up to two dozen
combinations are tried all; beyond, one constant after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from envs.arrays import Ints
from envs.errors import UserError
from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import Scenario
from envs.timeline.replay import replay
from training.fit.cells import Cells, blank_cells, count_rows, log_likelihood
from training.fit.regressions import fit_clusters, tables_of
from training.logs.clusters import Clustering
from training.logs.prepare import Prepared

MOST = 24


@dataclass(frozen=True)
class Trial:
    """One candidate and the held-out customers' log-likelihood under it."""

    constants: dict[str, int]
    likelihood: float


def with_constants(scenario: Scenario, constants: dict[str, int]) -> Scenario:
    """The scenario with other fold constants; keys as in `Estimation.grid`."""
    data = scenario.model_dump()
    for key, value in constants.items():
        head, *rest = key.split(".")
        place: Any = data[head]
        if head in ("channels", "touchpoints"):
            place = next(item for item in place if item["name"] == rest[0])
            rest = rest[1:]
        for part in rest[:-1]:
            place = place[part]
        place[rest[-1]] = value
    return Scenario.model_validate(data)


def search(
    prepared: Prepared, clustering: Clustering, held_out: Ints, skip: frozenset[str]
) -> tuple[Scenario, list[Trial]]:
    """The best constants of the grid, and every trial."""
    scenario, grid = prepared.loaded.scenario, prepared.loaded.mapping.estimation.grid
    if not grid:
        return scenario, []
    trials: dict[tuple[int, ...], Trial] = {}
    keys = list(grid)

    def score(values: tuple[int, ...]) -> float:
        if values not in trials:
            constants = dict(zip(keys, values, strict=True))
            trials[values] = Trial(constants, _held_out(prepared, constants, clustering, held_out, skip))
        return trials[values].likelihood

    if np.prod([len(grid[key]) for key in keys]) <= MOST:
        best = max(product(*(grid[key] for key in keys)), key=score)
    else:
        best = tuple(grid[key][0] for key in keys)
        for _ in range(2):
            for position, key in enumerate(keys):
                options = [(*best[:position], value, *best[position + 1 :]) for value in grid[key]]
                best = max(options, key=score)
    if not np.isfinite(score(best)):
        raise UserError("no usable fold constants", where="estimation.grid", got=", ".join(keys))
    return with_constants(scenario, dict(zip(keys, best, strict=True))), list(trials.values())


def _held_out(
    prepared: Prepared,
    constants: dict[str, int],
    clustering: Clustering,
    held_out: Ints,
    skip: frozenset[str],
) -> float:
    try:
        scenario = with_constants(prepared.loaded.scenario, constants)
        journey = compile_journey(scenario, scenario.clusters[0].name)
    except (ValueError, UserError):  # a combination that is no scenario: points above the capacity
        return -np.inf
    (cells,), _ = count_log(prepared, journey, [clustering], held_out, 2)
    return held_out_likelihood(journey, cells, len(clustering.names), skip)


def held_out_likelihood(journey: Journey, cells: Cells, clusters: int, skip: frozenset[str]) -> float:
    """Fitted on the first half of the groups, judged on the second."""
    train = [cells.group(k) for k in range(clusters)]
    judge = [cells.group(clusters + k) for k in range(clusters)]
    fits = fit_clusters(journey, train, None, skip)
    return sum(
        log_likelihood(group, tables_of(journey, fit.parameters), judged(skip))
        for group, fit in zip(judge, fits, strict=True)
    )


def judged(skip: frozenset[str]) -> tuple[str, ...]:
    """Events that a held-out likelihood covers."""
    events = ("response", "opt_out", "resolution", "purchase", "churn", "advance", "lapse", "inbound")
    return tuple(event for event in events if event not in skip)


def count_log(
    prepared: Prepared, journey: Journey, clusterings: list[Clustering], part: Ints | int, parts: int
) -> tuple[list[Cells], list[dict[str, int]]]:
    """One replay into cells of every clustering, and its faults.

    Groups are the clusters of part 0 of the customers, then those of part 1, and so on.
    """
    cells = [blank_cells(journey, parts * len(c.names)) for c in clusterings]
    groups = [c.labels + part * len(c.names) for c in clusterings]
    faults = []
    for block in replay(prepared.columns, journey.scenario, prepared.plan, prepared.starts):
        for counts, group in zip(cells, groups, strict=True):
            count_rows(counts, block.rows, group, journey)
        faults.append(block.faults)
    return cells, faults
