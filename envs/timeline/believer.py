"""The belief over hidden types along one real timeline, a customer at a time, in plain Python.

Cuts days as the likelihood asks for: a day's outcomes belong to its first contact of ours,
or to none; what a request says is counted with the close before it, unless today's decision
has been made already. Further contacts of a day have no likelihood. The rule itself is
`day/likelihood.py`'s.
"""

from __future__ import annotations

from types import FunctionType
from typing import NamedTuple

from envs.compiled import plain
from envs.day.day import (
    NONE,
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    OUTCOMES,
)
from envs.day.likelihood import FLOOR, after_close, after_day
from envs.journey.journey import Journey
from envs.journey.state import State
from envs.scenario.events import Kind

NOTHING = (NONE,) * OUTCOMES
_COLUMN = {
    Kind.RESPONSE: OUT_RESPONSE,
    Kind.OPT_OUT: OUT_OPT_OUT,
    Kind.RESOLUTION: OUT_RESOLUTION,
    Kind.PURCHASE: OUT_PURCHASE,
    Kind.STAGE: OUT_STAGE,
    Kind.INBOUND: OUT_INBOUND,
}
_CUTS = frozenset((Kind.DECISION, Kind.CONTACT, Kind.REDEMPTION, *_COLUMN)) - {Kind.STAGE, Kind.INBOUND}


class Mind(NamedTuple):
    """What is believed of a customer, and what the open day has shown so far."""

    belief: tuple[float, ...]  # (P,) by the close of yesterday, its requests not yet counted
    closed: State | None = None  # yesterday's, until it is known whether a request came after it
    before: State | None = None  # the state that today's outcomes depend on; None: not cut yet
    action: int = 0
    outcome: tuple[int, ...] = NOTHING
    first: bool = True  # the first day: a stage stated now is where the journey starts


class Believer:
    """Bayes' rule for one cluster; P personas."""

    def __init__(self, journey: Journey) -> None:
        self._machine = journey.scalar_machine
        self._chances = tuple(tuple(packed.chance.tolist()) for packed in journey.packed)
        self._action_of = journey.rules.action_of
        self._churned = journey.rules.churned
        self._prior = tuple(float(share) for share in journey.shares)
        self._after_day, self._after_close = plain(after_day), plain(after_close)

    def start(self) -> Mind:
        """A customer never seen before: the personas' shares."""
        return Mind(self._prior)

    def hear(self, mind: Mind, state: State, kind: int, touchpoint: int, channel: int, level: int) -> Mind:
        """One event, before it is applied to `state`."""
        if kind in _CUTS or (kind == Kind.STAGE and not mind.first):
            mind = self._cut(mind, state)
        if kind == Kind.CONTACT and touchpoint >= 0 and mind.action == 0:
            mind = mind._replace(action=max(int(self._action_of[touchpoint, channel]), 0))
        elif kind == Kind.INBOUND:
            mind = self._request(mind, state, channel)
        elif kind == Kind.STAGE and level == state.stage:
            return mind  # said again
        elif kind in _COLUMN and mind.before is not None:
            what = {Kind.OPT_OUT: channel, Kind.STAGE: level}.get(Kind(kind), 1)
            mind = mind._replace(outcome=_with(mind.outcome, _COLUMN[Kind(kind)], what))
        return mind

    def close(self, mind: Mind, state: State, closed: State) -> Mind:
        """The end of a day; `state` before the close, `closed` after it."""
        mind = self._cut(mind, state)
        before = mind.before or state
        belief = self._learn(self._after_day, mind.belief, before, mind.action, mind.outcome)
        heard = mind.outcome[OUT_INBOUND] >= 0  # today's request came before the close
        return Mind(belief, None if heard else closed, first=False)

    def belief(self, mind: Mind) -> tuple[float, ...]:
        """(P,) as of now: no request since the close counts as none."""
        if mind.closed is None:
            return mind.belief
        return self._learn(self._after_close, mind.belief, mind.closed, NOTHING)

    def _cut(self, mind: Mind, state: State) -> Mind:
        """Today's decision is made, or might have been: no request had come by then."""
        if mind.before is not None:
            return mind
        return mind._replace(belief=self.belief(mind), closed=None, before=state)

    def _request(self, mind: Mind, state: State, channel: int) -> Mind:
        """The first request since the last close, or since today's decision."""
        outcome = _with(NOTHING, OUT_INBOUND, channel)
        if mind.closed is not None:
            belief = self._learn(self._after_close, mind.belief, mind.closed, outcome)
            return mind._replace(belief=belief, closed=None)
        if mind.before is None or mind.outcome[OUT_INBOUND] >= 0:
            return mind
        belief = self._learn(self._after_close, mind.belief, state, outcome)
        return mind._replace(belief=belief, outcome=_with(mind.outcome, OUT_INBOUND, channel))

    def _learn(
        self, rule: FunctionType, belief: tuple[float, ...], *evidence: State | int | tuple[int, ...]
    ) -> tuple[float, ...]:
        updated = list(belief)
        rule(self._machine, self._chances, *evidence, updated, [FLOOR] * len(updated))
        return tuple(updated)


def _with(outcome: tuple[int, ...], column: int, value: int) -> tuple[int, ...]:
    """The first of a kind counts: a later one is another event of the same day."""
    if outcome[column] >= 0:
        return outcome
    return (*outcome[:column], value, *outcome[column + 1 :])
