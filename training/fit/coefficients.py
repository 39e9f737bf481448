"""Coefficients of the regressions as fields of `Parameters`, and what no journey can hold.

One small function an event; estimation is in `regressions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.arrays import Floats
from envs.journey.journey import Journey
from training.fit.logistic import Estimate
from training.fit.terms import EventModel


@dataclass(frozen=True)
class EventFit:
    """One event of one cluster."""

    model: EventModel
    estimate: Estimate
    trials: int
    events: int
    never: frozenset[int]  # stages (opt-out: channels) in which it never happened


def only_possible(journey: Journey, known: Mapping[str, Any]) -> dict[str, Any]:
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
        [
            [t.stages is None or s.name in t.stages for s in journey.scenario.stages]
            for t in journey.scenario.touchpoints
        ]
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

    def block(self, name: str) -> Floats:
        return self._beta[self._starts[name]]

    def one(self, name: str) -> float:
        return float(self.block(name)[0])

    def by_stage(self) -> Floats:
        out = self.one("level") + self.block("stage")
        out[self.never] = -np.inf
        return out

    def by_channel(self) -> Floats:
        out = self.one("level") + self.block("channel")
        out[self.never] = -np.inf
        return out

    def offers(self) -> Floats:
        return np.concatenate([[0.0], self.block("offer")])


def _response(journey: Journey, fit: EventFit) -> dict[str, Any]:
    r = _Read(journey, fit)
    by_stage = (
        r.block("touchpoint")[:, None] + r.block("stage")[None] + r.block("touchpoint_stage").reshape(r.shape)
    )
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


FIELDS: dict[str, Callable[[Journey, EventFit], dict[str, Any]]] = {
    "response": _response,
    "opt_out": _opt_out,
    "resolution": _resolution,
    "purchase": _purchase,
    "churn": _churn,
    "advance": _advance,
    "lapse": _lapse,
    "inbound": _inbound,
}
