"""Q-values of one cluster from sampled days alone, every legal action tried with the same luck.

The simulator's draws belong to a customer's day, not to an action, so all legal actions of a
visited state are sampled on the same draws: what is common to them cancels in their difference.
Targets are variance-reduced (Wainwright, 2019, doi 10.48550/arXiv.1906.04697): the mean of
r + γV̄(x') under a value V̄ that is kept for an epoch, plus the small γ(V − V̄)(x') of the day.
Nothing of the solver or of expected rewards is read. C consent patterns, S states, A actions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.advance import start_state
from envs.compiled import compiled
from envs.day import OUTCOMES, sample_day
from envs.journey import Journey
from envs.machine import CHURNED
from envs.masks import legal_bits
from envs.rng import BEHAVIOR, START_CONSENT, START_STAGE, day_key, uniform
from envs.simulator import Simulator, load_state, store_state
from envs.state import State

CHUNK_DAYS = 25
_CONSENT = State._fields.index("consent")


@compiled
def _place(strides: Any, state: State) -> Any:
    """The state's row; consent is an index of its own."""
    row = state.stage * strides[0] + state.engagement * strides[1] + state.fatigue * strides[2]
    row += state.goodwill * strides[3] + state.inbox * strides[4] + state.offer * strides[6]
    row += state.open_contact * strides[7] + state.caps * strides[8] + state.idle * strides[9]
    return row + state.gap * strides[10] + state.day * strides[11]


@compiled
def _tried(
    m: Any, chance: Any, price: Any, weights: Any, discount: float, strides: Any, before: State,
    key: int, action: int, values: Any, kept: Any, reward: Any, outcome: Any,
) -> tuple[State, float, float]:  # fmt: skip
    """The next state, r + γV̄(x'), and γ(V − V̄)(x')."""
    reward[:] = 0.0
    after, _ = sample_day(m, chance, price, before, action, key, reward, outcome)
    paid = 0.0
    for k in range(len(weights)):
        paid += weights[k] * reward[k]
    if after.stage == m[CHURNED]:
        return after, paid, 0.0
    there = _place(strides, after)
    ahead = kept[after.consent, there]
    return after, paid + discount * ahead, discount * (values[after.consent, there] - ahead)


@compiled
def _visit(
    m: Any, chance: Any, price: Any, weights: Any, discount: float, strides: Any, state: State,
    key: int, explore: float, q: Any, values: Any, visits: Any, kept: Any, mean: Any, epoch_visits: Any,
    reward: Any, outcome: Any,
) -> tuple[State, int]:  # fmt: skip
    """Try every legal action, learn from all of them, go on with one; its next state, days tried."""
    c, x, bits = state.consent, _place(strides, state), legal_bits(m, state)
    visits[c, x] += 1.0
    epoch_visits[c, x] += 1.0
    rate = 1.0 / (1.0 + (1.0 - discount) * visits[c, x])
    legal = 0
    for action in range(q.shape[2]):
        legal += bits >> action & 1
    draw = uniform(key, BEHAVIOR)
    # an exploring customer takes the legal action of this number, whatever it is worth
    number = int(draw / explore * legal) if draw < explore else -1
    best, following, tried = -1e30, state, 0
    for action in range(q.shape[2]):
        if not bits >> action & 1:
            continue
        after, target, change = _tried(
            m, chance, price, weights, discount, strides, state, key, action, values, kept, reward, outcome
        )
        mean[c, x, action] += (target - mean[c, x, action]) / epoch_visits[c, x]
        q[c, x, action] += rate * (mean[c, x, action] + change - q[c, x, action])
        if tried == number or (number < 0 and q[c, x, action] > best):
            following = after
        best = max(best, q[c, x, action])
        tried += 1
    values[c, x] = best
    return following, tried


@compiled
def _live(
    m: Any, chance: Any, price: Any, weights: Any, discount: float, strides: Any, stages: Any,
    consents: Any, seed: int, days_each: int, explore: float, horizon: int, customers: Any, days: Any,
    states: Any, newest: int, q: Any, values: Any, visits: Any, kept: Any, mean: Any, epoch_visits: Any,
) -> tuple[int, int]:  # fmt: skip
    """`days_each` days of every customer, one after the other; days tried, and the newest id."""
    reward, outcome, tried = np.zeros(len(weights)), np.zeros(OUTCOMES, dtype=np.int8), 0
    for _ in range(days_each):
        for i in range(len(customers)):
            key = day_key(seed, customers[i], days[i])
            state, count = _visit(
                m, chance, price, weights, discount, strides, load_state(states[i]), key, explore,
                q, values, visits, kept, mean, epoch_visits, reward, outcome,
            )  # fmt: skip
            tried += count
            days[i] += 1
            if state.stage == m[CHURNED] or days[i] >= horizon:
                newest += 1
                customers[i], days[i] = newest, 0
                first = day_key(seed, newest, -1)
                stage = np.searchsorted(stages, uniform(first, START_STAGE), side="right")
                consent = np.searchsorted(consents, uniform(first, START_CONSENT), side="right")
                state = start_state(m, min(stage, len(stages) - 1), min(consent, len(consents) - 1))
            store_state(state, states[i])
    return tried, newest


class CoupledSampler:
    """Customers who are looked at from all sides, and the tables learned from them."""

    def __init__(
        self, journey: Journey, weights: Any, states: int, customers: int, horizon: int, seed: int
    ) -> None:
        simulator = Simulator(journey, customers, seed)
        patterns = int(journey.rules.sizes[_CONSENT])
        shape = (patterns, states, len(journey.actions))
        self._journey, self._weights, self._seed = journey, np.asarray(weights, dtype=np.float64), seed
        self._horizon = horizon
        self.arrays: dict[str, Any] = {
            "customers": simulator.customers,
            # clocks are staggered: a journey's first cut comes at any age
            "days": np.arange(customers, dtype=np.int64) * horizon // customers,
            "states": simulator.states,
            "q": np.zeros(shape, dtype=np.float64),
            "values": np.zeros(shape[:2], dtype=np.float64),
            "visits": np.zeros(shape[:2], dtype=np.float64),
            "kept": np.zeros(shape[:2], dtype=np.float64),
            "mean": np.zeros(shape, dtype=np.float64),
            "epoch_visits": np.zeros(shape[:2], dtype=np.float64),
        }
        self.newest, self.tried = customers - 1, 0

    def new_epoch(self) -> None:
        """Keep today's values as V̄, and begin its mean anew."""
        self.arrays["kept"][...] = self.arrays["values"]
        self.arrays["mean"][...] = 0.0
        self.arrays["epoch_visits"][...] = 0.0

    def live(self, explore: float) -> int:
        """A chunk of days of every customer; how many states were visited."""
        journey, packed = self._journey, self._journey.packed[0]
        tried, self.newest = _live(
            packed.machine, packed.chance, packed.price, self._weights, journey.scenario.discount,
            np.asarray(journey.rules.strides, dtype=np.int64), np.cumsum(journey.start_stages),
            np.cumsum(journey.start_consents), self._seed, CHUNK_DAYS, explore, self._horizon,
            newest=self.newest, **self.arrays,
        )  # fmt: skip
        self.tried += tried
        return CHUNK_DAYS * len(self.arrays["customers"])
