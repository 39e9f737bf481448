"""A real timeline folded into a live state: days closed in local time, events applied in order.

The same `apply` and `close_day` as everywhere, called as plain Python for one customer.
Whole logs are folded by the compiled twin in `replay.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from envs.arrays import Floats
from envs.day.fold import apply, close_day, in_season
from envs.day.start import start_state
from envs.errors import LogError
from envs.journey.journey import Journey
from envs.journey.state import State
from envs.scenario.events import KINDS, Event, Kind
from envs.timeline.believer import Believer, Mind

_apply = apply.py_func
_close_day = close_day.py_func
_in_season = in_season.py_func
_start_state = start_state.py_func


@dataclass(frozen=True, slots=True)
class Live:
    """Where a customer stands: the state, the local day it is in, and what today has seen."""

    state: State
    date: dt.date
    contacted_today: bool = False  # a marketing contact went out this local day
    mind: Mind | None = None  # what is believed of a hidden type, where the cluster has them


class Numbers(NamedTuple):
    """An event as the numbers `apply` takes; -1 where it has none."""

    kind: int
    touchpoint: int
    channel: int
    level: int


class Fold:
    """Folds one customer's events; a scenario's names become numbers here.

    The state is the same in every cluster of a scenario; the belief is the journey's cluster's.
    """

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self.zone = ZoneInfo(journey.scenario.timezone)
        self._rules = journey.rules
        self._machine = journey.scalar_machine
        self._stage = {s.name: i for i, s in enumerate(journey.scenario.stages)}
        self._channel = {c.name: i for i, c in enumerate(journey.scenario.channels)}
        self._touchpoint = {t.name: i for i, t in enumerate(journey.scenario.touchpoints)}
        self._believer = Believer(journey) if len(journey.personas) > 1 else None

    @cached_property
    def _season_start(self) -> dt.date | None:
        return self.journey.scenario.memory.opportunities.season_start

    def local_date(self, moment: dt.datetime) -> dt.date:
        """The customer's local day of an aware time."""
        return moment.astimezone(self.zone).date()

    def start(self, date: dt.date, stage: str | None = None, consent: int = 0) -> Live:
        """A customer never seen before: the scenario's new-customer stage, consent denied."""
        number = self._stage[stage or self.journey.scenario.new_customer.stage]
        state = _start_state(self._machine, number, consent)
        mind = self._believer.start() if self._believer else None
        return Live(self._in_season(state, date), date, mind=mind)

    def _in_season(self, state: State, date: dt.date) -> State:
        start = self._season_start
        return state if start is None else _in_season(self._machine, state, (date - start).days)

    def to_date(self, live: Live, date: dt.date) -> Live:
        """Close the days up to the start of `date`; an earlier date changes nothing."""
        if date <= live.date:
            return live
        state, mind = live.state, live.mind
        for _ in range((date - live.date).days):
            closed = _close_day(self._machine, state)
            if self._believer and mind is not None:
                mind = self._believer.close(mind, state, closed)
            # nothing left to drain: further days change nothing, unless silence teaches something
            if closed == state and (mind is None or state.stage == self._rules.churned):
                break
            state = closed
        return Live(self._in_season(state, date), date, mind=mind)

    def step(self, live: Live, event: Event) -> Live:
        """Apply one event at its local day (never before `live.date`)."""
        live = self.to_date(live, self.local_date(event.occurred_at))
        n = self.numbers(event)
        mind = live.mind
        if self._believer and mind is not None:
            mind = self._believer.hear(mind, live.state, n.kind, n.touchpoint, n.channel, n.level)
        if n.kind == Kind.DECISION:
            return replace(live, mind=mind)
        state = _apply(self._machine, live.state, n.kind, n.touchpoint, n.channel, n.level)
        marketing = n.kind == Kind.CONTACT and (n.touchpoint < 0 or not self._rules.is_service[n.touchpoint])
        contacted = live.contacted_today or marketing
        return replace(live, state=state, contacted_today=contacted, mind=mind)

    def observe(self, live: Live) -> Floats:
        """(F,) float32 what a policy is told: the state, and the belief where there is one."""
        belief = self._believer.belief(live.mind) if self._believer and live.mind is not None else ()
        return self.journey.encoding.encode(live.state, belief)

    def run(self, events: Iterable[Event], live: Live | None = None) -> Live | None:
        """Fold events in time order (ties by kind, then id); None without events."""
        for event in sorted(events, key=order):
            if live is None:
                live = self.start(self.local_date(event.occurred_at))
            live = self.step(live, event)
        return live

    def numbers(self, event: Event) -> Numbers:
        """Names to numbers; raises `LogError` for a name the scenario does not have."""
        if event.kind not in KINDS:
            raise LogError("unknown kind", where=event.event_id, got=event.kind, expected=", ".join(KINDS))
        kind = KINDS[event.kind]
        channel = self._number(self._channel, event.channel, "channel", event)
        # a touchpoint of another system is a contact all the same: it tires
        touchpoint = self._touchpoint.get(event.touchpoint or "", -1)
        level = -1
        if kind is Kind.STAGE:
            level = self._number(self._stage, event.outcome, "stage", event)
        elif kind is Kind.SURVEY:
            level = _survey_level(event)
        needs_channel = kind in (Kind.CONTACT, Kind.OPT_IN, Kind.OPT_OUT, Kind.INBOUND)
        if (kind is Kind.STAGE and level < 0) or (needs_channel and channel < 0):
            raise LogError(
                f"{event.kind} without its name", where=event.event_id, expected="a channel or a stage"
            )
        return Numbers(int(kind), touchpoint, channel, level)

    @staticmethod
    def _number(known: dict[str, int], name: str | None, what: str, event: Event) -> int:
        if not name:
            return -1
        if name not in known:
            raise LogError(f"unknown {what}", where=event.event_id, got=name, expected=", ".join(known))
        return known[name]


def order(event: Event) -> tuple[dt.datetime, int, str]:
    """Sort key of a timeline: time, then the order of a day, then id."""
    return event.occurred_at, int(KINDS.get(event.kind, 99)), event.event_id


def _survey_level(event: Event) -> int:
    try:
        return int(event.outcome if event.outcome is not None else event.value or 0)
    except ValueError as error:
        raise LogError("survey without a level", where=event.event_id, got=event.outcome) from error
