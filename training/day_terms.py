"""The terms of a learned day: which coefficients act for a state, an action and an earlier event.

A sum over groups of coefficients: the levels of each state component (of ordered ones also their
number), the touchpoint, the channel, the action, what happened earlier, and pairs of these. What was
answered counts by the contact it answered, whatever was done that day; an offer counts as held from
the contact that makes it, as it is when the day's events come. m coefficients act at once, P exist
in R groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.advance import contacted
from envs.compiled import compiled
from envs.day import NONE
from envs.journey import Journey
from envs.state import State

ORDINAL = ("engagement", "fatigue", "goodwill", "idle", "gap", "day")
OFFER = State._fields.index("offer")
# Ridges that the search for ridges begins with. Levels can say what their number says, and a pair what
# its parts say, at the price of a coefficient a level: begun as loose, they would say it, and keep it.
OWN, LEVELS, PAIR = 1.0, 10.0, 100.0


class Terms:
    """Which coefficients act for an observation, an action, a contact answered and what happened earlier.

    Of a response (`answering`) the action is the contact that it answers, and what happened earlier is
    that contact: made on another day, it brings no new offer today.
    """

    def __init__(self, journey: Journey, acting: bool = True, answering: bool = False) -> None:
        rules, encoding = journey.rules, journey.encoding
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

        with_actions = (touchpoints, channels) if acting else ()
        # per component and way of reading it: own, × t, × c, × earlier; its number's scale, 0 where it has
        # none; what each of its levels is read as; how many of these there are; the component
        at: list[tuple[int, ...]] = []
        scale, seen, sizes, entry = [], [], [], []
        for component, size in enumerate(encoding.sizes):
            for factor, read, ridge in _ways(journey, int(encoding.source[component]), size):
                width = int(read.max()) + 1
                own = block(width, ridge)
                crossed = [block(width * other, ridge * PAIR) for other in with_actions]
                at.append((own, *crossed, *([0] * (2 - len(crossed))), block(width, ridge * PAIR)))
                scale.append(factor)
                seen.append(np.pad(read, (0, max(encoding.sizes) - size)))
                sizes.append(width)
                entry.append(component)
        self.at, self.scale, self.seen = np.array(at, dtype=np.int64), np.array(scale), np.array(seen)
        self.width, self.entry = np.array(sizes, dtype=np.int64), np.array(entry, dtype=np.int64)
        # touchpoint, channel, pair, earlier, earlier × touchpoint answered, earlier × channel answered
        wide = (touchpoints, channels, len(self.touchpoint), 1, touchpoints, channels)
        ridges = (OWN, OWN, PAIR, OWN, PAIR, PAIR)
        self.own = np.array([
            block(size, ridge) if acting or size == 1 else 0 for size, ridge in zip(wide, ridges, strict=True)
        ])  # fmt: skip
        self.group, self.first = np.array(groups), np.array(first)  # (P,) its group, (R,) its first ridge
        self.acting, self.offer, self.held = acting, NONE, np.zeros((1, 1, 2), dtype=np.int64)
        if acting and OFFER in encoding.source:
            self.offer = encoding.source.tolist().index(OFFER)
            shape = encoding.sizes[self.offer], len(self.touchpoint), 2
            self.held = np.empty(shape, dtype=np.int64)  # by offer before, action, what happened earlier
            _hold(journey.packed[0].machine, answering, self.held)
        self.columns = 1 + len(at) * (4 if acting else 2) + (6 if acting else 1)

    @property
    def packed(self) -> tuple[Any, ...]:
        """What compiled code reads."""
        return (
            self.at,
            self.scale,
            self.seen,
            self.width,
            self.entry,
            self.own,
            self.touchpoint,
            self.channel,
            self.acting,
            self.offer,
            self.held,
        )


def _ways(journey: Journey, source: int, size: int) -> list[tuple[float, Any, float]]:
    """How a state component is read: a number's scale (0: none), what levels are read as, the first ridge."""
    levels, nothing = np.arange(size), np.zeros(size, dtype=np.int64)
    if source >= 0 and State._fields[source] in ORDINAL:
        return [(0.0, levels, LEVELS), (1.0 / max(size - 1, 1), nothing, OWN)]
    if source == OFFER:  # what it is, apart from how old
        return [(0.0, levels, LEVELS), (0.0, np.asarray(journey.rules.offer_kind, dtype=np.int64), OWN)]
    return [(0.0, levels, OWN)]


@compiled
def _hold(m: Any, answering: bool, held: Any) -> None:
    """The offer in hand when the day's events come."""
    for offer in range(held.shape[0]):
        state = State(0, 0, 0, 0, 0, 0, offer, 0, 0, 0, 0, 0)
        for action in range(held.shape[1]):
            held[offer, action, :] = contacted(m, state, action).offer
            if answering:
                held[offer, action, 1] = offer


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
