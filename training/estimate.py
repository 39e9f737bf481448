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
from training.logistic import Estimate, fit_logistic
from training.terms import MODELS, Block, EventModel

STRENGTHS = (1.0, 5.0, 25.0)
"""Multiples of the ridge that holds a cluster at the pooled estimate."""
WATCHED = 1_000  # trials without one event after which a stage's rate is written as 0
PSEUDO_PURCHASES = 20.0  # of the pooled mean value, in each cluster's
_CLUSTER_PENALTY = 0.25  # the least ridge of a cluster's coefficient


@dataclass(frozen=True)
class EventFit:
    """One event of one cluster: None where there was no trial."""

    model: EventModel
    estimate: Estimate
    trials: int
    events: int
    never: frozenset[int]  # stages (opt-out: channels) in which it never happened


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
        int(s) for s in np.unique(level[level >= 0]) if n[level == s].sum() >= WATCHED and y[level == s].sum() == 0
    )


def _values(journey: Journey, group: Cells, pooled: Cells) -> tuple[Any, Any, float]:
    """Mean value by stage, multiplier by offer, coefficient of variation."""
    shape = (len(journey.scenario.stages), journey.personas[0].offers)
    base, multiplier = _product_means(
        pooled.purchases[0].reshape(shape), pooled.value[0].reshape(shape), np.full(shape[0], np.nan)
    )
    n, total = group.purchases[0].reshape(shape), group.value[0].reshape(shape)
    borrowed = PSEUDO_PURCHASES * pooled.purchases[0].reshape(shape) / max(pooled.purchases.sum(), 1)
    own, factor = _product_means(n + borrowed, total + borrowed * np.outer(base, multiplier), base)
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
    return Parameters(**_only_possible(journey, known))


def _only_possible(journey: Journey, known: dict[str, Any]) -> dict[str, Any]:
    """Rates of what the scenario does not have are 0, and its odds ratios say nothing."""
    rules, tables = journey.rules, journey.personas[0]
    never, out = -np.inf, dict(known)
    stage = np.arange(len(journey.scenario.stages))
    living = stage != rules.churned
    for name in ("purchase_stage", "churn_stage", "inbound_stage"):
        out[name] = np.where(living, out[name], never)
    out["advance_stage"] = np.where(tables.advance_to >= 0, out["advance_stage"], never)
    out["lapse_stage"] = np.where(tables.lapse_to >= 0, out["lapse_stage"], never)
    paired = np.asarray(rules.action_of) >= 0  # (T, C)
    marketing = np.asarray(rules.is_service) == 0
    used, replied = paired[marketing].any(axis=0), paired[~marketing].any(axis=0)
    asked = np.isin(np.arange(len(used)), np.asarray(rules.inbox_channel))
    admits = np.array(
        [[t.stages is None or s.name in t.stages for s in journey.scenario.stages] for t in journey.scenario.touchpoints]
    )
    at = marketing[:, None] & living[None] & admits
    out["response_channel"] = np.where(used, out["response_channel"], never)
    out["response_touchpoint"] = np.where(at, out["response_touchpoint"], 0.0)
    out["response_pair"] = np.where(paired & marketing[:, None], out["response_pair"], 0.0)
    out["resolution_channel"] = np.where(replied, out["resolution_channel"], never)
    out["resolution_pair"] = np.where(asked[:, None] & replied[None], out["resolution_pair"], 0.0)
    out["purchase_response"] = np.where(marketing, out["purchase_response"], 0.0)
    moving = marketing[:, None] & (tables.advance_to >= 0)[None]
    out["advance_response"] = np.where(moving, out["advance_response"], 0.0)
    out["value"] = np.where(living, out["value"], 0.0)
    out["inbound_share"] = np.where(asked, out["inbound_share"], 0.0)
    return out


def impossible(journey: Journey) -> dict[str, Any]:
    """Fields of a journey in which nothing ever happens."""
    C, T, L = len(journey.scenario.channels), len(journey.scenario.touchpoints), len(journey.scenario.stages)
    K = journey.personas[0].offers
    never = -np.inf
    return {
        "response_channel": np.full(C, never), "response_touchpoint": np.zeros((T, L)),
        "response_pair": np.zeros((T, C)), "response_engagement": 0.0, "response_fatigue": 0.0,
        "response_goodwill": 0.0, "response_offer": np.zeros(K), "response_age": 0.0,
        "opt_out_channel": np.full(C, never), "opt_out_fatigue": 0.0, "opt_out_reply": 0.0,
        "resolution_channel": np.full(C, never), "resolution_pair": np.zeros((C, C)),
        "purchase_stage": np.full(L, never), "purchase_engagement": 0.0, "purchase_response": np.zeros(T),
        "purchase_offer": np.zeros(K), "value": np.zeros(L), "value_offer": np.ones(K), "value_cv": 0.5,
        "churn_stage": np.full(L, never), "churn_goodwill": 0.0, "churn_fatigue": 0.0,
        "advance_stage": np.full(L, never), "advance_engagement": 0.0, "advance_response": np.zeros((T, L)),
        "advance_offer": np.zeros(K), "lapse_stage": np.full(L, never), "inbound_stage": np.full(L, never),
        "inbound_goodwill": 0.0, "inbound_repeat": 0.0, "inbound_share": np.zeros(C),
    }  # fmt: skip


class _Read:
    """Blocks of one event's coefficients by name."""

    def __init__(self, journey: Journey, fit: EventFit) -> None:
        self._beta, self._starts = fit.estimate.beta, fit.model.starts
        self.shape = (len(journey.scenario.touchpoints), len(journey.scenario.stages))
        self.channels = len(journey.scenario.channels)
        self.never = sorted(fit.never)

    def block(self, name: str) -> Any:
        return self._beta[self._starts[name]]

    def one(self, name: str) -> float:
        return float(self.block(name)[0])

    def by_stage(self) -> Any:
        out = self.one("level") + self.block("stage")
        out[self.never] = -np.inf
        return out

    def by_channel(self) -> Any:
        out = self.one("level") + self.block("channel")
        out[self.never] = -np.inf
        return out

    def offers(self) -> Any:
        return np.concatenate([[0.0], self.block("offer")])


def _response(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    by_stage = r.block("touchpoint")[:, None] + r.block("stage")[None] + r.block("touchpoint_stage").reshape(r.shape)
    return {
        "response_channel": r.by_channel(),
        "response_touchpoint": by_stage,
        "response_pair": r.block("pair").reshape(-1, r.channels),
        "response_engagement": r.one("engagement"),
        "response_fatigue": r.one("fatigue"),
        "response_goodwill": r.one("goodwill"),
        "response_offer": r.offers(),
        "response_age": r.one("age"),
    }


def _opt_out(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    return {
        "opt_out_channel": r.by_channel(),
        "opt_out_fatigue": r.one("fatigue"),
        "opt_out_reply": r.one("reply"),
    }


def _resolution(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    pair = r.block("pair").reshape(r.channels, r.channels)
    return {"resolution_channel": r.by_channel(), "resolution_pair": pair}


def _purchase(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    return {
        "purchase_stage": r.by_stage(),
        "purchase_engagement": r.one("engagement"),
        "purchase_response": r.one("answered") + r.block("response"),
        "purchase_offer": r.offers(),
    }


def _churn(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    return {
        "churn_stage": r.by_stage(),
        "churn_goodwill": r.one("goodwill"),
        "churn_fatigue": r.one("fatigue"),
    }


def _advance(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    responded = r.one("answered") + r.block("response")[:, None] + r.block("response_stage").reshape(r.shape)
    return {
        "advance_stage": r.by_stage(),
        "advance_engagement": r.one("engagement"),
        "advance_response": responded,
        "advance_offer": r.offers(),
    }


def _lapse(journey: Journey, fit: EventFit) -> dict[str, Any]:
    return {"lapse_stage": _Read(journey, fit).by_stage()}


def _inbound(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    return {
        "inbound_stage": r.by_stage(),
        "inbound_goodwill": r.one("goodwill"),
        "inbound_repeat": r.one("repeat"),
    }


FIELDS = {
    "response": _response,
    "opt_out": _opt_out,
    "resolution": _resolution,
    "purchase": _purchase,
    "churn": _churn,
    "advance": _advance,
    "lapse": _lapse,
    "inbound": _inbound,
}
