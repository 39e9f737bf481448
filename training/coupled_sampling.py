"""Days lived and counted: every legal action of a visited state is tried with the same luck.

The simulator's draws belong to a customer's day, not to an action, so all legal actions of a
visited state are sampled on the same draws: what is common to them cancels in their difference.
Only what happened is kept: how often a state was visited, what an action earned there, and which
state followed how often. Nothing of the solver or of expected rewards is read. Two shards of the
customers live side by side, and what they count does not depend on how many threads there are.
C consent patterns, S states, A actions, K transitions.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.advance import start_state
from envs.compiled import compiled, unlocked
from envs.day import OUTCOMES, sample_day
from envs.journey import Journey
from envs.machine import CHURNED
from envs.masks import legal_bits
from envs.rng import BEHAVIOR, START_CONSENT, START_STAGE, day_key, uniform
from envs.simulator import Simulator, load_state, store_state
from envs.state import State

SHARDS = 2
CHUNK_DAYS = 25
CAPACITY = 1 << 20  # of a shard's table of transitions at first; doubled when half full
_CONSENT = State._fields.index("consent")
_SPREAD = -7046029254386353131  # 2^64 / golden ratio: consecutive codes fall far apart


@compiled
def _place(strides: Any, state: State) -> Any:
    """The state's row; consent is an index of its own."""
    row = state.stage * strides[0] + state.engagement * strides[1] + state.fatigue * strides[2]
    row += state.goodwill * strides[3] + state.inbox * strides[4] + state.offer * strides[6]
    row += state.open_contact * strides[7] + state.caps * strides[8] + state.idle * strides[9]
    return row + state.gap * strides[10] + state.day * strides[11]


@compiled
def _slot(codes: Any, code: int) -> Any:
    """Where `code` > 0 stands in the open-addressed table, or should; 0 is empty."""
    mask = len(codes) - 1
    slot = (code * _SPREAD) >> 20 & mask
    while codes[slot] != code and codes[slot] != 0:
        slot = (slot + 1) & mask
    return slot


@compiled
def _newcomer(m: Any, stages: Any, consents: Any, seed: int, customer: int) -> State:
    """The first day of a customer."""
    first = day_key(seed, customer, -1)
    stage = np.searchsorted(stages, uniform(first, START_STAGE), side="right")
    consent = np.searchsorted(consents, uniform(first, START_CONSENT), side="right")
    state: State = start_state(m, min(stage, len(stages) - 1), min(consent, len(consents) - 1))
    return state


@compiled
def _visit(
    m: Any, chance: Any, price: Any, weights: Any, strides: Any, state: State, key: int, explore: float,
    patterns: int, chosen: Any, visits: Any, earned: Any, codes: Any, counts: Any, reward: Any,
    outcome: Any,
) -> tuple[State, int, int]:  # fmt: skip
    """Try every legal action, go on with one; its next state, days tried, transitions never seen before."""
    states, actions = len(visits) // patterns, earned.shape[1]
    x, bits = state.consent * states + _place(strides, state), legal_bits(m, state)
    visits[x] += 1
    legal = 0
    for action in range(actions):
        legal += bits >> action & 1
    draw = uniform(key, BEHAVIOR)
    # an exploring customer takes the legal action of this number, whatever it is worth
    number = int(draw / explore * legal) if draw < explore else -1
    following, tried, found = state, 0, 0
    for action in range(actions):
        if not bits >> action & 1:
            continue
        reward[:] = 0.0
        after, _ = sample_day(m, chance, price, state, action, key, reward, outcome)
        for k in range(len(weights)):
            earned[x, action] += weights[k] * reward[k]
        there = 0  # a churn
        if after.stage != m[CHURNED]:
            there = 1 + after.consent * states + _place(strides, after)
        code = 1 + (x * actions + action) * (len(visits) + 1) + there
        slot = _slot(codes, code)
        found += codes[slot] == 0
        codes[slot] = code
        counts[slot] += 1
        if tried == number or (number < 0 and action == chosen[x]):
            following = after
        tried += 1
    return following, tried, found


@unlocked
def _live(
    m: Any, chance: Any, price: Any, weights: Any, strides: Any, stages: Any, consents: Any, seed: int,
    days_each: int, explore: float, horizon: int, patterns: int, chosen: Any, newest: int, customers: Any,
    days: Any, states: Any, visits: Any, earned: Any, codes: Any, counts: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """`days_each` days of every customer, one after the other; newest id, days tried, transitions found."""
    reward, outcome = np.zeros(len(weights)), np.zeros(OUTCOMES, dtype=np.int8)
    tried, found = 0, 0
    for _ in range(days_each):
        for i in range(len(customers)):
            key = day_key(seed, customers[i], days[i])
            state, more, new = _visit(
                m, chance, price, weights, strides, load_state(states[i]), key, explore, patterns,
                chosen, visits, earned, codes, counts, reward, outcome,
            )  # fmt: skip
            tried += more
            found += new
            days[i] += 1
            if state.stage == m[CHURNED] or days[i] >= horizon:
                newest += SHARDS
                customers[i], days[i] = newest, 0
                state = _newcomer(m, stages, consents, seed, newest)
            store_state(state, states[i])
    return newest, tried, found


@compiled
def _insert(codes: Any, counts: Any, into: Any, total: Any) -> None:
    """Add a table's transitions to another's."""
    for k in range(len(codes)):
        if codes[k] != 0:
            slot = _slot(into, codes[k])
            into[slot] = codes[k]
            total[slot] += counts[k]


@dataclass(frozen=True)
class Counted:
    """What happened; rows are consent · S + state, so there are C·S of them."""

    visits: Any  # (C·S,) int64
    earned: Any  # (C·S, A) objective units, summed over visits
    row: Any  # (K,) int64 where a transition began
    action: Any  # (K,) int64
    following: Any  # (K,) int64 row of the next state, −1 after a churn
    count: Any  # (K,) int64


class _Shard:
    """Its customers, and the tables of what they met."""

    def __init__(self, number: int, simulator: Simulator, horizon: int, shape: tuple[int, int]) -> None:
        mine = slice(number, None, SHARDS)
        everyone = len(simulator.customers)
        self.newest, self.tried, self.found = everyone - SHARDS + number, 0, 0
        self.arrays: dict[str, Any] = {
            "customers": simulator.customers[mine].copy(),
            # clocks are staggered: a journey's first cut comes at any age
            "days": (np.arange(everyone, dtype=np.int64) * horizon // everyone)[mine].copy(),
            "states": simulator.states[mine].copy(),
            "visits": np.zeros(shape[0], dtype=np.int64),
            "earned": np.zeros(shape, dtype=np.float64),
            "codes": np.zeros(CAPACITY, dtype=np.int64),
            "counts": np.zeros(CAPACITY, dtype=np.int64),
        }

    def make_room(self, for_so_many: int) -> None:
        """Keep the table of transitions at most half full, whatever the next chunk finds."""
        codes, counts = self.arrays["codes"], self.arrays["counts"]
        size = len(codes)
        while 2 * (self.found + for_so_many) > size:
            size *= 2
        if size > len(codes):
            self.arrays["codes"], self.arrays["counts"] = np.zeros((2, size), dtype=np.int64)
            _insert(codes, counts, self.arrays["codes"], self.arrays["counts"])


class CoupledSampler:
    """Customers who are looked at from all sides, and the count of what was seen."""

    def __init__(
        self, journey: Journey, weights: Any, states: int, customers: int, horizon: int, seed: int
    ) -> None:
        simulator = Simulator(journey, customers, seed)
        self.patterns = int(journey.rules.sizes[_CONSENT])
        self._shape = self.patterns * states, len(journey.actions)
        self._journey, self._weights, self._seed = journey, np.asarray(weights, dtype=np.float64), seed
        self._horizon = horizon
        self._shards = [_Shard(number, simulator, horizon, self._shape) for number in range(SHARDS)]

    @property
    def tried(self) -> int:
        """Customer-days sampled."""
        return sum(shard.tried for shard in self._shards)

    def live(self, chosen: Any, explore: float) -> int:
        """A chunk of days under actions `chosen` (C·S,), any legal one with chance `explore`; visits made."""
        with ThreadPoolExecutor(SHARDS) as threads:
            list(threads.map(lambda shard: self._live(shard, chosen, explore), self._shards))
        return CHUNK_DAYS * sum(len(shard.arrays["customers"]) for shard in self._shards)

    def _live(self, shard: _Shard, chosen: Any, explore: float) -> None:
        journey, packed = self._journey, self._journey.packed[0]
        shard.make_room(CHUNK_DAYS * len(shard.arrays["customers"]) * self._shape[1])
        shard.newest, tried, found = _live(
            packed.machine, packed.chance, packed.price, self._weights,
            np.asarray(journey.rules.strides, dtype=np.int64), np.cumsum(journey.start_stages),
            np.cumsum(journey.start_consents), self._seed, CHUNK_DAYS, explore, self._horizon,
            self.patterns, chosen, shard.newest, **shard.arrays,
        )  # fmt: skip
        shard.tried += tried
        shard.found += found

    def counted(self) -> Counted:
        """All shards together."""
        kept = [shard.arrays["codes"] != 0 for shard in self._shards]
        codes = np.concatenate([s.arrays["codes"][k] for s, k in zip(self._shards, kept, strict=True)])
        counts = np.concatenate([s.arrays["counts"][k] for s, k in zip(self._shards, kept, strict=True)])
        codes, which = np.unique(codes, return_inverse=True)
        cell, there = np.divmod(codes - 1, self._shape[0] + 1)
        return Counted(
            visits=sum(shard.arrays["visits"] for shard in self._shards),
            earned=sum(shard.arrays["earned"] for shard in self._shards),
            row=cell // self._shape[1],
            action=cell % self._shape[1],
            following=there - 1,
            count=np.bincount(which, counts).astype(np.int64),
        )

    def state(self) -> dict[str, Any]:
        """All that `restore` needs; tables without their empty places."""
        return {"shards": [_packed(shard) for shard in self._shards]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for shard, saved in zip(self._shards, state["shards"], strict=True):
            shard.newest, shard.tried, shard.found = saved["newest"], saved["tried"], 0
            for name in ("customers", "days", "states"):
                shard.arrays[name][...] = saved[name]
            for name in ("visits", "earned"):
                shard.arrays[name][...] = 0
                shard.arrays[name][saved["rows"]] = saved[name]
            shard.make_room(len(saved["codes"]))
            _insert(saved["codes"], saved["counts"], shard.arrays["codes"], shard.arrays["counts"])
            shard.found = len(saved["codes"])


def _packed(shard: _Shard) -> dict[str, Any]:
    arrays, rows = shard.arrays, np.flatnonzero(shard.arrays["visits"])
    full = arrays["codes"] != 0
    return {
        "newest": shard.newest,
        "tried": shard.tried,
        "rows": rows,
        **{name: arrays[name][rows] for name in ("visits", "earned")},
        **{name: arrays[name][full] for name in ("codes", "counts")},
        **{name: arrays[name] for name in ("customers", "days", "states")},
    }
