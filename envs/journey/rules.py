"""The fold's constants, compiled from a scenario into small integer tables.

`Rules` is what people and Python code read; `packed.py` lays it out for `day/fold.py`
and `day/masks.py`. Holds no probabilities and no prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Ints
from envs.errors import ScenarioError
from envs.journey.caps import cap_levels, cap_tables
from envs.scenario.actions import Action, actions_of
from envs.scenario.schema import Scenario

NEVER = -1
LEVELS = 2**15  # of one component: a state is stored in 16-bit integers


class Rules(NamedTuple):
    """Sizes, targets and level tables; C channels, T touchpoints, A actions, L stages."""

    sizes: Ints  # (12,) levels of each State component (stage: living ones; consent: 2**C)
    strides: Ints  # (12,) of the kernel index; 0 for consent
    churned: int  # the absorbing stage, L - 1
    returning: int  # stage of a churned customer's new event, or NEVER
    engagement_capacity: int
    response_points: int
    fatigue_capacity: int
    goodwill_capacity: int
    goodwill_neutral: int
    fatigue_points: Ints  # (C,)
    is_service: Ints  # (T,) 1 for replies
    action_touchpoint: Ints  # (A,) NEVER for wait
    action_channel: Ints  # (A,) NEVER for wait
    action_of: Ints  # (T, C) action number, or NEVER
    inbox_on_inbound: Ints  # (inbox, C)
    inbox_close: Ints  # (inbox,)
    inbox_impatient: Ints  # (inbox,) 1 where this close uses up the patience
    inbox_channel: Ints  # (inbox,) NEVER when none
    offer_on_contact: Ints  # (T,) level the contact leaves, 0 none
    offer_close: Ints  # (offer,)
    offer_kind: Ints  # (offer,) 0 none, else 1 + index into offer_touchpoints
    offer_touchpoint: Ints  # (offer,) touchpoint that can be redeemed, NEVER when none or used up
    offer_on_redemption: Ints  # (offer,) level a redemption leaves
    offer_cleared_by_purchase: int
    open_on_contact: Ints  # (A,) level the contact opens, 0 when the window is one day
    open_close: Ints  # (open,)
    open_action: Ints  # (open,) NEVER when none
    open_age: Ints  # (open,)
    caps_on_contact: Ints  # (caps, C)
    caps_close: Ints  # (caps,)
    purchase_to: Ints  # (L,) or NEVER
    idle_days: Ints  # (L,) 0: no such rule
    idle_to: Ints  # (L,)
    idle_capacity: int
    gap_days: int
    season_days: int
    # masks: bit a is set where the rule permits action a
    stage_permits: Ints  # (L,)
    consent_permits: Ints  # (2**C,)
    caps_permit: Ints  # (caps,)
    gap_permits: Ints  # (gap,)
    day_permits: Ints  # (day,)
    inbox_permits: Ints  # (inbox,)
    marketing: int  # bits of the marketing actions
    every: int  # bits of all actions


def compile_rules(scenario: Scenario) -> Rules:
    """Compile the fold's constants; raises `ScenarioError` beyond 62 actions or `LEVELS` caps."""
    actions = actions_of(scenario)
    if len(actions) > 62:
        raise ScenarioError("too many actions", got=len(actions), expected="at most 62", where="touchpoints")
    memory, opportunities = scenario.memory, scenario.memory.opportunities
    if (levels := cap_levels(memory.caps)) > LEVELS:
        raise ScenarioError(
            "too many levels", got=levels, expected=f"at most {LEVELS}", where="memory.caps",
            hint="use shorter windows or fewer caps",
        )  # fmt: skip
    inbox: dict[str, Any] = _inbox_tables(scenario)
    offer = _offer_tables(scenario)
    opened = _open_tables(scenario, actions)
    caps: dict[str, Any] = cap_tables(memory.caps, [c.name for c in scenario.channels], actions)
    idle_capacity = max((s.idle_days or 0) for s in scenario.stages)
    gap_days = (opportunities.gap_days or 0) if opportunities.every == "gap" else 0
    season = (opportunities.season_days or 0) if opportunities.every == "calendar" else 0
    channels = len(scenario.channels)
    sizes = np.array(
        [
            len(scenario.stages) - 1,
            memory.engagement.capacity + 1,
            memory.fatigue_capacity + 1,
            memory.goodwill.capacity + 1,
            len(inbox["inbox_close"]),
            2**channels,
            len(offer["offer_close"]),
            len(opened["open_close"]),
            len(caps["caps_close"]),
            idle_capacity + 1,
            gap_days + 1,
            season + 1,
        ],
        dtype=np.int64,
    )
    stage_number = {s.name: i for i, s in enumerate(scenario.stages)}
    touchpoints = [t.name for t in scenario.touchpoints]
    names = [c.name for c in scenario.channels]
    action_of = np.full((len(touchpoints), channels), NEVER, dtype=np.int64)
    for number, action in enumerate(actions):
        if not action.is_wait:
            action_of[touchpoints.index(action.touchpoint), names.index(action.channel)] = number
    returning = memory.returning_stage
    return Rules(
        sizes=sizes,
        strides=_kernel_strides(sizes),
        churned=len(scenario.stages) - 1,
        returning=stage_number[returning] if returning else NEVER,
        engagement_capacity=memory.engagement.capacity,
        response_points=memory.engagement.points,
        fatigue_capacity=memory.fatigue_capacity,
        goodwill_capacity=memory.goodwill.capacity,
        goodwill_neutral=memory.goodwill.neutral,
        fatigue_points=_ints([c.fatigue_points for c in scenario.channels]),
        is_service=_ints([t.service for t in scenario.touchpoints]),
        action_touchpoint=_ints([NEVER if a.is_wait else touchpoints.index(a.touchpoint) for a in actions]),
        action_channel=_ints([NEVER if a.is_wait else names.index(a.channel) for a in actions]),
        action_of=action_of,
        **inbox,
        **offer,
        offer_cleared_by_purchase=int(memory.offer_cleared_by == "purchase"),
        **opened,
        **caps,
        purchase_to=_targets([s.purchase_to for s in scenario.stages], stage_number),
        idle_days=_ints([s.idle_days or 0 for s in scenario.stages]),
        idle_to=_targets([s.idle_to for s in scenario.stages], stage_number),
        idle_capacity=idle_capacity,
        gap_days=gap_days,
        season_days=season,
        **_permissions(scenario, actions, gap_days, season, inbox["inbox_channel"]),
    )


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _targets(names: list[str | None], number: dict[str, int]) -> Ints:
    return _ints([number[name] if name else NEVER for name in names])


def _kernel_strides(sizes: Ints) -> Ints:
    """Mixed radix over all components but consent (position 5), stage slowest."""
    strides = np.zeros(len(sizes), dtype=np.int64)
    step = 1
    for position in reversed(range(len(sizes))):
        if position != 5:
            strides[position] = step
            step *= int(sizes[position])
    return strides


def _inbox_tables(scenario: Scenario) -> dict[str, Ints]:
    """Level 0 is empty; each inbound channel has one level a day open, up to its expiry."""
    spec = scenario.memory.inbox
    inbound = [i for i, c in enumerate(scenario.channels) if c.inbound]
    ages = spec.expiry_days
    size = 1 + len(inbound) * ages
    channels = len(scenario.channels)
    close, impatient = np.zeros(size, np.int64), np.zeros(size, np.int64)
    channel_of = np.full(size, NEVER, np.int64)
    on_inbound = np.zeros((size, channels), np.int64)
    start = {channel: 1 + k * ages for k, channel in enumerate(inbound)}
    for level in range(size):
        age = 0 if level == 0 else (level - 1) % ages
        for channel in range(channels):
            # a repeat keeps the age and takes the newest channel
            on_inbound[level, channel] = start[channel] + age if channel in start else level
        if level:
            channel_of[level] = inbound[(level - 1) // ages]
            close[level] = level + 1 if age + 1 < ages else 0
            impatient[level] = int(age == spec.patience_days)
    return {
        "inbox_on_inbound": on_inbound,
        "inbox_close": close,
        "inbox_impatient": impatient,
        "inbox_channel": channel_of,
    }


def _offer_tables(scenario: Scenario) -> dict[str, Any]:
    """Level 0 is none; each offer touchpoint has one level a day left (its last day first).

    Where only expiry clears an offer, the same levels follow once more for a used one: it
    still influences (same kind) but cannot be redeemed again.
    """
    on_contact = np.zeros(len(scenario.touchpoints), np.int64)
    close, kind, touchpoint, on_redemption = [0], [0], [NEVER], [0]
    lasts = scenario.memory.offer_cleared_by == "expiry"
    for t, spec in enumerate(scenario.touchpoints):
        if not spec.offer_days:
            continue
        number, days = max(kind) + 1, spec.offer_days
        for used in (False, True) if lasts else (False,):
            for left in range(1, days + 1):
                level = len(close)
                close.append(level - 1 if left > 1 else 0)
                kind.append(number)
                touchpoint.append(NEVER if used else t)
                on_redemption.append(level if used else level + days if lasts else 0)
            if not used:
                on_contact[t] = len(close) - 1
    return {
        "offer_on_redemption": _ints(on_redemption),
        "offer_on_contact": on_contact,
        "offer_close": _ints(close),
        "offer_kind": _ints(kind),
        "offer_touchpoint": _ints(touchpoint),
    }


def _open_tables(scenario: Scenario, actions: tuple[Action, ...]) -> dict[str, Any]:
    """Open contacts: level 0 none, then (marketing action, age 0..window-1)."""
    window = scenario.memory.response_window_days
    close, action_of, age_of = [0], [NEVER], [0]
    on_contact = np.zeros(len(actions), np.int64)
    if window > 1:
        for number, action in enumerate(actions):
            if action.is_wait or action.service:
                continue
            on_contact[number] = len(close)
            for age in range(window):
                close.append(len(close) + 1 if age + 1 < window else 0)
                action_of.append(number)
                age_of.append(age)
    return {
        "open_on_contact": on_contact,
        "open_close": _ints(close),
        "open_action": _ints(action_of),
        "open_age": _ints(age_of),
    }


def _permissions(
    scenario: Scenario, actions: tuple[Action, ...], gap_days: int, season: int, inbox_channel: Ints
) -> dict[str, Any]:
    """Bit tables: which actions each rule permits at each of its levels."""
    channels = [c.name for c in scenario.channels]
    every = (1 << len(actions)) - 1
    replies = sum(1 << i for i, a in enumerate(actions) if a.service)
    marketing = every & ~replies & ~1
    stage = []
    for spec in scenario.stages:
        bits = 1
        for number, action in enumerate(actions):
            admits = action.stages is None or spec.name in action.stages
            bits |= int(not action.is_wait and admits) << number
        stage.append(bits)
    stage[-1] = 1  # nobody is contacted after churn
    consent = []
    for granted in range(2 ** len(channels)):
        bits = 1 if scenario.memory.reply_needs_consent else 1 | replies
        for number, action in enumerate(actions):
            if not action.is_wait and granted >> channels.index(action.channel) & 1:
                bits |= 1 << number
        consent.append(bits)
    calendar = scenario.memory.opportunities.every == "calendar"
    open_days = set(scenario.memory.opportunities.days or []) if calendar else {0}
    return {
        "stage_permits": _ints(stage),
        "consent_permits": _ints(consent),
        "gap_permits": _ints([every if g >= gap_days else every & ~marketing for g in range(gap_days + 1)]),
        "day_permits": _ints([every if d in open_days else every & ~marketing for d in range(season + 1)]),
        "inbox_permits": _ints([every if c >= 0 else every & ~replies for c in inbox_channel.tolist()]),
        "marketing": marketing,
        "every": every,
    }
