"""Rates and odds ratios to logits: the one place where a behaviour becomes numbers to add.

`Parameters` are the coefficients of design §5 for one cluster or persona; `fit` estimates
them and writes them back with `to_behavior`. A rate of 0 is a logit of minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.journey.rules import Rules
from envs.scenario.behavior import (
    Advance,
    Behavior,
    Churn,
    Inbound,
    Lapse,
    OptOut,
    Purchase,
    Resolution,
    Response,
)
from envs.scenario.schema import Scenario


@dataclass(frozen=True)
class Parameters:
    """Logits and log odds ratios; C channels, T touchpoints, L stages, K offer kinds."""

    response_channel: Floats  # (C,)
    response_touchpoint: Floats  # (T, L) log odds ratio
    response_pair: Floats  # (T, C)
    response_engagement: float
    response_fatigue: float
    response_goodwill: float
    response_offer: Floats  # (1 + K,) 0 without an offer
    response_age: float
    opt_out_channel: Floats  # (C,)
    opt_out_fatigue: float
    opt_out_reply: float
    resolution_channel: Floats  # (C,)
    resolution_pair: Floats  # (C inbound, C reply)
    purchase_stage: Floats  # (L,)
    purchase_engagement: float
    purchase_response: Floats  # (T,)
    purchase_offer: Floats  # (1 + K,)
    value: Floats  # (L,) money
    value_offer: Floats  # (1 + K,) multiplier
    value_cv: float
    churn_stage: Floats  # (L,)
    churn_goodwill: float
    churn_fatigue: float
    advance_stage: Floats  # (L,)
    advance_engagement: float
    advance_response: Floats  # (T, L)
    advance_offer: Floats  # (1 + K,)
    lapse_stage: Floats  # (L,)
    inbound_stage: Floats  # (L,)
    inbound_goodwill: float
    inbound_repeat: float
    inbound_share: Floats  # (C,) sums to 1, or all 0


def logit(rate: float) -> float:
    """log(p / (1 - p)); ±inf at 0 and 1."""
    if rate <= 0.0:
        return -math.inf
    return math.inf if rate >= 1.0 else math.log(rate / (1.0 - rate))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), exact 0 and 1 at ±inf."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-np.asarray(x, dtype=np.float64)))


class _Names:
    """Name → number of everything a behaviour refers to."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self.stages = [s.name for s in scenario.stages]
        self.channels = [c.name for c in scenario.channels]
        self.touchpoints = [t.name for t in scenario.touchpoints]
        kinds = np.asarray(rules.offer_kind)
        holders = np.asarray(rules.offer_touchpoint)
        self.offers = [
            self.touchpoints[int(holders[np.flatnonzero(kinds == k)[0]])]
            for k in range(1, int(kinds.max()) + 1)
        ]


def from_behavior(behavior: Behavior, scenario: Scenario, rules: Rules) -> Parameters:
    """The coefficients a behaviour states; names were validated with the scenario."""
    names = _Names(scenario, rules)
    r, p, v = behavior.response, behavior.purchase, behavior.purchase
    preference = _vector(behavior.inbound.channels, names.channels, 0.0)
    total = float(preference.sum())
    resolution_pair = np.zeros((len(names.channels), len(names.channels)))
    for inbound, ratios in behavior.resolution.inbound.items():
        for reply, ratio in ratios.items():
            resolution_pair[names.channels.index(inbound), names.channels.index(reply)] = math.log(ratio)
    pair = np.zeros((len(names.touchpoints), len(names.channels)))
    for touchpoint, ratios in r.pair.items():
        for channel, ratio in ratios.items():
            pair[names.touchpoints.index(touchpoint), names.channels.index(channel)] = math.log(ratio)
    return Parameters(
        response_channel=_logits(r.rate, names.channels),
        response_touchpoint=_by_stage(r.touchpoint, names),
        response_pair=pair,
        response_engagement=math.log(r.engagement),
        response_fatigue=math.log(r.fatigue),
        response_goodwill=math.log(r.goodwill),
        response_offer=_offers(r.offer_in_hand, names),
        response_age=math.log(r.day_open),
        opt_out_channel=_logits(behavior.opt_out.rate, names.channels),
        opt_out_fatigue=math.log(behavior.opt_out.fatigue),
        opt_out_reply=math.log(behavior.opt_out.reply),
        resolution_channel=_logits(behavior.resolution.rate, names.channels),
        resolution_pair=resolution_pair,
        purchase_stage=_logits(p.rate, names.stages),
        purchase_engagement=math.log(p.engagement),
        purchase_response=_log_ratios(p.response, names.touchpoints),
        purchase_offer=_offers(p.offer_in_hand, names),
        value=_vector(v.value, names.stages, 0.0),
        value_offer=np.exp(_offers(v.value_with_offer, names)),
        value_cv=v.value_cv,
        churn_stage=_logits(behavior.churn.rate, names.stages),
        churn_goodwill=math.log(behavior.churn.goodwill),
        churn_fatigue=math.log(behavior.churn.fatigue),
        advance_stage=_logits(behavior.advance.rate, names.stages),
        advance_engagement=math.log(behavior.advance.engagement),
        advance_response=_by_stage(behavior.advance.response, names),
        advance_offer=_offers(behavior.advance.offer_in_hand, names),
        lapse_stage=_logits(behavior.lapse.rate, names.stages),
        inbound_stage=_logits(behavior.inbound.rate, names.stages),
        inbound_goodwill=math.log(behavior.inbound.goodwill),
        inbound_repeat=math.log(behavior.inbound.repeat),
        inbound_share=preference / total if total > 0 else preference,
    )


def to_behavior(parameters: Parameters, scenario: Scenario, rules: Rules) -> Behavior:
    """The behaviour people read, from estimated coefficients: inverse of `from_behavior`."""
    q, names = parameters, _Names(scenario, rules)
    stages, channels, touchpoints = names.stages, names.channels, names.touchpoints
    return Behavior(
        response=Response(
            rate=_rates(q.response_channel, channels),
            touchpoint={t: _ratios(q.response_touchpoint[i], stages) for i, t in enumerate(touchpoints)},
            pair={t: _ratios(q.response_pair[i], channels) for i, t in enumerate(touchpoints)},
            engagement=math.exp(q.response_engagement),
            fatigue=math.exp(q.response_fatigue),
            goodwill=math.exp(q.response_goodwill),
            offer_in_hand=_ratios(q.response_offer[1:], names.offers),
            day_open=math.exp(q.response_age),
        ),
        opt_out=OptOut(
            rate=_rates(q.opt_out_channel, channels),
            fatigue=math.exp(q.opt_out_fatigue),
            reply=math.exp(q.opt_out_reply),
        ),
        resolution=Resolution(
            rate=_rates(q.resolution_channel, channels),
            inbound={c: _ratios(q.resolution_pair[i], channels) for i, c in enumerate(channels)},
        ),
        purchase=Purchase(
            rate=_rates(q.purchase_stage, stages),
            engagement=math.exp(q.purchase_engagement),
            response=_ratios(q.purchase_response, touchpoints),
            offer_in_hand=_ratios(q.purchase_offer[1:], names.offers),
            value={s: float(v) for s, v in zip(stages, q.value, strict=True) if v > 0},
            value_with_offer={o: float(v) for o, v in zip(names.offers, q.value_offer[1:], strict=True)},
            value_cv=q.value_cv,
        ),
        churn=Churn(
            rate=_rates(q.churn_stage, stages),
            goodwill=math.exp(q.churn_goodwill),
            fatigue=math.exp(q.churn_fatigue),
        ),
        advance=Advance(
            rate=_rates(q.advance_stage, stages),
            engagement=math.exp(q.advance_engagement),
            response={t: _ratios(q.advance_response[i], stages) for i, t in enumerate(touchpoints)},
            offer_in_hand=_ratios(q.advance_offer[1:], names.offers),
        ),
        lapse=Lapse(rate=_rates(q.lapse_stage, stages)),
        inbound=Inbound(
            rate=_rates(q.inbound_stage, stages),
            goodwill=math.exp(q.inbound_goodwill),
            repeat=math.exp(q.inbound_repeat),
            channels={c: float(v) for c, v in zip(channels, q.inbound_share, strict=True) if v > 0},
        ),
    )


def _vector(values: Mapping[str, float], names: list[str], default: float) -> Floats:
    return np.array([values.get(name, default) for name in names], dtype=np.float64)


def _logits(rates: Mapping[str, float], names: list[str]) -> Floats:
    return np.array([logit(rates.get(name, 0.0)) for name in names])


def _log_ratios(ratios: Mapping[str, float], names: list[str]) -> Floats:
    return np.log(_vector(ratios, names, 1.0))


def _offers(ratios: Mapping[str, float], names: _Names) -> Floats:
    return np.concatenate([[0.0], _log_ratios(ratios, names.offers)])


def _by_stage(ratios: Mapping[str, float | dict[str, float]], names: _Names) -> Floats:
    """(T, L) log odds ratios from one number a touchpoint or one a stage of it."""
    out = np.zeros((len(names.touchpoints), len(names.stages)))
    for touchpoint, value in ratios.items():
        row = names.touchpoints.index(touchpoint)
        out[row] = _log_ratios(value, names.stages) if isinstance(value, dict) else math.log(value)
    return out


def _rates(logits: Floats, names: list[str]) -> dict[str, float]:
    rates = sigmoid(logits)
    return {name: float(p) for name, p in zip(names, rates, strict=True) if p > 0.0}


def _ratios(logs: Floats, names: list[str]) -> dict[str, float]:
    return {name: math.exp(float(v)) for name, v in zip(names, logs, strict=True)}
