"""`fit`: a scenario from a log. Reads, checks, replays, estimates, judges, and writes.

Fold constants and the number of clusters are chosen on a held-out share of the customers, ridges
by cross-validation on the others; the written behaviour is estimated on all of them, and every
judgement in the report is that of the estimate without the held-out ones. Effects of channels are
called causal only where the log's decisions carry propensities.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from envs.arrays import Ints
from envs.errors import LogError
from envs.files.scenario_file import load_scenario, write_scenario
from envs.journey.journey import Journey, compile_journey
from envs.journey.logits import Parameters, from_behavior, to_behavior
from envs.scenario.behavior import Behavior
from envs.scenario.schema import Cluster, Scenario, Start
from training.fit.cells import Cells, stack
from training.fit.fold_search import Trial, count_log, held_out_likelihood, search
from training.fit.regressions import ClusterFit, choose_ridges, fit_clusters
from training.logs.clusters import Clustering, candidates
from training.logs.log_check import LogReport, gate, report_of
from training.logs.mapping import LoadedMapping, Mapping
from training.logs.prepare import Prepared, prepare

log = logging.getLogger(__name__)
FOLDS = 4  # of the customers who do not judge, for the ridges


@dataclass(frozen=True)
class FitResult:
    """Everything a report needs; groups of `cells` are clusters, then their held-out halves."""

    scenario: Scenario
    journey: Journey
    report: LogReport
    clustering: Clustering
    cells: Cells
    fits: list[ClusterFit]  # on all customers
    judged: list[ClusterFit]  # without the held-out ones
    trials: list[Trial]
    sizes: dict[int, float]  # held-out log-likelihood by number of clusters
    skip: frozenset[str]
    seconds: dict[str, float]


def fit_log(paths: Sequence[Path], loaded: LoadedMapping, out: Path | None = None) -> FitResult:
    """Estimate a scenario; writes `scenario.yaml` where `out` is given. Raises `GateError`."""
    clock = _Clock()
    with threadpool_limits(1):  # small matrices: threads only wait for each other
        prepared = prepare(paths, loaded)
        clock.lap("reading")
        result = _estimate(prepared, clock)
    if out is not None:
        write_scenario(result.scenario, out / "scenario.yaml", _heading(result, loaded.mapping))
        load_scenario(out / "scenario.yaml")  # what was written is a scenario
    return result


class _Clock:
    """Seconds a phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def _estimate(prepared: Prepared, clock: _Clock) -> FitResult:
    mapping = prepared.loaded.mapping
    skip = frozenset(_EVENTS_OF.get(name, name) for name in mapping.not_observed)
    if "stage" in mapping.not_observed:
        skip |= {"churn", "advance", "lapse"}
    part = _parts(prepared, mapping)
    options = candidates(mapping.clusters, prepared.attributes, mapping.estimation.seed)
    scenario, trials = search(prepared, options[0], (part == FOLDS).astype(np.int64), skip)
    journey = compile_journey(scenario, scenario.clusters[0].name)
    clock.lap("fold constants")
    parts, faults = count_log(prepared, journey, options, part, FOLDS + 1)
    counted = [_halves(cells, len(o.names)) for o, cells in zip(options, parts, strict=True)]
    report = report_of(prepared, faults)
    gate(report)
    clock.lap("replay")
    sizes = {}
    if len(options) > 1:
        for option, cells in zip(options, counted, strict=True):
            sizes[len(option.names)] = held_out_likelihood(journey, cells, len(option.names), skip)
    best = int(np.argmax(list(sizes.values()))) if sizes else 0
    clustering, cells = options[best], counted[best]
    K = len(clustering.names)
    clustering = _populated(clustering, cells)
    train = [cells.group(k) for k in range(K)]
    prior = _prior(prepared, journey)
    folds = [[parts[best].group(f * K + k) for k in range(K)] for f in range(FOLDS)]
    ridges = choose_ridges(journey, folds, skip)
    judged = fit_clusters(journey, train, prior, skip, ridges)
    fits = fit_clusters(journey, [cells.group(k, K + k) for k in range(K)], prior, skip, ridges)
    clock.lap("estimation")
    filled = _scenario(prepared, journey, clustering, cells, fits)
    return FitResult(
        filled, journey, report, clustering, cells, fits, judged, trials, sizes, skip, clock.seconds
    )


_EVENTS_OF = {"stage": "churn"}


def _parts(prepared: Prepared, mapping: Mapping) -> Ints:
    """(N,) `FOLDS` for the customers that judge, else the fold of cross-validation."""
    customers = len(prepared.columns.customers)
    rng = np.random.default_rng(mapping.estimation.seed)
    judges = rng.random(customers) < mapping.estimation.held_out
    if customers < 2 or not 0 < judges.sum() < customers:
        judges = np.arange(customers) % 5 == 0
    return np.where(judges, FOLDS, rng.integers(FOLDS, size=customers))


def _halves(parts: Cells, clusters: int) -> Cells:
    """Clusters of the folds together, then those of the judges."""
    train = [parts.group(*(f * clusters + k for f in range(FOLDS))) for k in range(clusters)]
    return stack([*train, *(parts.group(FOLDS * clusters + k) for k in range(clusters))])


def _populated(clustering: Clustering, cells: Cells) -> Clustering:
    """Refuses a clustering with an empty cluster."""
    K = len(clustering.names)
    sizes = cells.customers[:K] + cells.customers[K:]
    empty = [name for name, size in zip(clustering.names, sizes, strict=True) if not size]
    if empty:
        raise LogError(
            "cluster without a modelled customer", got=", ".join(empty), expected="clusters in the log"
        )
    return clustering


def _prior(prepared: Prepared, journey: Journey) -> Parameters | None:
    """The behaviour the mapping's scenario file states; none where it is only a skeleton."""
    if (
        isinstance(prepared.loaded.mapping.scenario, dict)
        and "clusters" not in prepared.loaded.mapping.scenario
    ):
        return None
    return from_behavior(journey.cluster.behavior, journey.scenario, journey.rules)


def _scenario(
    prepared: Prepared, journey: Journey, clustering: Clustering, cells: Cells, fits: list[ClusterFit]
) -> Scenario:
    """The mapping's scenario with everything estimated put in its place."""
    base, mapping = journey.scenario, prepared.loaded.mapping
    K = len(clustering.names)
    customers = (cells.customers[:K] + cells.customers[K:]).astype(float)
    shares = customers / customers.sum()
    clusters = [
        Cluster(
            name=name,
            label=_label(base, name),
            share=float(shares[k]),
            behavior=_readable(to_behavior(fit.parameters, base, journey.rules)),
            start=_start(base, cells.group(k, K + k)),
        )
        for k, (name, fit) in enumerate(zip(clustering.names, fits, strict=True))
    ]
    return base.model_copy(
        update={
            "name": mapping.name,
            "description": mapping.description or base.description,
            "clusters": clusters,
            "assignment": clustering.assignment,
            "touchpoints": _redemptions(journey, cells.group(*range(2 * K))),
            "sources": {},  # the published rates are not this log's
            "bands": {},
        }
    )


_NOT_RATIOS = ("rate", "channels", "value")  # of a term: 1 means something there


def _readable(behavior: Behavior) -> Behavior:
    """Six digits, and no odds ratio of 1 in a list: what is not named has no effect."""

    def kept(value: object, ratios: bool) -> object:
        if isinstance(value, float):
            return float(f"{value:.6g}")
        if not isinstance(value, dict):
            return value
        items = {name: kept(item, ratios) for name, item in value.items()}
        return {name: item for name, item in items.items() if not (ratios and item in (1.0, {}))}

    events = behavior.model_dump()
    return Behavior.model_validate(
        {
            event: {term: kept(value, term not in _NOT_RATIOS) for term, value in terms.items()}
            for event, terms in events.items()
        }
    )


def _label(base: Scenario, name: str) -> str:
    return next((c.label for c in base.clusters if c.name == name), "")


def _start(scenario: Scenario, cells: Cells) -> Start:
    customers = max(int(cells.customers[0]), 1)
    stages = {
        s.name: float(n) / customers for s, n in zip(scenario.stages, cells.stages[0], strict=True) if n
    }
    consent = {
        c.name: float(n) / customers for c, n in zip(scenario.channels, cells.consents[0], strict=True)
    }
    return Start(stages=stages, consent=consent)


def _redemptions(journey: Journey, cells: Cells) -> list[Any]:
    """Touchpoints with the share of purchases in which their offer was redeemed."""
    kinds, holders = np.asarray(journey.rules.offer_kind), np.asarray(journey.rules.offer_touchpoint)
    out = list(journey.scenario.touchpoints)
    for kind in range(1, journey.personas[0].offers):
        trials, events = int(cells.trials["redemption"][0, kind]), int(cells.events["redemption"][0, kind])
        if trials:
            touchpoint = int(holders[(kinds == kind) & (holders >= 0)][0])
            out[touchpoint] = out[touchpoint].model_copy(update={"redemption_rate": events / trials})
    return out


def _heading(result: FitResult, mapping: Mapping) -> str:
    days = f"{result.report.first_day} to {result.report.last_day}"
    effects = "randomised" if result.report.causal else "NOT causal: decisions lack propensities"
    return (
        f"Fitted by `journey fit` with the mapping {mapping.name}: {result.report.rows:,} rows, "
        f"{result.report.customers:,} customers, {days}.\n"
        f"Channel effects: {effects}. Uncertainty: fit_report.json beside this file."
    )
