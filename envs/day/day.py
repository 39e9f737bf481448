"""One sampled day of one customer: decision, outcomes in the order of design §5, close, inbound.

The simulator's inner step. Probabilities come from `chances.py`, moves from `apply`, money from
`add_reward`; the draws are counter-based, so nothing here keeps a generator.
"""

from __future__ import annotations

import math
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
    touchpoint_in_play,
)
from envs.day.fold import (
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
    contacted,
)
from envs.day.rewards import CLOSE, add_reward
from envs.day.rng import INBOUND_CHANNEL, MOVE, VALUE_1, VALUE_2, uniform
from envs.journey.packed import (
    ACTION_CHANNEL,
    ACTION_TOUCHPOINT,
    ADVANCE_TO,
    CHANCE_INBOUND_CHANNEL,
    CHANCE_REDEMPTION,
    CHANNELS,
    CHURNED,
    INBOX_CHANNEL,
    IS_SERVICE,
    LAPSE_TO,
    OFFER_KIND,
    OFFER_TOUCHPOINT,
    OFFERS,
    PURCHASE_TO,
    VALUE,
    VALUE_SIGMA,
)
from envs.journey.state import State

# columns of an outcome row
OUT_RESPONSE, OUT_OPT_OUT, OUT_RESOLUTION, OUT_PURCHASE = 0, 1, 2, 3
OUT_REDEMPTION, OUT_STAGE, OUT_INBOUND, OUTCOMES = 4, 5, 6, 7
NONE = -1
"""OUT_RESPONSE and OUT_REDEMPTION hold the touchpoint, OUT_STAGE and OUT_INBOUND the number."""


@compiled
def sample_value(m: Any, chance: Any, index: int, key: int) -> float:
    """A purchase's value, log-normal around its mean (Box and Muller, 1958)."""
    mean, sigma = chance[m[VALUE] + index], chance[m[VALUE_SIGMA]]
    if sigma == 0.0:
        return mean
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(key, VALUE_1)))
    normal = radius * math.cos(2.0 * math.pi * uniform(key, VALUE_2))
    return mean * math.exp(sigma * normal - 0.5 * sigma**2)


@compiled
def sample_day(
    m: Any,
    chance: Any,
    price: Any,
    before: State,
    action: int,
    key: int,
    reward: Any,
    outcome: Any,
) -> tuple[State, float]:
    """The next decision's state and the purchase value; adds to `reward` (R,), fills `outcome`.

    Draws what `outcomes_of` lists and plays it as `play_day` does; written apart for a fifth of the speed.
    """
    outcome[:] = NONE
    if before.stage == m[CHURNED]:
        return close_day(m, before), 0.0
    state, touchpoint, channel, service = contacted(m, before, action), NONE, NONE, False
    if action > 0:
        touchpoint, channel = m[m[ACTION_TOUCHPOINT] + action], m[m[ACTION_CHANNEL] + action]
        service = m[m[IS_SERVICE] + touchpoint] == 1
        add_reward(m, price, before, state, CONTACT, touchpoint, channel, 0.0, reward)
    offer = m[m[OFFER_KIND] + state.offer]
    j, k = response_index(m, before.stage, before.engagement, offer, before.fatigue, before.goodwill)
    responded = NONE
    row = response_row(m, before, action)
    if row >= 0 and uniform(key, RESPONSE) < response_chance(m, chance, row, j):
        responded = touchpoint_in_play(m, row)
        outcome[OUT_RESPONSE] = responded
        state = apply(m, state, RESPONSE, responded, NONE, NONE)
    if action > 0:
        leaves = before.consent >> channel & 1 == 1
        if leaves and uniform(key, OPT_OUT) < opt_out_chance(m, chance, action, before.fatigue):
            outcome[OUT_OPT_OUT] = channel
            after = apply(m, state, OPT_OUT, NONE, channel, NONE)
            add_reward(m, price, state, after, OPT_OUT, NONE, channel, 0.0, reward)
            state = after
        if service and before.inbox > 0:
            asked = m[m[INBOX_CHANNEL] + before.inbox]
            if uniform(key, RESOLUTION) < resolution_chance(m, chance, action, asked):
                outcome[OUT_RESOLUTION] = channel
                after = apply(m, state, RESOLUTION, NONE, channel, NONE)
                add_reward(m, price, state, after, RESOLUTION, NONE, channel, 0.0, reward)
                state = after
    value, moved = 0.0, False
    if uniform(key, PURCHASE) < purchase_chance(m, chance, responded, k):
        value = sample_value(m, chance, before.stage * m[OFFERS] + offer, key)
        outcome[OUT_PURCHASE] = 1
        moved = m[m[PURCHASE_TO] + before.stage] >= 0
        held = m[m[OFFER_TOUCHPOINT] + state.offer]
        after = apply(m, state, PURCHASE, NONE, NONE, NONE)
        add_reward(m, price, state, after, PURCHASE, NONE, NONE, value, reward)
        state = after
        if held >= 0 and uniform(key, REDEMPTION) < chance[m[CHANCE_REDEMPTION] + offer]:
            outcome[OUT_REDEMPTION] = held
            after = apply(m, state, REDEMPTION, held, NONE, NONE)
            add_reward(m, price, state, after, REDEMPTION, held, NONE, 0.0, reward)
            state = after
    if not moved:
        churn, advance, lapse = move_thresholds(m, chance, before, responded, k)
        draw = uniform(key, MOVE)
        target = NONE
        if draw < churn:
            target = m[CHURNED]
        elif draw < advance:
            target = m[m[ADVANCE_TO] + before.stage]
        elif draw < lapse:
            target = m[m[LAPSE_TO] + before.stage]
        if target >= 0:
            outcome[OUT_STAGE] = target
            after = apply(m, state, STAGE, NONE, NONE, target)
            add_reward(m, price, state, after, STAGE, NONE, NONE, 0.0, reward)
            state = after
    after = close_day(m, state)
    add_reward(m, price, state, after, CLOSE, NONE, NONE, 0.0, reward)
    state = after
    if state.stage != m[CHURNED]:
        hazard = inbound_chance(m, chance, state)
        if hazard > 0.0 and uniform(key, INBOUND) < hazard:
            draw = uniform(key, INBOUND_CHANNEL)
            asked = 0
            while asked < m[CHANNELS] - 1 and draw >= chance[m[CHANCE_INBOUND_CHANNEL] + asked]:
                asked += 1
            outcome[OUT_INBOUND] = asked
            after = apply(m, state, INBOUND, NONE, asked, NONE)
            add_reward(m, price, state, after, INBOUND, NONE, asked, 0.0, reward)
            state = after
    return state, value


@compiled
def possible(m: Any, state: State, action: int) -> tuple[int, int, int, int]:
    """What a response, opt-out, resolution and redemption of the day would name; -1: it cannot happen."""
    row, leaves, settles = response_row(m, state, action), NONE, NONE
    answers = touchpoint_in_play(m, row) if row >= 0 else NONE
    if action > 0:
        touchpoint, channel = m[m[ACTION_TOUCHPOINT] + action], m[m[ACTION_CHANNEL] + action]
        if state.consent >> channel & 1 == 1:
            leaves = channel
        if m[m[IS_SERVICE] + touchpoint] == 1 and state.inbox > 0:
            settles = channel
    return answers, leaves, settles, m[m[OFFER_TOUCHPOINT] + contacted(m, state, action).offer]


@compiled
def play_contact(m: Any, price: Any, before: State, action: int, reward: Any) -> State:
    """The day's contact is made; adds to `reward` (R,)."""
    state = contacted(m, before, action)
    if action > 0:
        touchpoint, channel = m[m[ACTION_TOUCHPOINT] + action], m[m[ACTION_CHANNEL] + action]
        add_reward(m, price, before, state, CONTACT, touchpoint, channel, 0.0, reward)
    return state


@compiled
def play_events(m: Any, price: Any, state: State, outcome: Any, value: float, reward: Any) -> State:
    """What comes of the day before its stage move; adds to `reward` (R,)."""
    if outcome[OUT_RESPONSE] >= 0:
        state = apply(m, state, RESPONSE, outcome[OUT_RESPONSE], NONE, NONE)
    if outcome[OUT_OPT_OUT] >= 0:
        left = outcome[OUT_OPT_OUT]
        after = apply(m, state, OPT_OUT, NONE, left, NONE)
        add_reward(m, price, state, after, OPT_OUT, NONE, left, 0.0, reward)
        state = after
    if outcome[OUT_RESOLUTION] >= 0:
        after = apply(m, state, RESOLUTION, NONE, outcome[OUT_RESOLUTION], NONE)
        add_reward(m, price, state, after, RESOLUTION, NONE, outcome[OUT_RESOLUTION], 0.0, reward)
        state = after
    if outcome[OUT_PURCHASE] >= 0:
        after = apply(m, state, PURCHASE, NONE, NONE, NONE)
        add_reward(m, price, state, after, PURCHASE, NONE, NONE, value, reward)
        state = after
    if outcome[OUT_REDEMPTION] >= 0:
        after = apply(m, state, REDEMPTION, outcome[OUT_REDEMPTION], NONE, NONE)
        add_reward(m, price, state, after, REDEMPTION, outcome[OUT_REDEMPTION], NONE, 0.0, reward)
        state = after
    return state


@compiled
def play_close(m: Any, price: Any, state: State, target: int, reward: Any) -> State:
    """The move to stage `target` (-1: none) and the close; adds to `reward` (R,)."""
    if target >= 0:
        after = apply(m, state, STAGE, NONE, NONE, target)
        add_reward(m, price, state, after, STAGE, NONE, NONE, 0.0, reward)
        state = after
    after = close_day(m, state)
    add_reward(m, price, state, after, CLOSE, NONE, NONE, 0.0, reward)
    return after


@compiled
def play_day(
    m: Any, price: Any, before: State, action: int, outcome: Any, value: float, reward: Any
) -> State:
    """The state after given outcomes and the close, before a request comes; adds to `reward` (R,)."""
    if before.stage == m[CHURNED]:
        return close_day(m, before)
    state = play_contact(m, price, before, action, reward)
    state = play_events(m, price, state, outcome, value, reward)
    return play_close(m, price, state, outcome[OUT_STAGE], reward)


@compiled
def ask(m: Any, price: Any, closed: State, asked: int, reward: Any) -> State:
    """A request on channel `asked` comes after the close; none where it is -1. Adds to `reward` (R,)."""
    if asked < 0 or closed.stage == m[CHURNED]:
        return closed
    after = apply(m, closed, INBOUND, NONE, asked, NONE)
    add_reward(m, price, closed, after, INBOUND, NONE, asked, 0.0, reward)
    return after
