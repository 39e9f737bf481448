"""Legality at a live moment: the state's masks, and what only a real moment can know.

Adds to `day/masks.py`: one marketing contact a local day, quiet hours, the channels that exist
for this customer, suppression and the caller's exclusions. Leaves out storage and choice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

from envs.day.masks import STATE_RULES, permitted
from envs.journey.journey import Journey
from envs.scenario.actions import Action
from envs.scenario.events import KINDS, Event, Kind
from envs.scenario.schema import QuietHours
from envs.timeline.customer import Fold, Live

LIVE_RULES = (*STATE_RULES, "daily_limit", "quiet_hours", "availability", "suppression", "excluded")
"""Rule names in the order in which a blocked action is explained."""

_permitted = permitted.py_func
_CAP, _CALENDAR = STATE_RULES.index("cap"), STATE_RULES.index("calendar")


@dataclass(frozen=True, slots=True)
class Occasion:
    """One moment at which somebody asks for the next step."""

    moment: dt.datetime  # aware
    replies_only: bool = False  # a service decision: no marketing
    channels: frozenset[str] | None = None  # the channels this customer has; None: all
    excluded: frozenset[str] = frozenset()  # touchpoint names or action keys
    suppressed: bool = False  # contact this customer about nothing
    holdout: bool = False  # held out of marketing to measure what it is worth
    day_used: bool = False  # today's marketing opportunity is gone
    elsewhere: tuple[Live, ...] = ()  # other views of the customer whose caps bind as well


class LiveMask(NamedTuple):
    """What is legal now, why the rest is not, and when marketing may be asked for again."""

    bits: int
    blocked: tuple[tuple[int, str], ...]  # (action, rule): the first rule that forbids it
    not_before: dt.datetime | None  # set when only the clock forbids marketing


def live_mask(journey: Journey, live: Live, occasion: Occasion) -> LiveMask:
    """Every rule's bits, from one table; an action is legal where all of them have its bit."""
    rules, machine = journey.rules, journey.scalar_machine
    every, no_marketing = rules.every, rules.every & ~rules.marketing
    by_state = list(_permitted(machine, live.state))
    for view in occasion.elsewhere:
        other = _permitted(machine, view.state)
        by_state[_CAP] &= other[_CAP]
        by_state[_CALENDAR] &= other[_CALENDAR]
    quiet = journey.scenario.memory.quiet_hours
    zone = ZoneInfo(journey.scenario.timezone)
    used = live.contacted_today or occasion.day_used
    silent = quiet is not None and in_quiet_hours(quiet, occasion.moment.astimezone(zone))
    permits = (
        *by_state,
        no_marketing if used else every,
        no_marketing if silent else every,
        every & _on_channels(journey.actions, occasion.channels),
        1 if occasion.suppressed else no_marketing if occasion.holdout else every,
        (no_marketing if occasion.replies_only else every) & ~_excluded(journey.actions, occasion.excluded),
    )
    named = tuple(zip(LIVE_RULES, permits, strict=True))
    bits, but_for_the_clock = every, every
    for rule, permit in named:
        bits &= permit
        if rule not in ("daily_limit", "quiet_hours"):
            but_for_the_clock &= permit
    waits = not bits & rules.marketing and but_for_the_clock & rules.marketing
    return LiveMask(
        bits,
        tuple(
            (action, next(rule for rule, permit in named if not permit >> action & 1))
            for action in range(1, len(journey.actions))
            if not bits >> action & 1
        ),
        _next_opening(quiet, occasion.moment.astimezone(zone), used) if waits else None,
    )


def valid_until(journey: Journey, moment: dt.datetime, marketing: bool) -> dt.datetime:
    """When a decision made now is out of date: the day's end, or quiet hours for marketing."""
    local = moment.astimezone(ZoneInfo(journey.scenario.timezone))
    quiet = journey.scenario.memory.quiet_hours
    if marketing and quiet is not None and local.hour < quiet.start:
        return local.replace(hour=quiet.start, minute=0, second=0, microsecond=0)
    return _midnight_after(local)


def in_quiet_hours(quiet: QuietHours, local: dt.datetime) -> bool:
    """True from `start` up to, not including, `end`; the span may pass midnight."""
    if quiet.start <= quiet.end:
        return quiet.start <= local.hour < quiet.end
    return local.hour >= quiet.start or local.hour < quiet.end


def day_used(fold: Fold, events: Iterable[Event], moment: dt.datetime) -> bool:
    """True when this local day already saw a marketing contact, or a decision free to make one.

    Asking again after `wait` must not be a second chance, or propensities would be wrong. A
    decision whose activation failed (`activated` is False) gives the day back.
    """
    today = fold.local_date(moment)
    todays = (event for event in events if fold.local_date(event.occurred_at) == today)
    return any(_uses_the_day(fold.journey, event) for event in todays)


def _uses_the_day(journey: Journey, event: Event) -> bool:
    kind = KINDS.get(event.kind)
    if kind is Kind.CONTACT:
        return event.touchpoint not in {t.name for t in journey.scenario.touchpoints if t.service}
    if kind is not Kind.DECISION or event.activated is False:
        return False
    if event.eligible is None:
        return True
    replies = {"wait", *(a.key for a in journey.actions if a.service)}
    return any(key not in replies for key in event.eligible)


def _on_channels(actions: tuple[Action, ...], channels: frozenset[str] | None) -> int:
    if channels is None:
        return -1
    return sum(1 << n for n, a in enumerate(actions) if a.is_wait or a.channel in channels)


def _excluded(actions: tuple[Action, ...], excluded: frozenset[str]) -> int:
    hit = (not a.is_wait and (a.touchpoint in excluded or a.key in excluded) for a in actions)
    return sum(out << n for n, out in enumerate(hit))


def _next_opening(quiet: QuietHours | None, local: dt.datetime, used: bool) -> dt.datetime:
    opening = _midnight_after(local) if used else local
    if quiet is not None and in_quiet_hours(quiet, opening):
        end = opening.replace(hour=quiet.end, minute=0, second=0, microsecond=0)
        opening = end if end > opening else end + dt.timedelta(days=1)
    return opening


def _midnight_after(local: dt.datetime) -> dt.datetime:
    return dt.datetime.combine(local.date() + dt.timedelta(days=1), dt.time(), tzinfo=local.tzinfo)
