"""Cells to parameters: every event's regression, pooled over clusters first, then a cluster.

The pooled regression gives each cluster a level of its own and all other terms in common; it is
the centre of the cluster's ridge, so a small cluster borrows from the others. How strongly, and
how strongly interactions are held at 0, is chosen by held-out likelihood. An event that never
happened in a stage that was watched for long (an opt-out: on a channel) is written as a rate of
0; an event without a trial keeps the rates that the mapping's scenario states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.arrays import Floats, Ints
from envs.journey.journey import Journey
from envs.journey.logits import Parameters, logit, sigmoid
from envs.journey.tables import Tables, tabulate
from training.fit.cells import Cells, bernoulli
from training.fit.coefficients import FIELDS, EventFit, impossible, only_possible
from training.fit.logistic import Estimate, fit_logistic
from training.fit.purchase_values import Values, fit_values
from training.fit.terms import LOOSE, MODELS, Block, EventModel

POOLING = (10_000.0, 1_000.0, 100.0, 10.0, 1.0)
"""Multiples of the ridge that holds a cluster at the pooled estimate, strongest first."""
INTERACTIONS = (1_000.0, 100.0, 10.0, 1.0)
"""Multiples of the ridge that holds an interaction at 0, strongest first."""
WATCHED = 1_000  # trials without one event after which a stage's rate is written as 0
_CLUSTER_PENALTY = 0.25  # the least ridge of a cluster's coefficient
_LEVEL_PENALTY = 0.01  # of a cluster's own level


@dataclass(frozen=True)
class Ridge:
    """How strongly one event's clusters and interactions are held."""

    pooling: float = 1.0
    interactions: float = 1.0


@dataclass(frozen=True)
class ClusterFit:
    """One cluster's parameters and where they come from."""

    parameters: Parameters
    fits: dict[str, EventFit]
    ridges: dict[str, Ridge]


@dataclass(frozen=True)
class _Trials:
    """One event in one group of customers, over the M cells with trials."""

    model: EventModel
    trials: Ints  # (M,)
    events: Ints  # (M,)
    watched: Ints  # (M,) the level that a rate of 0 may be written for, -1 where a rate is never 0

    @cached_property
    def design(self) -> Floats:
        """(M, P) design, the same under every ridge."""
        return self.model.design()


@dataclass(frozen=True)
class _Pooled:
    """One event's regression over all clusters: a level each, all other terms in common."""

    found: Estimate  # (K + P − 1,)
    clusters: int  # K
    never: frozenset[int]

    def columns(self, k: int) -> Ints:
        """(P,) of cluster k: its level, and what all have in common."""
        return np.concatenate([[k], np.arange(self.clusters, len(self.found.beta))])

    def own(self, k: int) -> Estimate:
        """What is known of a cluster that no day of its own speaks of."""
        beta, covariance = self.found.beta, self.found.covariance
        c = self.columns(k)
        return Estimate(beta[c], np.linalg.inv(covariance[np.ix_(c, c)]), self.found.iterations)


def fit_clusters(
    journey: Journey,
    cells: list[Cells],
    prior: Parameters | None,
    skip: frozenset[str] = frozenset(),
    ridges: dict[str, Ridge] | None = None,
) -> list[ClusterFit]:
    """Parameters of each cluster from one group of cells each; `skip`: events not observed."""
    out: list[dict[str, EventFit]] = [{} for _ in cells]
    for event in _seen_events(cells, skip):
        ridge = (ridges or {}).get(event, Ridge())
        parts, whole = _all_trials(journey, event, cells)
        pool = _fit_pooled(parts, whole, ridge.interactions)
        for fits, fit in zip(out, _fit_event(parts, ridge, pool), strict=True):
            fits[event] = fit
    pooled = _together(cells)
    values = fit_values(cells, len(journey.scenario.stages), journey.personas[0].offers)
    return [
        ClusterFit(_parameters(journey, fits, group, pooled, value, prior, skip), fits, ridges or {})
        for fits, group, value in zip(out, cells, values, strict=True)
    ]


def choose_ridges(journey: Journey, folds: list[list[Cells]], skip: frozenset[str]) -> dict[str, Ridge]:
    """The ridges of each event by cross-validation over folds of clusters; ties to the strongest."""
    chosen = {}
    splits = [(_summed(folds[:f] + folds[f + 1 :]), folds[f]) for f in range(len(folds))]
    for event in _seen_events(_summed(folds), skip):
        scores: dict[Ridge, float] = {}
        for train, judge in splits:
            for ridge, score in _scores(journey, event, train, judge):
                scores[ridge] = scores.get(ridge, 0.0) + score
        if scores:
            chosen[event] = max(scores, key=lambda ridge: scores[ridge])
    return chosen


def _summed(folds: list[list[Cells]]) -> list[Cells]:
    """Cluster by cluster, the folds together."""
    return [_together(list(groups)) for groups in zip(*folds, strict=True)]


def _scores(
    journey: Journey, event: str, train: list[Cells], judge: list[Cells]
) -> Iterator[tuple[Ridge, float]]:
    """Every ridge and the log-likelihood of the judging fold under it, strongest first."""
    if not any(group.trials[event].any() for group in train):
        return
    parts, whole = _all_trials(journey, event, train)
    judges = [_trials(journey, event, group) for group in judge]
    pooled = None
    for interactions in INTERACTIONS if whole.model.interacts else (1.0,):
        pooled = _fit_pooled(parts, whole, interactions, pooled)
        fits = None  # of a ridge nearby
        for pooling in POOLING if len(train) > 1 else (1.0,):
            ridge = Ridge(pooling, interactions)
            fits = _fit_event(parts, ridge, pooled, fits)
            yield ridge, sum(_likelihood(fit, group) for fit, group in zip(fits, judges, strict=True))


def _seen_events(cells: list[Cells], skip: frozenset[str]) -> list[str]:
    return [e for e in MODELS if e not in skip and any(group.trials[e].any() for group in cells)]


def _likelihood(fit: EventFit, group: _Trials) -> float:
    """Log-likelihood of one group's trials under one regression."""
    p = sigmoid(group.design @ fit.estimate.beta)
    return bernoulli(group.trials, group.events, np.where(np.isin(group.watched, list(fit.never)), 0.0, p))


def tables_of(journey: Journey, parameters: Parameters) -> Tables:
    """The probabilities of these parameters in this journey's shapes."""
    return tabulate(parameters, journey.scenario, journey.rules)


def _together(cells: list[Cells]) -> Cells:
    out = cells[0]
    for group in cells[1:]:
        out = out + group
    return out


def _trials(journey: Journey, event: str, cells: Cells) -> _Trials:
    trials, events = cells.trials[event].reshape(-1), cells.events[event].reshape(-1)
    seen = np.flatnonzero(trials)
    model, n, y = MODELS[event](journey, seen), trials[seen].astype(float), events[seen].astype(float)
    return _Trials(model, n, y, _watched(model))


def _all_trials(journey: Journey, event: str, cells: list[Cells]) -> tuple[list[_Trials], _Trials]:
    """A cluster's each, and those of all together."""
    return [_trials(journey, event, group) for group in cells], _trials(journey, event, _together(cells))


def _fit_event(
    parts: list[_Trials], ridge: Ridge, pooled: _Pooled, nearby: list[EventFit] | None = None
) -> list[EventFit]:
    """One regression a cluster, each held at its own centre; `nearby` are those of another ridge."""
    out = []
    for k, group in enumerate(parts):
        model, n, y = group.model, group.trials, group.events
        keep = ~np.isin(group.watched, list(pooled.never))
        if len(parts) == 1 or not keep.any():
            estimate = pooled.own(k)
        else:
            penalty = ridge.pooling * np.maximum(model.penalty(ridge.interactions), _CLUSTER_PENALTY)
            penalty[0] = _LEVEL_PENALTY
            start = None if nearby is None else nearby[k].estimate.beta
            centre = pooled.found.beta[pooled.columns(k)]
            estimate = fit_logistic(group.design[keep], n[keep], y[keep], penalty, centre, start=start)
        out.append(EventFit(model, estimate, int(n.sum()), int(y.sum()), pooled.never))
    return out


def _fit_pooled(
    parts: list[_Trials], whole: _Trials, interactions: float, nearby: _Pooled | None = None
) -> _Pooled:
    """All clusters in one regression, and where an event never happens."""
    never = _never(whole)
    K, P = len(parts), whole.model.columns
    designs, trials, events = [], [], []
    for k, group in enumerate(parts):
        keep = ~np.isin(group.watched, list(never))
        X = group.design[keep]
        designs.append(np.hstack([np.eye(K)[np.full(len(X), k)], X[:, 1:]]))
        trials.append(group.trials[keep])
        events.append(group.events[keep])
    n, y = np.concatenate(trials), np.concatenate(events)
    level = logit((y.sum() + 0.5) / (n.sum() + 1.0))
    penalty = np.concatenate([np.full(K, LOOSE), whole.model.penalty(interactions)[1:]])
    centre = np.concatenate([np.full(K, level), np.zeros(P - 1)])
    start = None if nearby is None else nearby.found.beta
    return _Pooled(fit_logistic(np.vstack(designs), n, y, penalty, centre, start=start), K, never)


def level_block(model: EventModel) -> Block:
    """The term whose levels are written as rates."""
    name = "channel" if model.event in ("response", "opt_out", "resolution") else "stage"
    return next(block for block in model.blocks if block.name == name)


def _watched(model: EventModel) -> Ints:
    if model.event in ("response", "resolution"):
        return np.full(len(model.cells), -1)
    index = level_block(model).index
    if index is None:
        raise ValueError("a term of levels has an index")
    return index


def _never(whole: _Trials) -> frozenset[int]:
    model, n, y, level = whole.model, whole.trials, whole.events, whole.watched
    if not y.sum():  # it never happened at all
        return frozenset(range(len(level_block(model).labels)))
    # an opt-out that nobody made on a channel would only multiply the consents to be solved
    watched = 1 if model.event == "opt_out" else WATCHED
    return frozenset(
        int(s)
        for s in np.unique(level[level >= 0])
        if n[level == s].sum() >= watched and y[level == s].sum() == 0
    )


def _parameters(
    journey: Journey, fits: dict[str, EventFit], group: Cells, pooled: Cells,
    values: Values, prior: Parameters | None, skip: frozenset[str],
) -> Parameters:  # fmt: skip
    """Coefficients as fields; what was not estimated is the prior's, or an impossible event."""
    known = {**impossible(journey), **(vars(prior) if prior is not None else {})}
    if "opt_out" in skip:
        known |= {k: v for k, v in impossible(journey).items() if k.startswith("opt_out")}
    for event, fit in fits.items():
        known |= FIELDS[event](journey, fit)
    if pooled.purchases.any():
        known |= {"value": values.stage, "value_offer": values.offer, "value_cv": min(values.cv, 5.0)}
    if pooled.asked.any():
        asked = group.asked[0] + 10.0 * pooled.asked[0] / pooled.asked.sum()
        known["inbound_share"] = asked / asked.sum()
    return Parameters(**only_possible(journey, known))
