"""The fold and the masks once more, in words and slowly: the judge of `fold` and `masks`.

Follows the table of design §3 line by line and shares nothing with the compiled rules.
"""

from __future__ import annotations

from dataclasses import replace

from envs.scenario.actions import Action
from envs.scenario.schema import Cap, Scenario, Stage, Touchpoint
from tests.core.plain_state import Ages, Notation, Reading

ACTIVITY = ("response", "inbound", "purchase")


class PlainFold:
    """What one event, and the end of a day, do to a reading."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.notation = Notation(scenario)
        self.stage: dict[str, Stage] = {s.name: s for s in scenario.stages}
        self.touchpoint: dict[str, Touchpoint] = {t.name: t for t in scenario.touchpoints}
        self.points = {c.name: c.fatigue_points for c in scenario.channels}
        self.channels = [c.name for c in scenario.channels]
        self.gone = scenario.stages[-1].name
        opportunities = scenario.memory.opportunities
        self.gap_days = (opportunities.gap_days or 0) if opportunities.every == "gap" else 0
        self.season = (opportunities.season_days or 0) if opportunities.every == "calendar" else 0
        self.longest_idle = max(s.idle_days or 0 for s in scenario.stages)

    def start(self, stage: str, consent: frozenset[str]) -> Reading:
        """A journey's first reading."""
        nothing = tuple(() for _ in self.scenario.memory.caps)
        neutral = self.scenario.memory.goodwill.neutral
        return Reading(stage, 0, 0, neutral, None, consent, None, None, nothing, 0, self.gap_days, 0)

    def apply(
        self, x: Reading, kind: str, touchpoint: str | None = None, channel: str = "", level: str = ""
    ) -> Reading:
        """One event; `level` is the new stage, or a survey's goodwill as digits."""
        if x.stage == self.gone:
            back = self.scenario.memory.returning_stage
            if kind in ACTIVITY and back is not None:
                kept = replace(self.start(back, x.consent), contacts=x.contacts, rested=x.rested, day=x.day)
                return self.apply(kept, kind, touchpoint, channel, level)
            if kind not in ("opt_in", "opt_out", "stage"):
                return x
        if kind in ACTIVITY:
            x = replace(x, idle=0)
        memory = self.scenario.memory
        if kind == "contact":
            return self._contact(x, touchpoint, channel)
        if kind == "response":
            points = min(x.engagement + memory.engagement.points, memory.engagement.capacity)
            return replace(x, engagement=points, opened=None)
        if kind == "opt_out":
            return replace(x, consent=x.consent - {channel})
        if kind == "opt_in":
            return replace(x, consent=x.consent | {channel})
        if kind == "inbound":
            age = x.request[1] if x.request else 0
            reachable = any(c.name == channel and c.inbound for c in self.scenario.channels)
            return replace(x, request=(channel, age)) if reachable else x
        if kind == "resolution":
            gained = 1 if x.request else 0
            return replace(x, request=None, goodwill=min(x.goodwill + gained, memory.goodwill.capacity))
        if kind == "purchase":
            offer = None if memory.offer_cleared_by == "purchase" else x.offer
            return replace(x, stage=self.stage[x.stage].purchase_to or x.stage, offer=offer)
        if kind == "redemption":
            return self._redemption(x, touchpoint)
        if kind == "stage":
            return replace(x, stage=level, idle=0)
        assert kind == "survey", kind
        return replace(x, goodwill=min(max(int(level), 0), memory.goodwill.capacity))

    def _contact(self, x: Reading, touchpoint: str | None, channel: str) -> Reading:
        spec = self.touchpoint[touchpoint] if touchpoint else None
        if spec is not None and spec.service:
            return x
        memory = self.scenario.memory
        fatigue, goodwill = x.fatigue + self.points[channel], x.goodwill
        if fatigue > memory.fatigue_capacity:
            fatigue, goodwill = memory.fatigue_capacity, max(goodwill - 1, 0)
        contacts = tuple(
            self._noted(cap, ages, channel) for cap, ages in zip(memory.caps, x.contacts, strict=True)
        )
        x = replace(x, fatigue=fatigue, goodwill=goodwill, contacts=contacts, rested=0)
        if spec is None:
            return x
        if spec.offer_days:
            x = replace(x, offer=(spec.name, spec.offer_days, False))
        if channel not in spec.channels:
            return x
        window = memory.response_window_days
        return replace(x, opened=(spec.name, channel, 0) if window > 1 else None)

    def _noted(self, cap: Cap, ages: Ages, channel: str) -> Ages:
        if cap.channels is not None and channel not in cap.channels:
            return ages
        return tuple(sorted({0, *ages}))[: cap.contacts]

    def _redemption(self, x: Reading, touchpoint: str | None) -> Reading:
        if x.offer is None or x.offer[2] or touchpoint not in (None, x.offer[0]):
            return x
        if self.scenario.memory.offer_cleared_by == "expiry":
            return replace(x, offer=(x.offer[0], x.offer[1], True))
        return replace(x, offer=None)

    def close(self, x: Reading) -> Reading:
        """The end of a local day."""
        memory = self.scenario.memory
        x = replace(
            x,
            day=min(x.day + 1, self.season),
            rested=min(x.rested + 1, self.gap_days),
            contacts=tuple(
                tuple(age + 1 for age in ages if age + 1 < cap.days)
                for cap, ages in zip(memory.caps, x.contacts, strict=True)
            ),
        )
        if x.stage == self.gone:
            return x
        idle, stage = min(x.idle + 1, self.longest_idle), x.stage
        spec = self.stage[stage]
        if spec.idle_days is not None and spec.idle_to is not None and idle >= spec.idle_days:
            stage, idle = spec.idle_to, 0
        impatient = x.request is not None and x.request[1] == memory.inbox.patience_days
        return replace(
            x,
            stage=stage,
            idle=idle,
            engagement=max(x.engagement - 1, 0),
            fatigue=max(x.fatigue - 1, 0),
            goodwill=max(x.goodwill - impatient, 0),
            request=_older(x.request, memory.inbox.expiry_days),
            offer=(x.offer[0], x.offer[1] - 1, x.offer[2]) if x.offer and x.offer[1] > 1 else None,
            opened=_aged(x.opened, memory.response_window_days),
        )

    def legal(self, x: Reading, action: Action) -> bool:
        """May this action be taken now? The rules of design §4, one a line."""
        if action.is_wait:
            return True
        memory = self.scenario.memory
        if x.stage == self.gone:
            return False
        if action.stages is not None and x.stage not in action.stages:
            return False
        consented = action.channel in x.consent
        if action.service:
            return x.request is not None and (consented or not memory.reply_needs_consent)
        if not consented or x.rested < self.gap_days:
            return False
        for cap, ages in zip(memory.caps, x.contacts, strict=True):
            if (cap.channels is None or action.channel in cap.channels) and len(ages) >= cap.contacts:
                return False
        opportunities = memory.opportunities
        return opportunities.every != "calendar" or x.day in (opportunities.days or [])


def _older(request: tuple[str, int] | None, expiry_days: int) -> tuple[str, int] | None:
    if request is None or request[1] + 1 >= expiry_days:
        return None
    return request[0], request[1] + 1


def _aged(opened: tuple[str, str, int] | None, window_days: int) -> tuple[str, str, int] | None:
    if opened is None or opened[2] + 1 >= window_days:
        return None
    return opened[0], opened[1], opened[2] + 1
