"""One sampled day of one customer: decision, outcomes in the order of design §5, close, inbound.

The simulator's inner step. Probabilities come from `Tables`, moves from `apply`, money from
`add_reward`; the draws are counter-based, so nothing here keeps a generator.
"""

from __future__ import annotations

import math
from typing import Any

from envs.advance import (
    CONTACT,
    INBOUND,
    OPT_OUT,
    PURCHASE,
    REDEMPTION,
    RESOLUTION,
    RESPONSE,
    STAGE,
    apply,
    close_day,
)
from envs.compiled import compiled
from envs.model import Tables, response_index, response_row
from envs.rewards import CLOSE, Prices, add_reward
from envs.rng import INBOUND_CHANNEL, MOVE, VALUE_1, VALUE_2, uniform
from envs.rules import Rules
from envs.state import State

# columns of an outcome row
OUT_RESPONSE, OUT_OPT_OUT, OUT_RESOLUTION, OUT_PURCHASE = 0, 1, 2, 3
OUT_REDEMPTION, OUT_STAGE, OUT_INBOUND, OUTCOMES = 4, 5, 6, 7
NONE = -1
"""OUT_RESPONSE and OUT_REDEMPTION hold the touchpoint, OUT_STAGE and OUT_INBOUND the number."""


@compiled
def move_thresholds(
    rules: Rules, tables: Tables, before: State, responded: int, k: int
) -> tuple[float, float, float]:
    """Cumulative probabilities of churn, advance and lapse: the competing moves."""
    stage = before.stage
    churn = tables.churn[stage][before.fatigue * tables.goodwills + before.goodwill]
    advance = tables.advance[responded + 1][k]
    first = churn + (1.0 - churn) * advance
    return churn, first, first + (1.0 - first) * tables.lapse[stage]


@compiled
def sample_value(tables: Tables, index: int, key: int) -> float:
    """A purchase's value, log-normal around its mean (Box and Muller, 1958)."""
    mean = tables.value[index]
    if tables.value_sigma == 0.0:
        return mean
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(key, VALUE_1)))
    normal = radius * math.cos(2.0 * math.pi * uniform(key, VALUE_2))
    return mean * math.exp(tables.value_sigma * normal - 0.5 * tables.value_sigma**2)


@compiled
def sample_day(
    rules: Rules,
    tables: Tables,
    prices: Prices,
    before: State,
    action: int,
    key: int,
    reward: Any,
    outcome: Any,
) -> tuple[State, float]:
    """The next decision's state and the purchase value; adds to `reward` (R,), fills `outcome`."""
    outcome[:] = NONE
    if before.stage == rules.churned:
        return before, 0.0
    state, touchpoint, channel, service = before, NONE, NONE, False
    if action > 0:
        touchpoint, channel = rules.action_touchpoint[action], rules.action_channel[action]
        service = rules.is_service[touchpoint] == 1
        state = apply(rules, state, CONTACT, touchpoint, channel, NONE)
        add_reward(rules, prices, before, state, CONTACT, touchpoint, channel, 0.0, reward)
    offer = rules.offer_kind[state.offer]
    j, k = response_index(
        tables, before.stage, before.engagement, offer, before.fatigue, before.goodwill
    )
    responded = NONE
    row = response_row(rules, tables, before, action)
    if row >= 0 and uniform(key, RESPONSE) < tables.response[row][j]:
        responded = rules.action_touchpoint[row // tables.window]
        outcome[OUT_RESPONSE] = responded
        state = apply(rules, state, RESPONSE, responded, NONE, NONE)
    if action > 0:
        leaves = before.consent >> channel & 1 == 1
        if leaves and uniform(key, OPT_OUT) < tables.opt_out[action][before.fatigue]:
            outcome[OUT_OPT_OUT] = channel
            after = apply(rules, state, OPT_OUT, NONE, channel, NONE)
            add_reward(rules, prices, state, after, OPT_OUT, NONE, channel, 0.0, reward)
            state = after
        if service and before.inbox > 0:
            asked = rules.inbox_channel[before.inbox]
            if uniform(key, RESOLUTION) < tables.resolution[action][asked]:
                outcome[OUT_RESOLUTION] = channel
                after = apply(rules, state, RESOLUTION, NONE, channel, NONE)
                add_reward(rules, prices, state, after, RESOLUTION, NONE, channel, 0.0, reward)
                state = after
    value, moved = 0.0, False
    if uniform(key, PURCHASE) < tables.purchase[responded + 1][k]:
        value = sample_value(tables, before.stage * tables.offers + offer, key)
        outcome[OUT_PURCHASE] = 1
        moved = rules.purchase_to[before.stage] >= 0
        held = rules.offer_touchpoint[state.offer]
        after = apply(rules, state, PURCHASE, NONE, NONE, NONE)
        add_reward(rules, prices, state, after, PURCHASE, NONE, NONE, value, reward)
        state = after
        if held >= 0 and uniform(key, REDEMPTION) < tables.redemption[offer]:
            outcome[OUT_REDEMPTION] = held
            after = apply(rules, state, REDEMPTION, held, NONE, NONE)
            add_reward(rules, prices, state, after, REDEMPTION, held, NONE, 0.0, reward)
            state = after
    if not moved:
        churn, advance, lapse = move_thresholds(rules, tables, before, responded, k)
        draw = uniform(key, MOVE)
        target = NONE
        if draw < churn:
            target = rules.churned
        elif draw < advance:
            target = tables.advance_to[before.stage]
        elif draw < lapse:
            target = tables.lapse_to[before.stage]
        if target >= 0:
            outcome[OUT_STAGE] = target
            after = apply(rules, state, STAGE, NONE, NONE, target)
            add_reward(rules, prices, state, after, STAGE, NONE, NONE, 0.0, reward)
            state = after
    after = close_day(rules, state)
    add_reward(rules, prices, state, after, CLOSE, NONE, NONE, 0.0, reward)
    state = after
    if state.stage != rules.churned:
        waiting = 1 if state.inbox > 0 else 0
        hazard = tables.inbound[waiting][state.stage * tables.goodwills + state.goodwill]
        if hazard > 0.0 and uniform(key, INBOUND) < hazard:
            draw = uniform(key, INBOUND_CHANNEL)
            asked = 0
            while asked < len(tables.inbound_channel) - 1 and draw >= tables.inbound_channel[asked]:
                asked += 1
            outcome[OUT_INBOUND] = asked
            after = apply(rules, state, INBOUND, NONE, asked, NONE)
            add_reward(rules, prices, state, after, INBOUND, NONE, asked, 0.0, reward)
            state = after
    return state, value
