"""The state in words: what a person would note about one customer, and its numbers.

Written from the design, not from `envs/journey/rules.py`: levels are derived anew, so that a mistake
in a level table shows up as a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

from envs.journey.state import State
from envs.scenario.schema import Cap, Scenario

Ages = tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """One customer in words; `contacts` holds the ages in days of capped contacts, a cap each."""

    stage: str
    engagement: int
    fatigue: int
    goodwill: int
    request: tuple[str, int] | None  # inbound channel, days open
    consent: frozenset[str]
    offer: tuple[str, int, bool] | None  # touchpoint, days left, used up
    opened: tuple[str, str, int] | None  # touchpoint, channel, days since the contact
    contacts: tuple[Ages, ...]
    idle: int
    rested: int  # days since the last marketing contact, up to the minimum gap
    day: int


def patterns(cap: Cap) -> list[Ages]:
    """Every history of a cap, in the order of their bit patterns (bit a: a days ago)."""
    histories = [ages for count in range(cap.contacts + 1) for ages in combinations(range(cap.days), count)]
    return sorted(histories, key=lambda ages: sum(1 << age for age in ages))


class Notation:
    """Readings to numbers and back, for one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        memory = scenario.memory
        self.stages = [s.name for s in scenario.stages]
        self.channels = [c.name for c in scenario.channels]
        inbound = [c.name for c in scenario.channels if c.inbound]
        ages = range(memory.inbox.expiry_days)
        self.requests: list[tuple[str, int] | None] = [None, *product(inbound, ages)]
        offers = [t for t in scenario.touchpoints if t.offer_days]
        uses = (False, True) if memory.offer_cleared_by == "expiry" else (False,)
        self.offers: list[tuple[str, int, bool] | None] = [None]
        self.offers += [(t.name, d, u) for t in offers for u in uses for d in range(1, t.offer_days + 1)]
        window = memory.response_window_days
        pairs = [(t.name, c) for t in scenario.touchpoints if not t.service for c in t.channels]
        self.opened: list[tuple[str, str, int] | None] = [None]
        if window > 1:
            self.opened += [(*pair, age) for pair in pairs for age in range(window)]
        self.histories = list(product(*(patterns(cap) for cap in memory.caps)))

    def read(self, state: State) -> Reading:
        """Numbers as words."""
        return Reading(
            stage=self.stages[state.stage],
            engagement=int(state.engagement),
            fatigue=int(state.fatigue),
            goodwill=int(state.goodwill),
            request=self.requests[state.inbox],
            consent=frozenset(c for n, c in enumerate(self.channels) if state.consent >> n & 1),
            offer=self.offers[state.offer],
            opened=self.opened[state.open_contact],
            contacts=self.histories[state.caps],
            idle=int(state.idle),
            rested=int(state.gap),
            day=int(state.day),
        )

    def write(self, x: Reading) -> State:
        """Words as numbers; raises `ValueError` for a reading that has none."""
        return State(
            self.stages.index(x.stage),
            x.engagement,
            x.fatigue,
            x.goodwill,
            self.requests.index(x.request),
            sum(1 << self.channels.index(c) for c in x.consent),
            self.offers.index(x.offer),
            self.opened.index(x.opened),
            self.histories.index(x.contacts),
            x.idle,
            x.rested,
            x.day,
        )
