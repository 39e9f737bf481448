"""The belief over a cluster's hidden types: Bayes' rule with the model's own likelihood.

One implementation, compiled for the simulator and the planner and called as plain Python in
the service (`compiled.plain`): products and quotients of the tabulated chances in a fixed
order, so both give the same bits. A day counts as a whole, what did not happen included,
when it is closed; the inbound draw counts after the close. Leaves out what has no likelihood
of its own or the same one under every persona: where a journey starts, moves by rule,
redemptions, opt-ins and surveys; and how much a purchase was worth (only means are modelled).
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.day.chances import (
    inbound_chance,
    move_thresholds,
    opt_out_chance,
    purchase_chance,
    resolution_chance,
    response_chance,
    response_index,
    response_row,
)
from envs.day.day import (
    NONE,
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    possible,
)
from envs.day.fold import contacted
from envs.journey.packed import (
    ADVANCE_TO,
    CHANCE_INBOUND_CHANNEL,
    CHURNED,
    INBOX_CHANNEL,
    LAPSE_TO,
    OFFER_KIND,
    PURCHASE_TO,
)
from envs.journey.state import State

FLOOR = 1e-6
"""No persona is ever ruled out: a belief stays in [FLOOR, 1 − FLOOR], also in float32."""


@compiled
def day_chance(m: Any, chance: Any, before: State, action: int, outcome: Any) -> float:
    """P(the day's outcomes up to its close | persona), less factors all personas share.

    `outcome` (7,) holds the columns of `envs.day.day`; a stage no modelled move leads to, as a
    real log may state it, has no likelihood. Looks up what this one outcome needs; of those that
    `outcomes_of` lists it is their chance, redemptions left out.
    """
    p, offer = 1.0, m[m[OFFER_KIND] + contacted(m, before, action).offer]
    j, k = response_index(m, before.stage, before.engagement, offer, before.fatigue, before.goodwill)
    answers, leaves, settles, _ = possible(m, before, action)
    responded = NONE
    if answers >= 0:
        hazard = response_chance(m, chance, response_row(m, before, action), j)
        if outcome[OUT_RESPONSE] >= 0:
            p, responded = p * hazard, answers
        else:
            p = p * (1.0 - hazard)
    if leaves >= 0:
        hazard = opt_out_chance(m, chance, action, before.fatigue)
        p = p * hazard if outcome[OUT_OPT_OUT] == leaves else p * (1.0 - hazard)
    if settles >= 0:
        settled = resolution_chance(m, chance, action, m[m[INBOX_CHANNEL] + before.inbox])
        p = p * settled if outcome[OUT_RESOLUTION] >= 0 else p * (1.0 - settled)
    buys = purchase_chance(m, chance, responded, k)
    if outcome[OUT_PURCHASE] >= 0:
        p = p * buys
        if m[m[PURCHASE_TO] + before.stage] >= 0:  # the rule's move replaces the drawn one
            return p
    else:
        p = p * (1.0 - buys)
    churn, advance, lapse = move_thresholds(m, chance, before, responded, k)
    target = outcome[OUT_STAGE]
    if target < 0:
        return p * (1.0 - lapse)
    share, modelled = 0.0, False
    if target == m[CHURNED]:
        share, modelled = share + churn, True
    if target == m[m[ADVANCE_TO] + before.stage]:
        share, modelled = share + (advance - churn), True
    if target == m[m[LAPSE_TO] + before.stage]:
        share, modelled = share + (lapse - advance), True
    return p * share if modelled else p


@compiled
def request_chance(m: Any, chance: Any, closed: State, asked: int) -> float:
    """P(a request on channel `asked`, or none where it is -1 | persona) after a close."""
    hazard = inbound_chance(m, chance, closed)
    if asked < 0:
        return 1.0 - hazard
    share = chance[m[CHANCE_INBOUND_CHANNEL] + asked]
    if asked > 0:
        share = share - chance[m[CHANCE_INBOUND_CHANNEL] + asked - 1]
    return hazard * share


@compiled
def weigh(belief: Any, weights: Any) -> None:
    """Bayes' rule in place: `weights` (P,) are likelihoods; an impossible day teaches nothing."""
    total = 0.0
    for p in range(len(belief)):
        weights[p] = belief[p] * weights[p]
        total = total + weights[p]
    if not total > 0.0:
        return
    floored = 0.0
    for p in range(len(belief)):
        weights[p] = max(weights[p] / total, FLOOR)
        floored = floored + weights[p]
    for p in range(len(belief)):
        belief[p] = weights[p] / floored


@compiled
def after_day(
    m: Any, chances: Any, before: State, action: int, outcome: Any, belief: Any, weights: Any
) -> None:
    """Update `belief` (P,) in place by a day's outcomes; `chances` (P, …), `weights` scratch."""
    if before.stage == m[CHURNED]:
        return
    for p in range(len(belief)):
        weights[p] = day_chance(m, chances[p], before, action, outcome)
    weigh(belief, weights)


@compiled
def after_close(m: Any, chances: Any, closed: State, outcome: Any, belief: Any, weights: Any) -> None:
    """Update `belief` (P,) in place by the request that came after a close, or did not."""
    if closed.stage == m[CHURNED]:
        return
    for p in range(len(belief)):
        weights[p] = request_chance(m, chances[p], closed, outcome[OUT_INBOUND])
    weigh(belief, weights)
