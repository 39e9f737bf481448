"""One day once more, in words and slowly: the judge of simulator, enumerator and prices.

Chances are products of odds read straight from a behaviour, rewards are money read straight
from the prices. `day` asks a `Picker` whenever something is left to chance; one picker draws,
another walks through every branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from envs.day.rng import INBOUND_CHANNEL, MOVE
from envs.journey.journey import Journey
from envs.journey.state import State
from envs.scenario.actions import Action, actions_of
from envs.scenario.behavior import Behavior
from envs.scenario.events import Kind
from envs.scenario.schema import COMPONENTS
from tests.core.plain_fold import PlainFold
from tests.core.plain_state import Reading


class Picker(Protocol):
    """Whatever decides among outcomes."""

    def pick(self, kind: int, chances: Sequence[float]) -> int:
        """The outcome's number; chances sum to 1."""

    def value(self, mean: float, variation: float) -> float:
        """What a purchase is worth."""


class Day(NamedTuple):
    """What one day led to; `happened` holds one name an event, in order."""

    after: Reading
    reward: dict[str, float]
    value: float
    happened: tuple[str, ...]


class Branch(NamedTuple):
    """One way a day can go."""

    chance: float
    state: State
    reward: tuple[float, ...]  # in the order of COMPONENTS
    bought: float  # margin × mean value


def odds(rate: float, *ratios: float) -> float:
    """A rate whose odds are multiplied by ratios."""
    if rate in (0.0, 1.0):
        return rate
    product = math.prod(ratios, start=rate / (1.0 - rate))
    return product / (1.0 + product)


class PlainDay:
    """The probability model of one behaviour."""

    def __init__(self, journey: Journey, behavior: Behavior | None = None) -> None:
        self.scenario = journey.scenario
        self.fold = PlainFold(journey.scenario)
        self.behavior = behavior or journey.cluster.behavior
        self.actions: tuple[Action, ...] = actions_of(journey.scenario)
        self.channel = {c.name: c for c in journey.scenario.channels}

    def day(self, x: Reading, action: Action, picker: Picker) -> Day:
        """From decision to decision."""
        fold, b, prices = self.fold, self.behavior, self.scenario.prices
        reward = dict.fromkeys(COMPONENTS, 0.0)
        happened: list[str] = []
        state = x
        if not action.is_wait:
            state = fold.apply(state, "contact", action.touchpoint, action.channel)
            spec = self.channel[action.channel]
            minutes = self._service_minutes(action.channel) if action.service else spec.minutes
            reward["contact_cost"] -= spec.contact_cost
            reward["agent_minutes"] -= minutes * prices.agent_minute
        held = state.offer[0] if state.offer else ""  # today's offer counts all day, used up or not
        responded = ""
        chance, touchpoint = self._response(x, action, held)
        if chance > 0.0 and picker.pick(Kind.RESPONSE, (chance, 1.0 - chance)) == 0:
            responded = touchpoint
            happened.append(f"response {touchpoint}")
            state = fold.apply(state, "response", responded)
        if not action.is_wait:
            if action.channel in x.consent:
                reply = b.opt_out.reply if action.service else 1.0
                leaves = odds(b.opt_out.rate.get(action.channel, 0.0), b.opt_out.fatigue**x.fatigue, reply)
                if picker.pick(Kind.OPT_OUT, (leaves, 1.0 - leaves)) == 0:
                    happened.append(f"opt_out {action.channel}")
                    state = fold.apply(state, "opt_out", channel=action.channel)
                    reward["opt_out"] -= prices.opt_out.get(action.channel, 0.0)
            if action.service and x.request:
                pair = b.resolution.inbound.get(x.request[0], {}).get(action.channel, 1.0)
                solved = odds(b.resolution.rate.get(action.channel, 0.0), pair)
                if picker.pick(Kind.RESOLUTION, (solved, 1.0 - solved)) == 0:
                    happened.append("resolution")
                    state = fold.apply(state, "resolution", channel=action.channel)
        state, value, moved = self._purchase(x, state, responded, picker, reward, happened)
        if not moved:
            state = self._move(x, state, responded, held, picker, reward, happened)
        if state.stage != fold.gone:
            reward["retention_margin"] += fold.stage[state.stage].daily_margin
            reward["effort"] -= prices.effort_day if state.request else 0.0
        state = self._arrival(fold.close(state), picker, reward, happened)
        reward["goodwill"] += prices.goodwill_level * (state.goodwill - x.goodwill)
        return Day(state, reward, value, tuple(happened))

    def _response(self, x: Reading, action: Action, offer: str) -> tuple[float, str]:
        """Chance and touchpoint: today's marketing contact, else the one still open."""
        r = self.behavior.response
        if not action.is_wait and not action.service:
            touchpoint, channel, age = action.touchpoint, action.channel, 0
        elif x.opened is not None:
            touchpoint, channel, age = x.opened
        else:
            return 0.0, ""
        by_stage = r.touchpoint.get(touchpoint, 1.0)
        chance = odds(
            r.rate.get(channel, 0.0),
            by_stage.get(x.stage, 1.0) if isinstance(by_stage, dict) else by_stage,
            r.pair.get(touchpoint, {}).get(channel, 1.0),
            r.engagement**x.engagement,
            r.fatigue**x.fatigue,
            r.goodwill ** (x.goodwill - self.scenario.memory.goodwill.neutral),
            r.offer_in_hand.get(offer, 1.0),
            r.day_open**age,
        )
        return chance, touchpoint

    def _purchase(
        self, x: Reading, state: Reading, responded: str, picker: Picker,
        reward: dict[str, float], happened: list[str],
    ) -> tuple[Reading, float, bool]:  # fmt: skip
        p, spec = self.behavior.purchase, self.fold.stage[x.stage]
        held = state.offer[0] if state.offer else ""
        chance = odds(
            p.rate.get(x.stage, 0.0),
            p.engagement**x.engagement,
            p.response.get(responded, 1.0),
            p.offer_in_hand.get(held, 1.0),
        )
        if picker.pick(Kind.PURCHASE, (chance, 1.0 - chance)) == 1:
            return state, 0.0, False
        value = picker.value(p.value.get(x.stage, 0.0) * p.value_with_offer.get(held, 1.0), p.value_cv)
        happened.append("purchase")
        reward["retention_margin" if spec.customer else "conversion_margin"] += (
            self.scenario.prices.margin * value
        )
        after = self.fold.apply(state, "purchase")
        if state.offer and not state.offer[2]:
            offer = self.fold.touchpoint[held]
            if picker.pick(Kind.REDEMPTION, (offer.redemption_rate, 1.0 - offer.redemption_rate)) == 0:
                happened.append(f"redemption {held}")
                after = self.fold.apply(after, "redemption", held)
                reward["incentive_cost"] -= offer.incentive_cost
        return after, value, spec.purchase_to is not None

    def _move(
        self, x: Reading, state: Reading, responded: str, held: str, picker: Picker,
        reward: dict[str, float], happened: list[str],
    ) -> Reading:  # fmt: skip
        """Churn, else advance, else lapse, else stay: each gets what the earlier ones leave."""
        b, spec = self.behavior, self.fold.stage[x.stage]
        neutral = self.scenario.memory.goodwill.neutral
        churn = odds(
            b.churn.rate.get(x.stage, 0.0),
            b.churn.goodwill ** (x.goodwill - neutral),
            b.churn.fatigue**x.fatigue,
        )
        answer = b.advance.response.get(responded, 1.0)
        advance = odds(
            b.advance.rate.get(x.stage, 0.0),
            b.advance.engagement**x.engagement,
            answer.get(x.stage, 1.0) if isinstance(answer, dict) else answer,
            b.advance.offer_in_hand.get(held, 1.0),
        )
        lapse = b.lapse.rate.get(x.stage, 0.0)
        stays = (1.0 - churn) * (1.0 - advance)
        way = picker.pick(MOVE, (churn, (1.0 - churn) * advance, stays * lapse, stays * (1.0 - lapse)))
        target = (self.fold.gone, spec.advance_to, spec.lapse_to, None)[way]
        if target is None:
            return state
        happened.append(f"stage {target}")
        reward["churn"] -= self.scenario.prices.churn if way == 0 else 0.0
        return self.fold.apply(state, "stage", level=target)

    def _arrival(
        self, state: Reading, picker: Picker, reward: dict[str, float], happened: list[str]
    ) -> Reading:
        if state.stage == self.fold.gone:
            return state
        i, prices = self.behavior.inbound, self.scenario.prices
        neutral = self.scenario.memory.goodwill.neutral
        repeat = i.repeat if state.request else 1.0
        chance = odds(i.rate.get(state.stage, 0.0), i.goodwill ** (state.goodwill - neutral), repeat)
        total = sum(i.channels.values())
        if total == 0.0 or picker.pick(Kind.INBOUND, (chance, 1.0 - chance)) == 1:
            return state
        names = list(self.channel)
        channel = names[picker.pick(INBOUND_CHANNEL, [i.channels.get(c, 0.0) / total for c in names])]
        happened.append(f"inbound {channel}")
        reward["agent_minutes"] -= self._service_minutes(channel) * prices.agent_minute
        reward["effort"] -= prices.effort_repeat if state.request else 0.0
        return self.fold.apply(state, "inbound", channel=channel)

    def _service_minutes(self, channel: str) -> float:
        spec = self.channel[channel]
        return spec.minutes if spec.service_minutes is None else spec.service_minutes

    def branches(self, state: State, action: int) -> list[Branch]:
        """Every way the day of this state and action can go, unmerged."""
        notation, margin = self.fold.notation, self.scenario.prices.margin
        x, out = notation.read(state), []
        pending: list[tuple[int, ...]] = [()]
        while pending:
            walk = _Walk(pending.pop(), pending)
            day = self.day(x, self.actions[action], walk)
            reward = tuple(day.reward[name] for name in COMPONENTS)
            out.append(Branch(walk.chance, notation.write(day.after), reward, margin * day.value))
        return out


class _Walk:
    """A picker that follows a script, then takes first outcomes and notes the others."""

    def __init__(self, script: tuple[int, ...], pending: list[tuple[int, ...]]) -> None:
        self.script, self.pending = script, pending
        self.taken: tuple[int, ...] = ()
        self.chance = 1.0

    def pick(self, kind: int, chances: Sequence[float]) -> int:
        possible = [n for n, p in enumerate(chances) if p > 0.0]
        if len(self.taken) < len(self.script):
            choice = self.script[len(self.taken)]
        else:
            choice = possible[0]
            self.pending += [(*self.taken, other) for other in possible[1:]]
        self.taken = (*self.taken, choice)
        self.chance *= chances[choice]
        return choice

    def value(self, mean: float, variation: float) -> float:
        return mean


MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014), in Python's own integers."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


class Draws:
    """A picker with the simulator's own draws: one number a customer, day and kind."""

    def __init__(self, seed: int, customer: int, day: int) -> None:
        key = seed * GOLDEN + customer * 0xD1342543DE82EF95 + day * 0xA0761D6478BD642F
        self.key = mix(key + GOLDEN & MASK)
        self.used: dict[int, float] = {}

    def uniform(self, kind: int) -> float:
        """53 bits as a number in [0, 1)."""
        self.used[int(kind)] = (mix(self.key + (int(kind) + 1) * GOLDEN & MASK) >> 11) / 2**53
        return self.used[int(kind)]

    def pick(self, kind: int, chances: Sequence[float]) -> int:
        """The first outcome whose cumulative chance exceeds the draw."""
        reached = np.cumsum(chances) > self.uniform(kind)
        return int(reached.argmax()) if reached.any() else len(chances) - 1

    def value(self, mean: float, variation: float) -> float:
        """Log-normal with this mean and coefficient of variation (Box and Muller, 1958)."""
        sigma = math.sqrt(math.log(1.0 + variation**2))
        first, second = self.uniform(21), self.uniform(22)
        normal = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
        return mean * math.exp(sigma * normal - sigma**2 / 2.0)


def started(day: PlainDay, journey: Journey, seed: int, customer: int) -> tuple[Reading, int]:
    """First reading and persona of a simulated customer."""
    draws = Draws(seed, customer, -1)
    cluster = journey.cluster
    persona = draws.pick(18, [p.share for p in cluster.personas]) if cluster.personas else 0
    stages = [cluster.start.stages.get(s.name, 0.0) for s in journey.scenario.stages]
    stage = draws.pick(16, stages)
    shares = [1.0]
    for name in day.channel:  # consent pattern: bit c is channel c
        granted = cluster.start.consent.get(name, 1.0)
        shares = [s * (1.0 - granted) for s in shares] + [s * granted for s in shares]
    pattern = draws.pick(17, shares)
    consent = frozenset(c for n, c in enumerate(day.channel) if pattern >> n & 1)
    return day.fold.start(journey.scenario.stages[stage].name, consent), persona
