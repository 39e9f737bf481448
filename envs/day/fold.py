"""The deterministic fold: `apply` moves a state by one event, `close_day` ends a local day.

One scalar implementation, compiled for the simulator and the solver (`m` is the packed
`machine` of a journey) and called as plain Python in the service (`apply.py_func` with the
same machine as a tuple).
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.journey.packed import (
    ACTION_CHANNEL,
    ACTION_OF,
    ACTION_TOUCHPOINT,
    CAPS_CLOSE,
    CAPS_ON_CONTACT,
    CHANNELS,
    CHURNED,
    ENGAGEMENT_CAPACITY,
    FATIGUE_CAPACITY,
    FATIGUE_POINTS,
    GAP_DAYS,
    GOODWILL_CAPACITY,
    GOODWILL_NEUTRAL,
    IDLE_CAPACITY,
    IDLE_DAYS,
    IDLE_TO,
    INBOX_CLOSE,
    INBOX_IMPATIENT,
    INBOX_ON_INBOUND,
    IS_SERVICE,
    OFFER_CLEARED_BY_PURCHASE,
    OFFER_CLOSE,
    OFFER_ON_CONTACT,
    OFFER_ON_REDEMPTION,
    OFFER_TOUCHPOINT,
    OPEN_CLOSE,
    OPEN_ON_CONTACT,
    PURCHASE_TO,
    RESPONSE_POINTS,
    RETURNING,
    SEASON_DAYS,
)
from envs.journey.state import State
from envs.scenario.events import Kind

CONTACT = int(Kind.CONTACT)
RESPONSE = int(Kind.RESPONSE)
OPT_OUT = int(Kind.OPT_OUT)
RESOLUTION = int(Kind.RESOLUTION)
PURCHASE = int(Kind.PURCHASE)
REDEMPTION = int(Kind.REDEMPTION)
STAGE = int(Kind.STAGE)
INBOUND = int(Kind.INBOUND)
OPT_IN = int(Kind.OPT_IN)
SURVEY = int(Kind.SURVEY)


@compiled
def apply(m: Any, state: State, kind: int, touchpoint: int, channel: int, level: int) -> State:
    """The state after one event.

    `touchpoint` and `channel` are numbers, -1 where the event has none; `level` is the new
    stage of a `stage` event or the new goodwill of a `survey`.
    """
    stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day = state
    active = kind == RESPONSE or kind == INBOUND or kind == PURCHASE
    if stage == m[CHURNED]:
        if active and m[RETURNING] >= 0:
            stage, engagement, fatigue, goodwill = m[RETURNING], 0, 0, m[GOODWILL_NEUTRAL]
            inbox, offer, opened, idle = 0, 0, 0, 0
        elif kind != OPT_IN and kind != OPT_OUT and kind != STAGE:
            return state
    if active:
        idle = 0
    if kind == CONTACT:
        if touchpoint < 0 or m[m[IS_SERVICE] + touchpoint] == 0:
            fatigue += m[m[FATIGUE_POINTS] + channel]
            if fatigue > m[FATIGUE_CAPACITY]:
                fatigue = m[FATIGUE_CAPACITY]
                goodwill = max(goodwill - 1, 0)
            caps = m[m[CAPS_ON_CONTACT] + caps * m[CHANNELS] + channel]
            gap = 0
            if touchpoint >= 0:
                if m[m[OFFER_ON_CONTACT] + touchpoint] > 0:
                    offer = m[m[OFFER_ON_CONTACT] + touchpoint]
                action = m[m[ACTION_OF] + touchpoint * m[CHANNELS] + channel]
                if action >= 0:
                    opened = m[m[OPEN_ON_CONTACT] + action]
    elif kind == RESPONSE:
        engagement = min(engagement + m[RESPONSE_POINTS], m[ENGAGEMENT_CAPACITY])
        opened = 0
    elif kind == OPT_OUT:
        consent &= ~(1 << channel)
    elif kind == OPT_IN:
        consent |= 1 << channel
    elif kind == INBOUND:
        inbox = m[m[INBOX_ON_INBOUND] + inbox * m[CHANNELS] + channel]
    elif kind == RESOLUTION:
        if inbox > 0:
            goodwill = min(goodwill + 1, m[GOODWILL_CAPACITY])
        inbox = 0
    elif kind == STAGE:
        stage, idle = level, 0
    elif kind == PURCHASE:
        if m[m[PURCHASE_TO] + stage] >= 0:
            stage = m[m[PURCHASE_TO] + stage]
        if m[OFFER_CLEARED_BY_PURCHASE] == 1:
            offer = 0
    elif kind == REDEMPTION:
        # another offer than the one in hand may be redeemed: the newest had replaced it
        if touchpoint < 0 or touchpoint == m[m[OFFER_TOUCHPOINT] + offer]:
            offer = m[m[OFFER_ON_REDEMPTION] + offer]
    elif kind == SURVEY:
        goodwill = min(max(level, 0), m[GOODWILL_CAPACITY])
    return State(stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day)


@compiled
def contacted(m: Any, state: State, action: int) -> State:
    """The state once the action's contact is made, before anything comes of it."""
    if action == 0:
        return state
    return apply(m, state, CONTACT, m[m[ACTION_TOUCHPOINT] + action], m[m[ACTION_CHANNEL] + action], -1)


@compiled
def close_day(m: Any, state: State) -> State:
    """The state after the end of a local day: buckets drain, what is open ages or expires."""
    stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day = state
    day = min(day + 1, m[SEASON_DAYS])
    caps = m[m[CAPS_CLOSE] + caps]
    gap = min(gap + 1, m[GAP_DAYS])
    if stage == m[CHURNED]:
        return State(
            stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day
        )
    engagement = max(engagement - 1, 0)
    fatigue = max(fatigue - 1, 0)
    goodwill = max(goodwill - m[m[INBOX_IMPATIENT] + inbox], 0)
    inbox = m[m[INBOX_CLOSE] + inbox]
    offer = m[m[OFFER_CLOSE] + offer]
    opened = m[m[OPEN_CLOSE] + opened]
    idle = min(idle + 1, m[IDLE_CAPACITY])
    if m[m[IDLE_DAYS] + stage] > 0 and idle >= m[m[IDLE_DAYS] + stage]:
        stage, idle = m[m[IDLE_TO] + stage], 0
    return State(stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day)


@compiled
def in_season(m: Any, state: State, day: int) -> State:
    """The state `day` days after the season's first (negative before it): the day is the calendar's."""
    return State(
        state.stage, state.engagement, state.fatigue, state.goodwill, state.inbox, state.consent,
        state.offer, state.open_contact, state.caps, state.idle, state.gap,
        min(max(day, 0), m[SEASON_DAYS]),
    )  # fmt: skip
