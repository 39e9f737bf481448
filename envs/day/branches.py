"""Every event branch of one day, enumerated: the solver's exact twin of `day.py`.

Branches that end in the same afterstate (after the close, before the inbound draw) are
merged. Leaves out opt-outs, which only touch consent, and the inbound draw (`kernel.py`).
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.day.chances import (
    move_thresholds,
    purchase_chance,
    resolution_chance,
    response_chance,
    response_index,
    response_row,
)
from envs.day.day import NONE, possible
from envs.day.fold import (
    CONTACT,
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
from envs.day.states import encode
from envs.journey.packed import (
    ACTION_CHANNEL,
    ACTION_TOUCHPOINT,
    ADVANCE_TO,
    CHANCE_REDEMPTION,
    CHURNED,
    INBOX_CHANNEL,
    LAPSE_TO,
    OFFER_KIND,
    OFFERS,
    PURCHASE_TO,
    VALUE,
)
from envs.journey.state import State

BRANCHES = 96  # distinct afterstates of one (state, action) never reach this


@compiled
def _emit(index: int, p: float, found: Any, mass: Any, count: int) -> int:
    """Add probability to an afterstate of the current row; returns the number found."""
    for n in range(count):
        if found[n] == index:
            mass[n] += p
            return count
    found[count], mass[count] = index, p
    return count + 1


@compiled
def _close(
    m: Any, price: Any, state: State, p: float, scratch: Any, out: Any,
    found: Any, mass: Any, count: int,
) -> int:  # fmt: skip
    """End the day of one branch: its rewards so far are in `scratch`."""
    after = close_day(m, state)
    add_reward(m, price, state, after, CLOSE, NONE, NONE, 0.0, scratch)
    for r in range(len(out)):
        out[r] += p * scratch[r]
    return _emit(encode(m, after), p, found, mass, count)


@compiled
def _moves(
    m: Any, chance: Any, price: Any, before: State, state: State, p: float,
    responded: int, k: int, moved: bool, scratch: Any, branch: Any, out: Any,
    found: Any, mass: Any, count: int,
) -> int:  # fmt: skip
    """The competing stage moves of one branch, then the close."""
    if moved:
        branch[:] = scratch
        return _close(m, price, state, p, branch, out, found, mass, count)
    churn, advance, lapse = move_thresholds(m, chance, before, responded, k)
    shares = (churn, advance - churn, lapse - advance, 1.0 - lapse)
    targets = (m[CHURNED], m[m[ADVANCE_TO] + before.stage], m[m[LAPSE_TO] + before.stage], NONE)
    for way in range(4):
        if shares[way] <= 0.0:
            continue
        branch[:] = scratch
        after = state
        if way < 3:
            after = apply(m, state, STAGE, NONE, NONE, targets[way])
            add_reward(m, price, state, after, STAGE, NONE, NONE, 0.0, branch)
        count = _close(m, price, after, p * shares[way], branch, out, found, mass, count)
    return count


@compiled
def enumerate_day(
    m: Any, chance: Any, price: Any, before: State, action: int,
    found: Any, mass: Any, out: Any, buffers: Any,
) -> int:  # fmt: skip
    """All afterstates of (state, action): fills `found`, `mass` and the expected `out` (R,)."""
    contact, answered, bought, redeemed, branch = (
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    )  # fmt: skip
    count = 0
    contact[:] = 0.0
    answers, _, settles, held = possible(m, before, action)  # an opt-out is the consent pattern's business
    touched, resolution = contacted(m, before, action), 0.0
    if action > 0:
        touchpoint, channel = m[m[ACTION_TOUCHPOINT] + action], m[m[ACTION_CHANNEL] + action]
        add_reward(m, price, before, touched, CONTACT, touchpoint, channel, 0.0, contact)
    if settles >= 0:
        resolution = resolution_chance(m, chance, action, m[m[INBOX_CHANNEL] + before.inbox])
    offer = m[m[OFFER_KIND] + touched.offer]
    j, k = response_index(m, before.stage, before.engagement, offer, before.fatigue, before.goodwill)
    hazard = response_chance(m, chance, response_row(m, before, action), j)
    value = chance[m[VALUE] + before.stage * m[OFFERS] + offer]
    moves = m[m[PURCHASE_TO] + before.stage] >= 0
    for response in range(2):
        p_response = hazard if response == 1 else 1.0 - hazard
        if p_response <= 0.0:
            continue
        responded, heard = NONE, touched
        if response == 1:
            responded = answers
            heard = apply(m, touched, RESPONSE, responded, NONE, NONE)
        purchase = purchase_chance(m, chance, responded, k)
        for resolved in range(2):
            p_answer = p_response * (resolution if resolved == 1 else 1.0 - resolution)
            if p_answer <= 0.0:
                continue
            answered[:] = contact
            served = heard
            if resolved == 1:
                served = apply(m, heard, RESOLUTION, NONE, settles, NONE)
                add_reward(m, price, heard, served, RESOLUTION, NONE, settles, 0.0, answered)
            if purchase < 1.0:
                count = _moves(
                    m, chance, price, before, served, p_answer * (1.0 - purchase), responded,
                    k, False, answered, branch, out, found, mass, count,
                )  # fmt: skip
            if purchase <= 0.0:
                continue
            bought[:] = answered
            after = apply(m, served, PURCHASE, NONE, NONE, NONE)
            add_reward(m, price, served, after, PURCHASE, NONE, NONE, value, bought)
            redemption = chance[m[CHANCE_REDEMPTION] + offer] if held >= 0 else 0.0
            if redemption < 1.0:
                count = _moves(
                    m, chance, price, before, after, p_answer * purchase * (1.0 - redemption),
                    responded, k, moves, bought, branch, out, found, mass, count,
                )  # fmt: skip
            if redemption > 0.0:
                redeemed[:] = bought
                final = apply(m, after, REDEMPTION, held, NONE, NONE)
                add_reward(m, price, after, final, REDEMPTION, held, NONE, 0.0, redeemed)
                count = _moves(
                    m, chance, price, before, final, p_answer * purchase * redemption,
                    responded, k, moves, redeemed, branch, out, found, mass, count,
                )  # fmt: skip
    return count
