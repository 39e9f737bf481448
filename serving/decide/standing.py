"""Where a customer stands at a moment, from events alone: the input of every decision.

Pure: the same events give the same standing, which is what makes a decision replayable. The
fold and every rule are `envs`'; here stands only which events count.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from envs.errors import LogError
from envs.scenario.events import KINDS, Event, Kind
from envs.timeline.customer import Fold, Live, order
from envs.timeline.occasion import day_used


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known of a customer when a decision is made."""

    stored: Sequence[Event] = ()
    given: Sequence[Event] | None = None  # a timeline in the request takes the stored one's place
    reserved: Sequence[Event] = ()  # contacts decided but not yet activated, as if they were sent


@dataclass(frozen=True, slots=True)
class Standing:
    """The live state, and what else binds: views of the customer whose caps apply as well."""

    live: Live
    elsewhere: tuple[Live, ...]
    day_used: bool
    unreadable: int  # events that name what this scenario does not have


def stand(fold: Fold, evidence: Evidence, moment: dt.datetime) -> Standing:
    """Fold what happened up to `moment`; opt-outs bind whenever they were stored."""
    stored, lost = readable(fold, evidence.stored)
    given, more = readable(fold, evidence.given or ())
    seen = stored if evidence.given is None else given
    live = at(fold, [event for event in seen if event.occurred_at <= moment], moment)
    consent = live.state.consent & ~opted_out(fold, stored)
    live = replace(live, state=live.state._replace(consent=consent))
    later = any(event.occurred_at > moment for event in stored)
    elsewhere: tuple[Live, ...] = ()
    if evidence.reserved or later or evidence.given is not None:
        elsewhere = (at(fold, [*stored, *evidence.reserved], moment),)
    used = day_used(fold, [*stored, *given, *evidence.reserved], moment)
    return Standing(live, elsewhere, used, lost + more)


def at(fold: Fold, events: Sequence[Event], moment: dt.datetime) -> Live:
    """The fold of these events, days closed up to the local day of `moment`."""
    day = fold.local_date(moment)
    return fold.to_date(fold.run(events) or fold.start(day), day)


def opted_out(fold: Fold, events: Sequence[Event]) -> int:
    """Bits of the channels whose latest consent event is an opt-out."""
    bits = 0
    for event in sorted(events, key=order):
        kind = KINDS[event.kind]
        if kind in (Kind.OPT_OUT, Kind.OPT_IN):
            bit = 1 << fold.numbers(event).channel
            bits = bits | bit if kind is Kind.OPT_OUT else bits & ~bit
    return bits


def readable(fold: Fold, events: Sequence[Event]) -> tuple[list[Event], int]:
    """Events this scenario can fold, and how many it cannot."""
    kept = []
    for event in events:
        try:
            fold.numbers(event)
        except LogError:
            continue
        kept.append(event)
    return kept, len(events) - len(kept)
