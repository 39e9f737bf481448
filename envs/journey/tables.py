"""P(events | state, action): the event probabilities of one persona, tabulated.

The only randomness of a journey. Simulator, solver, likelihood and belief all look their
probabilities up here; the draws depend on each other only in the order of design §5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.journey.logits import Parameters, sigmoid
from envs.journey.rules import NEVER, Rules
from envs.scenario.schema import Scenario


class Tables(NamedTuple):
    """Probabilities and means; `j` and `k` are the indices of `response_index`.

    A actions, W days of the response window, L stages, E engagement, F fatigue and
    G goodwill levels, O = 1 + offer kinds, T touchpoints, C channels.
    """

    response: Floats  # (A × W, J) J = L·E·O·F·G
    opt_out: Floats  # (A, F)
    resolution: Floats  # (A, C inbound)
    purchase: Floats  # (1 + T, K) K = L·E·O, by the touchpoint responded to today
    redemption: Floats  # (O,) of purchases with that offer in hand
    churn: Floats  # (L, G × F) column fatigue·G + goodwill
    advance: Floats  # (1 + T, K)
    lapse: Floats  # (L,)
    inbound: Floats  # (2, L × G) second row: while a request is open
    inbound_channel: Floats  # (C,) cumulative
    value: Floats  # (L × O,) mean value of a purchase
    value_sigma: float  # of the log-normal value
    advance_to: Ints  # (L,) stage, or -1
    lapse_to: Ints  # (L,)
    window: int  # W
    offers: int  # O
    engagements: int  # E
    fatigues: int  # F
    goodwills: int  # G


def tabulate(parameters: Parameters, scenario: Scenario, rules: Rules) -> Tables:
    """All event probabilities of one persona (design §5)."""
    q = parameters
    stages = len(scenario.stages)
    e, f = rules.engagement_capacity + 1, rules.fatigue_capacity + 1
    g, o = rules.goodwill_capacity + 1, int(np.max(rules.offer_kind)) + 1
    number = {s.name: i for i, s in enumerate(scenario.stages)}
    engagement, fatigue = np.arange(e), np.arange(f)
    goodwill = np.arange(g) - rules.goodwill_neutral
    living = np.array([i != rules.churned for i in range(stages)])
    responded = np.concatenate([np.zeros((1, stages)), q.advance_response])  # (1+T, L)
    advance = sigmoid(
        q.advance_stage[None, :, None, None]
        + q.advance_engagement * engagement[None, None, :, None]
        + q.advance_offer[None, None, None, :]
        + responded[:, :, None, None]
    )
    purchase = sigmoid(
        q.purchase_stage[None, :, None, None]
        + q.purchase_engagement * engagement[None, None, :, None]
        + q.purchase_offer[None, None, None, :]
        + np.concatenate([[0.0], q.purchase_response])[:, None, None, None]
    )
    churn = sigmoid(
        q.churn_stage[:, None, None]
        + q.churn_fatigue * fatigue[None, :, None]
        + q.churn_goodwill * goodwill[None, None, :]
    )
    request = (q.inbound_stage[:, None] + q.inbound_goodwill * goodwill)[None]
    inbound = sigmoid(request + np.array([0.0, q.inbound_repeat])[:, None, None])
    if not q.inbound_share.any():
        inbound = np.zeros_like(inbound)
    advance_to = np.array([number.get(s.advance_to or "", NEVER) for s in scenario.stages])
    lapse_to = np.array([number.get(s.lapse_to or "", NEVER) for s in scenario.stages])
    redemption = np.zeros(o)
    for kind, touchpoint in zip(rules.offer_kind, rules.offer_touchpoint, strict=True):
        if touchpoint >= 0:
            redemption[kind] = scenario.touchpoints[int(touchpoint)].redemption_rate
    return Tables(
        response=_response(q, rules, stages, scenario.memory.response_window_days, o),
        opt_out=_opt_out(q, rules),
        resolution=_resolution(q, rules),
        purchase=_rows(purchase * living[None, :, None, None]),
        redemption=redemption,
        churn=churn.reshape(stages, -1) * living[:, None],
        advance=_rows(advance * (advance_to >= 0)[None, :, None, None]),
        lapse=sigmoid(q.lapse_stage) * (lapse_to >= 0),
        inbound=(inbound * living[None, :, None]).reshape(2, -1),
        inbound_channel=np.cumsum(q.inbound_share),
        value=(q.value[:, None] * q.value_offer[None, :]).reshape(-1),
        value_sigma=float(np.sqrt(np.log1p(q.value_cv**2))),
        advance_to=advance_to.astype(np.int64),
        lapse_to=lapse_to.astype(np.int64),
        window=scenario.memory.response_window_days,
        offers=o,
        engagements=e,
        fatigues=f,
        goodwills=g,
    )


def _rows(table: Floats) -> Floats:
    return np.ascontiguousarray(table.reshape(len(table), -1))


def _response(q: Parameters, rules: Rules, stages: int, window: int, offers: int) -> Floats:
    """(A × W, L·E·O·F·G); rows of wait and replies are 0: they draw no response."""
    e, f = np.arange(rules.engagement_capacity + 1), np.arange(rules.fatigue_capacity + 1)
    g = np.arange(rules.goodwill_capacity + 1) - rules.goodwill_neutral
    shape = (stages, len(e), offers, len(f), len(g))
    state = (
        q.response_engagement * e[None, :, None, None, None]
        + q.response_offer[None, None, :, None, None]
        + q.response_fatigue * f[None, None, None, :, None]
        + q.response_goodwill * g[None, None, None, None, :]
    )
    actions = len(rules.action_touchpoint)
    out = np.zeros((actions * window, int(np.prod(shape))))
    for a in range(1, actions):
        t, c = int(rules.action_touchpoint[a]), int(rules.action_channel[a])
        if rules.is_service[t]:
            continue
        base = q.response_channel[c] + q.response_pair[t, c]
        stage = q.response_touchpoint[t][:, None, None, None, None]
        for age in range(window):
            logits = np.broadcast_to(base + stage + state + q.response_age * age, shape)
            out[a * window + age] = sigmoid(logits).reshape(-1)
    return out


def _opt_out(q: Parameters, rules: Rules) -> Floats:
    actions = len(rules.action_touchpoint)
    out = np.zeros((actions, rules.fatigue_capacity + 1))
    for a in range(1, actions):
        shift = q.opt_out_reply if rules.is_service[rules.action_touchpoint[a]] else 0.0
        base = q.opt_out_channel[rules.action_channel[a]] + shift
        out[a] = sigmoid(base + q.opt_out_fatigue * np.arange(out.shape[1]))
    return out


def _resolution(q: Parameters, rules: Rules) -> Floats:
    actions, channels = len(rules.action_touchpoint), len(q.resolution_channel)
    out = np.zeros((actions, channels))
    for a in range(1, actions):
        if rules.is_service[rules.action_touchpoint[a]]:
            c = rules.action_channel[a]
            out[a] = sigmoid(q.resolution_channel[c] + q.resolution_pair[:, c])
    return out
