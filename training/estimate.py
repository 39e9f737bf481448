"""Cells to parameters: every event's regression, pooled over clusters first, then a cluster.

The pooled estimate is the centre of each cluster's ridge, so a small cluster borrows from the
others. How strongly is chosen by held-out likelihood. An event that never happened in a stage
that was watched for long is written as a rate of 0; an event without a trial keeps the rates
that the mapping's scenario states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.journey import Journey
from envs.model import Tables, tabulate
from envs.parameters import Parameters, logit
from training.cells import Cells, bernoulli
from training.coefficients import FIELDS, EventFit, impossible, only_possible
from training.logistic import fit_logistic
from training.terms import MODELS, Block, EventModel

STRENGTHS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
"""Multiples of the ridge that holds a cluster at the pooled estimate."""
WATCHED = 1_000  # trials without one event after which a stage's rate is written as 0
PSEUDO_PURCHASES = 10.0  # a stage, of the value that the pooled pattern gives it
_CLUSTER_PENALTY = 0.25  # the least ridge of a cluster's coefficient


@dataclass(frozen=True)
class ClusterFit:
    """One cluster's parameters and where they come from."""

    parameters: Parameters
    fits: dict[str, EventFit]
    strengths: dict[str, float]


def fit_clusters(
    journey: Journey,
    cells: list[Cells],
    prior: Parameters | None,
    skip: frozenset[str] = frozenset(),
    strengths: dict[str, float] | None = None,
) -> list[ClusterFit]:
    """Parameters of each cluster from one group of cells each; `skip`: events not observed."""
    pooled = _pooled(cells)
    out: list[dict[str, EventFit]] = [{} for _ in cells]
    for event in MODELS:
        if event in skip or not pooled.trials[event].any():
            continue
        centre, never = _fit_event(journey, event, pooled, None, 1.0, None)
        if centre is None:
            continue
        strength = (strengths or {}).get(event, 1.0)
        for number, group in enumerate(cells):
            own, _ = (
                (centre, never)
                if len(cells) == 1
                else _fit_event(journey, event, group, centre.estimate.beta, strength, never)
            )
            out[number][event] = own if own is not None else replace(centre, trials=0, events=0)
    values = [_values(journey, group, pooled) for group in cells]
    return [
        ClusterFit(_parameters(journey, fits, group, pooled, value, prior, skip), fits, strengths or {})
        for fits, group, value in zip(out, cells, values, strict=True)
    ]


def choose_strengths(
    journey: Journey, train: list[Cells], held_out: list[Cells], skip: frozenset[str]
) -> dict[str, float]:
    """The pooling strength of each event by the likelihood of the held-out customers."""
    if len(train) == 1:
        return {}
    scores: dict[str, list[float]] = {event: [] for event in MODELS}
    for strength in STRENGTHS:
        fits = fit_clusters(journey, train, None, skip, dict.fromkeys(MODELS, strength))
        tables = [tables_of(journey, fit.parameters) for fit in fits]
        for event in MODELS:
            scores[event].append(
                sum(
                    bernoulli(h.trials[event], h.events[event], getattr(t, event)[None])
                    for h, t in zip(held_out, tables, strict=True)
                )
            )
    return {event: STRENGTHS[int(np.argmax(score))] for event, score in scores.items()}


def tables_of(journey: Journey, parameters: Parameters) -> Tables:
    """The probabilities of these parameters in this journey's shapes."""
    return tabulate(parameters, journey.scenario, journey.rules)


def _pooled(cells: list[Cells]) -> Cells:
    out = cells[0]
    for group in cells[1:]:
        out = out + group
    return out


def _fit_event(
    journey: Journey, event: str, cells: Cells, centre: Any, strength: float, never: Any
) -> tuple[EventFit | None, frozenset[int]]:
    """One regression; `centre` None is the pooled one, which also finds the dead stages."""
    trials, events = cells.trials[event].reshape(-1), cells.events[event].reshape(-1)
    seen = np.flatnonzero(trials)
    if len(seen) == 0:
        return None, never or frozenset()
    model = MODELS[event](journey, seen)
    n, y = trials[seen].astype(np.float64), events[seen].astype(np.float64)
    if never is None:
        never = _never(model, n, y)
    if not y.sum() and centre is None:  # it never happened at all
        never = frozenset(range(len(_level_block(model).labels)))
    keep = ~np.isin(_watched(model), list(never))
    if not keep.any():
        keep = np.ones(len(seen), dtype=bool)
    penalty = model.penalty
    start = np.zeros(model.columns)
    if centre is None:
        start[0] = logit((y[keep].sum() + 0.5) / (n[keep].sum() + 1.0))
    else:
        start = centre
        penalty = strength * np.maximum(penalty, _CLUSTER_PENALTY)
    estimate = fit_logistic(model.design(keep), n[keep], y[keep], penalty, start)
    return EventFit(model, estimate, int(n.sum()), int(y.sum()), never), never


def _level_block(model: EventModel) -> Block:
    """The term whose levels are written as rates."""
    name = "channel" if model.event in ("response", "opt_out", "resolution") else "stage"
    return next(block for block in model.blocks if block.name == name)


def _watched(model: EventModel) -> Any:
    """(M,) the level that a rate of 0 may be written for, -1 where a rate is never 0."""
    if model.event in ("response", "resolution"):
        return np.full(len(model.cells), -1)
    return _level_block(model).index


def _never(model: EventModel, n: Any, y: Any) -> frozenset[int]:
    level = _watched(model)
    return frozenset(
        int(s)
        for s in np.unique(level[level >= 0])
        if n[level == s].sum() >= WATCHED and y[level == s].sum() == 0
    )


def _values(journey: Journey, group: Cells, pooled: Cells) -> tuple[Any, Any, float]:
    """Mean value by stage, multiplier by offer, coefficient of variation.

    A cluster has its own scale; its stages are held at the pooled pattern times that scale.
    """
    shape = (len(journey.scenario.stages), journey.personas[0].offers)
    n_all, total_all = pooled.purchases[0].reshape(shape), pooled.value[0].reshape(shape)
    base, multiplier = _product_means(n_all, total_all, np.full(shape[0], np.nan))
    n, total = group.purchases[0].reshape(shape), group.value[0].reshape(shape)
    pattern = np.outer(base, multiplier)
    expected = float((n * pattern).sum())
    pattern = pattern * (float(total.sum()) / expected if expected > 0 else 1.0)
    held = PSEUDO_PURCHASES * n_all / np.maximum(n_all.sum(axis=1, keepdims=True), 1)
    own, factor = _product_means(n + held, total + held * pattern, pattern[:, 0])
    mean = np.outer(own, factor)
    squares = group.value_squared[0].reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean > 0, squares / mean**2, 0.0).sum() / max(n.sum(), 1)
    return own, factor, float(np.sqrt(max(ratio - 1.0, 0.0))) if n.sum() > 1 else 0.5


def _product_means(n: Any, total: Any, empty: Any) -> tuple[Any, Any]:
    """m_{stage, offer} = a_stage · b_offer, b_0 = 1: the Poisson quasi-likelihood's fixed point."""
    overall = total.sum() / max(n.sum(), 1e-12)
    a = np.where(np.isfinite(empty), empty, overall)
    b = np.ones(n.shape[1])
    for _ in range(50):
        expected = n @ b
        a = np.where(expected > 0, total.sum(axis=1) / np.maximum(expected, 1e-12), a)
        weight = a @ n
        b = np.where(weight > 0, total.sum(axis=0) / np.maximum(weight, 1e-12), b)
        if n[:, 0].sum() > 0 and b[0] > 0:
            a, b = a * b[0], b / b[0]
    return a, np.clip(b, 1e-6, 1e6)


def _parameters(
    journey: Journey, fits: dict[str, EventFit], group: Cells, pooled: Cells,
    values: tuple[Any, Any, float], prior: Parameters | None, skip: frozenset[str],
) -> Parameters:  # fmt: skip
    """Coefficients as fields; what was not estimated is the prior's, or an impossible event."""
    known = {**impossible(journey), **(vars(prior) if prior is not None else {})}
    if "opt_out" in skip:
        known |= {k: v for k, v in impossible(journey).items() if k.startswith("opt_out")}
    for event, fit in fits.items():
        known |= FIELDS[event](journey, fit)
    if pooled.purchases.any():
        known |= {"value": values[0], "value_offer": values[1], "value_cv": min(values[2], 5.0)}
    if pooled.asked.any():
        asked = group.asked[0] + 10.0 * pooled.asked[0] / pooled.asked.sum()
        known["inbound_share"] = asked / asked.sum()
    return Parameters(**only_possible(journey, known))
