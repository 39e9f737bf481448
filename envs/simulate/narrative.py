"""A simulated day in words, for people who watch one customer; nothing reads it back."""

from __future__ import annotations

from collections.abc import Callable

from envs.arrays import Ints
from envs.day.day import (
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
)
from envs.journey.journey import Journey
from envs.journey.state import State
from envs.timeline.description import describe


def told_start(journey: Journey, customer: int, levels: Ints, legal: int) -> str:
    """Who comes, how they stand, what is legal."""
    cluster = journey.cluster.name
    head = f"customer {customer} of {cluster}, before the first day"
    return "\n".join([head, _standing(journey, levels), _legal(journey, legal)])


def told_day(
    journey: Journey,
    day: int,
    action: int,
    wished: int,
    outcome: Ints,
    value: float,
    levels: Ints,
    legal: int,
) -> str:
    """One day: what was done, what came of it, how the customer stands now, what is legal next.

    `outcome` (7,) holds the columns of `envs.day.day`, `levels` (12,) the state after the day.
    """
    done = journey.actions[action].key
    if wished != action:
        name = journey.actions[wished].key if 0 <= wished < len(journey.actions) else f"action {wished}"
        done = f"{done} ({name} is not allowed today)"
    came = _came(journey, outcome, value)
    lines = [f"day {day}: {done}", f"  {'; '.join(came) if came else 'nothing happened'}"]
    return "\n".join([*lines, _standing(journey, levels), _legal(journey, legal)])


def _came(journey: Journey, outcome: Ints, value: float) -> list[str]:
    scenario = journey.scenario
    channels, stages = [c.name for c in scenario.channels], [s.name for s in scenario.stages]
    touchpoints = [t.name for t in scenario.touchpoints]
    happened: tuple[tuple[int, Callable[[int], str]], ...] = (
        (OUT_RESPONSE, lambda n: f"responds to {touchpoints[n]}"),
        (OUT_OPT_OUT, lambda n: f"opts out of {channels[n]}"),
        (OUT_RESOLUTION, lambda n: f"request on {channels[n]} is resolved"),
        (OUT_PURCHASE, lambda n: f"buys for {value:,.2f} {scenario.currency}"),
        (OUT_REDEMPTION, lambda n: f"redeems {touchpoints[n]}"),
        (OUT_STAGE, lambda n: f"moves to {stages[n]}"),
        (OUT_INBOUND, lambda n: f"asks on {channels[n]}"),
    )
    return [words(int(outcome[column])) for column, words in happened if outcome[column] >= 0]


def _standing(journey: Journey, levels: Ints) -> str:
    shown = describe(journey, State(*levels.tolist()))
    parts = []
    for name, value in shown.items():
        if name == "consent" and isinstance(value, dict):
            granted = [channel for channel, yes in value.items() if yes]
            parts.append(f"consents to {', '.join(granted) if granted else 'nothing'}")
        elif isinstance(value, dict):
            parts.append(f"{name.replace('_', ' ')} " + ", ".join(f"{k} {v}" for k, v in value.items()))
        elif value is not None:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return f"  now: {'; '.join(parts)}"


def _legal(journey: Journey, legal: int) -> str:
    keys = [action.key for number, action in enumerate(journey.actions) if legal >> number & 1]
    return f"  may: {', '.join(keys)}"
