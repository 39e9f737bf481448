"""A state in names instead of levels, for people and other systems; nothing reads it back."""

from __future__ import annotations

from envs.journey.journey import Journey
from envs.journey.state import State


def describe(journey: Journey, state: State) -> dict[str, object]:
    """The components in design order; those a scenario does not use are left out."""
    scenario, rules = journey.scenario, journey.rules
    used = {name for name, size in zip(State._fields, rules.sizes.tolist(), strict=True) if size > 1} | {
        "stage",
        "consent",
    }
    shown: dict[str, object] = {
        "stage": scenario.stages[state.stage].name,
        "engagement": state.engagement,
        "fatigue": state.fatigue,
        "goodwill": state.goodwill,
        "inbox": _inbox(journey, state.inbox),
        "consent": {c.name: bool(state.consent >> i & 1) for i, c in enumerate(scenario.channels)},
        "offer": _offer(journey, state.offer),
        "open_contact": _open_contact(journey, state.open_contact),
        "caps": state.caps,
        "idle": state.idle,
        "gap": state.gap,
        "day": state.day,
    }
    return {name: value for name, value in shown.items() if name in used}


def _inbox(journey: Journey, level: int) -> dict[str, object] | None:
    if level == 0:
        return None
    age = (level - 1) % journey.scenario.memory.inbox.expiry_days
    channel = journey.scenario.channels[int(journey.rules.inbox_channel[level])]
    return {"channel": channel.name, "days_open": age}


def _offer(journey: Journey, level: int) -> dict[str, object] | None:
    if level == 0:
        return None
    rules, left, after = journey.rules, 0, level
    while after:
        left, after = left + 1, int(rules.offer_close[after])
    offers = [t.name for t in journey.scenario.touchpoints if t.offer_days]
    return {
        "touchpoint": offers[int(rules.offer_kind[level]) - 1],
        "days_left": left,
        "redeemable": bool(rules.offer_touchpoint[level] >= 0),
    }


def _open_contact(journey: Journey, level: int) -> dict[str, object] | None:
    if level == 0:
        return None
    action = journey.actions[int(journey.rules.open_action[level])]
    age = int(journey.rules.open_age[level])
    return {"touchpoint": action.touchpoint, "channel": action.channel, "age_days": age}
