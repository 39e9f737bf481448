"""The deterministic fold: `apply` moves a state by one event, `close_day` ends a local day.

One scalar implementation, compiled for the simulator and the solver (with `Rules` of
arrays) and called as plain Python in the service (`apply.py_func` with `Rules.scalar()`).
"""

from __future__ import annotations

from envs.compiled import compiled
from envs.events import Kind
from envs.rules import Rules
from envs.state import State

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
def apply(rules: Rules, state: State, kind: int, touchpoint: int, channel: int, level: int) -> State:
    """The state after one event.

    `touchpoint` and `channel` are numbers, -1 where the event has none; `level` is the new
    stage of a `stage` event or the new goodwill of a `survey`.
    """
    stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day = state
    active = kind == RESPONSE or kind == INBOUND or kind == PURCHASE
    if stage == rules.churned:
        if active and rules.returning >= 0:
            stage, engagement, fatigue, goodwill = rules.returning, 0, 0, rules.goodwill_neutral
            inbox, offer, opened, idle = 0, 0, 0, 0
        elif kind != OPT_IN and kind != OPT_OUT and kind != STAGE:
            return state
    if active:
        idle = 0
    if kind == CONTACT:
        if touchpoint < 0 or rules.is_service[touchpoint] == 0:
            fatigue += rules.fatigue_points[channel]
            if fatigue > rules.fatigue_capacity:
                fatigue = rules.fatigue_capacity
                goodwill = max(goodwill - 1, 0)
            caps = rules.caps_on_contact[caps][channel]
            gap = 0
            if touchpoint >= 0:
                if rules.offer_on_contact[touchpoint] > 0:
                    offer = rules.offer_on_contact[touchpoint]
                action = rules.action_of[touchpoint][channel]
                if action >= 0:
                    opened = rules.open_on_contact[action]
    elif kind == RESPONSE:
        engagement = min(engagement + rules.response_points, rules.engagement_capacity)
        opened = 0
    elif kind == OPT_OUT:
        consent &= ~(1 << channel)
    elif kind == OPT_IN:
        consent |= 1 << channel
    elif kind == INBOUND:
        inbox = rules.inbox_on_inbound[inbox][channel]
    elif kind == RESOLUTION:
        if inbox > 0:
            goodwill = min(goodwill + 1, rules.goodwill_capacity)
        inbox = 0
    elif kind == STAGE:
        stage, idle = level, 0
    elif kind == PURCHASE:
        if rules.purchase_to[stage] >= 0:
            stage = rules.purchase_to[stage]
        if rules.offer_cleared_by_purchase == 1:
            offer = 0
    elif kind == REDEMPTION:
        # another offer than the one in hand may be redeemed: the newest had replaced it
        if touchpoint < 0 or touchpoint == rules.offer_touchpoint[offer]:
            offer = rules.offer_on_redemption[offer]
    elif kind == SURVEY:
        goodwill = min(max(level, 0), rules.goodwill_capacity)
    return State(
        stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day
    )


@compiled
def close_day(rules: Rules, state: State) -> State:
    """The state after the end of a local day: buckets drain, what is open ages or expires."""
    stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day = state
    day = min(day + 1, rules.season_days)
    caps = rules.caps_close[caps]
    gap = min(gap + 1, rules.gap_days)
    if stage == rules.churned:
        return State(
            stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day
        )
    engagement = max(engagement - 1, 0)
    fatigue = max(fatigue - 1, 0)
    goodwill = max(goodwill - rules.inbox_impatient[inbox], 0)
    inbox = rules.inbox_close[inbox]
    offer = rules.offer_close[offer]
    opened = rules.open_close[opened]
    idle = min(idle + 1, rules.idle_capacity)
    if rules.idle_days[stage] > 0 and idle >= rules.idle_days[stage]:
        stage, idle = rules.idle_to[stage], 0
    return State(
        stage, engagement, fatigue, goodwill, inbox, consent, offer, opened, caps, idle, gap, day
    )


@compiled
def start_state(rules: Rules, stage: int, consent: int) -> State:
    """Where a journey starts: everything but stage and consent empty or neutral."""
    return State(stage, 0, 0, rules.goodwill_neutral, 0, consent, 0, 0, 0, 0, rules.gap_days, 0)
