"""The terms of a learned day: which coefficients act for a state, an action and an earlier event.

A sum over groups of coefficients: the levels of each state component (of ordered ones also their
number), the touchpoint, the channel, the action, what happened earlier, and pairs of these. What was
answered counts by the contact it answered, whatever was done that day; an offer counts as held from
the contact that makes it, as it is when the day's events come. m coefficients act at once, P exist
in R groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Ints
from envs.compiled import compiled
from envs.day.day import NONE
from envs.day.fold import contacted
from envs.journey.journey import Journey
from envs.journey.state import COLUMN, State

ORDINAL = ("engagement", "fatigue", "goodwill", "idle", "gap", "day")
# Ridges that the search for ridges begins with. Levels can say what their number says, and a pair what
# its parts say, at the price of a coefficient a level: begun as loose, they would say it, and keep it.
OWN, LEVELS, PAIR = 1.0, 10.0, 100.0


class Reading(NamedTuple):
    """One way of reading a state component; some have two."""

    component: int
    scale: float  # of the component's number; 0: levels are told apart
    seen: Ints  # (levels,) what each level is read as
    ridge: float  # its first


class Terms:
    """Which coefficients act for an observation, an action, a contact answered and what happened earlier.

    Of a response (`answering`) the action is the contact that it answers, and what happened earlier is
    that contact: made on another day, it brings no new offer today.
    """

    def __init__(self, journey: Journey, acting: bool = True, answering: bool = False) -> None:
        rules, sizes = journey.rules, journey.encoding.sizes
        self.touchpoint = np.asarray(rules.action_touchpoint) + 1  # 0: none
        self.channel = np.asarray(rules.action_channel) + 1
        if not acting:
            self.touchpoint, self.channel = self.touchpoint[:1] * 0, self.channel[:1] * 0
        touchpoints, channels = int(self.touchpoint.max()) + 1, int(self.channel.max()) + 1
        groups, first = [0], [OWN]

        def block(size: int, ridge: float) -> int:
            groups.extend([len(first)] * size)
            first.append(ridge)
            return len(groups) - size

        readings = _readings(journey)
        self.entry = np.array([r.component for r in readings], dtype=np.int64)
        self.scale = np.array([r.scale for r in readings])
        self.seen = np.array([np.pad(r.seen, (0, max(sizes) - len(r.seen))) for r in readings])
        self.width = self.seen.max(axis=1) + 1
        crossed = (1, touchpoints, channels) if acting else (1, 0, 0)
        self.at = np.array([  # of each reading: its own, × touchpoint, × channel, × what happened earlier
            [block(width * n, r.ridge * (1.0 if n == 1 else PAIR)) if n else 0 for n in crossed]
            + [block(width, r.ridge * PAIR)]
            for r, width in zip(readings, self.width.tolist(), strict=True)
        ])  # fmt: skip
        # touchpoint, channel, pair, earlier, earlier × touchpoint answered, earlier × channel answered
        wide = (touchpoints, channels, len(self.touchpoint), 1, touchpoints, channels)
        ridges = (OWN, OWN, PAIR, OWN, PAIR, PAIR)
        self.own = np.array([
            block(size, ridge) if acting or size == 1 else 0 for size, ridge in zip(wide, ridges, strict=True)
        ])  # fmt: skip
        self.group, self.first = np.array(groups), np.array(first)  # (P,) its group, (R,) its first ridge
        self.acting = acting
        self.offer, self.held = _offers(journey, answering)
        self.columns = 1 + len(readings) * (4 if acting else 2) + (6 if acting else 1)

    @property
    def packed(self) -> tuple[object, ...]:
        """What compiled code reads, in the order of `_acting`."""
        where = self.at, self.scale, self.seen, self.width, self.entry, self.own
        return *where, self.touchpoint, self.channel, self.acting, self.offer, self.held


def _readings(journey: Journey) -> list[Reading]:
    """Components by their levels; ordered ones also by their number, offers also by what they are."""
    found, encoding = [], journey.encoding
    for component, (size, source) in enumerate(zip(encoding.sizes, encoding.source.tolist(), strict=True)):
        levels, kinds = np.arange(size), np.asarray(journey.rules.offer_kind, dtype=np.int64)
        if source >= 0 and State._fields[source] in ORDINAL:
            found.append(Reading(component, 0.0, levels, LEVELS))
            found.append(Reading(component, 1.0 / max(size - 1, 1), levels * 0, OWN))
        elif source == COLUMN.offer and not np.array_equal(levels, kinds):
            found.append(Reading(component, 0.0, levels, LEVELS))
            found.append(Reading(component, 0.0, kinds, OWN))
        else:
            found.append(Reading(component, 0.0, levels, OWN))
    return found


def _offers(journey: Journey, answering: bool) -> tuple[int, Ints]:
    """The offer's component (-1: none), and which one is in hand when the day's events come (O, A, 2).

    By the offer before, the action and what happened earlier. Only contacts that can be answered make
    offers, so on the day of a late answer, a response to another day's contact, none is made.
    """
    source = journey.encoding.source.tolist()
    component = source.index(COLUMN.offer) if COLUMN.offer in source else NONE
    held = np.zeros((journey.encoding.sizes[component], len(journey.actions), 2), dtype=np.int64)
    _hold(journey.packed[0].machine, held)
    if answering:
        held[..., 1] = np.arange(len(held))[:, None]
    return component, held


@compiled
def _hold(m: Any, held: Any) -> None:
    for offer in range(held.shape[0]):
        state = State(0, 0, 0, 0, 0, 0, offer, 0, 0, 0, 0, 0)  # in a stage that is lived in
        for action in range(held.shape[1]):
            held[offer, action, :] = contacted(m, state, action).offer


@compiled
def _acting(
    at: Any, scale: Any, seen: Any, width: Any, entry: Any, own: Any, touchpoints: Any, channels: Any,
    acting: bool, offer: int, held: Any, observation: Any, action: int, answered: int, earlier: int,
    column: Any, value: Any,
) -> int:  # fmt: skip
    """The coefficients acting, ascending, and what they are multiplied by; how many there are."""
    t, c = touchpoints[action], channels[action]
    column[0], value[0] = 0, 1.0
    n = 1
    for k in range(len(entry)):
        level = int(observation[entry[k]])
        if entry[k] == offer:
            level = held[level, action, earlier]
        number = level * scale[k] if scale[k] > 0.0 else 1.0
        if number == 0.0:
            continue
        level = seen[k, level]
        column[n], value[n] = at[k, 0] + level, number
        n += 1
        if acting:
            column[n], value[n] = at[k, 1] + t * width[k] + level, number
            column[n + 1], value[n + 1] = at[k, 2] + c * width[k] + level, number
            n += 2
        if earlier:
            column[n], value[n] = at[k, 3] + level, number
            n += 1
    if acting:
        column[n], column[n + 1], column[n + 2] = own[0] + t, own[1] + c, own[2] + action
        value[n : n + 3] = 1.0
        n += 3
    if earlier:
        column[n], value[n] = own[3], 1.0
        n += 1
        if acting:
            column[n] = own[4] + touchpoints[answered]
            column[n + 1] = own[5] + channels[answered]
            value[n : n + 2] = 1.0
            n += 2
    return n


@compiled
def fill_design(
    terms: Any, observations: Any, state: Any, action: Any, answered: Any, earlier: Any, column: Any,
    value: Any, count: Any,
) -> None:  # fmt: skip
    """The acting coefficients of cells (C,): columns and values (C, m), and how many."""
    for i in range(len(state)):
        count[i] = _acting(
            *terms, observations[state[i]], action[i], answered[i], earlier[i], column[i], value[i]
        )


@compiled
def sum_everywhere(
    terms: Any, observations: Any, action: Any, answered: Any, earlier: Any, theta: Any, columns: int,
    out: Any,
) -> None:  # fmt: skip
    """(N, K) sums of acting coefficients; what is asked about is (N, K) too."""
    column, value = np.empty(columns, np.int64), np.empty(columns)
    for i in range(len(observations)):
        for j in range(out.shape[1]):
            n = _acting(*terms, observations[i], action[i, j], answered[i, j], earlier[i, j], column, value)
            total = 0.0
            for k in range(n):
                total += theta[column[k]] * value[k]
            out[i, j] = total
