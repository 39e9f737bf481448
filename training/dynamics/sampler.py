"""Days lived in the simulator and counted: every legal action of a visited state is tried.

The simulator's draws belong to a customer's day, not to an action, so a state visited once shows
what each of its legal actions would have brought that day, at little more than the price of one.
Only what happened is kept. Two shards of the customers live side by side, and what they count does
not depend on how many threads there are. C consent patterns, S states, A actions.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from envs.arrays import Array, Ints
from envs.compiled import compiled, unlocked
from envs.day.day import (
    NONE,
    OUT_INBOUND,
    OUT_OPT_OUT,
    OUT_PURCHASE,
    OUT_REDEMPTION,
    OUT_RESOLUTION,
    OUT_RESPONSE,
    OUT_STAGE,
    OUTCOMES,
    possible,
    sample_day,
)
from envs.day.masks import legal_bits
from envs.day.rng import BEHAVIOR, day_key, uniform
from envs.day.start import Shares, newcomer, start_shares
from envs.day.states import StateRows, load_state, row_of, state_of, store_state
from envs.journey.journey import Journey
from envs.journey.packed import CHANNELS, CHURNED
from envs.journey.state import State
from envs.scenario.schema import COMPONENTS
from envs.simulate.simulator import Simulator
from training.dynamics.counts import Days, variation

SHARDS = 2
CHUNK_DAYS = 25
CAPACITY = 1 << 20  # of a shard's table of transitions at first; doubled when half full
_SPREAD = -7046029254386353131  # 2^64 / golden ratio: consecutive codes fall far apart


@compiled
def _slot(codes: Any, code: int) -> Any:
    """Where `code` > 0 stands in the open-addressed table, or should; 0 is empty."""
    mask = len(codes) - 1
    slot = (code * _SPREAD) >> 20 & mask
    while codes[slot] != code and codes[slot] != 0:
        slot = (slot + 1) & mask
    return slot


@compiled
def _packed(m: Any, outcome: Any) -> Any:
    """An outcome as a number; touchpoints and channels of what was done need not be told."""
    code = 0
    for column in (OUT_RESPONSE, OUT_OPT_OUT, OUT_RESOLUTION, OUT_PURCHASE, OUT_REDEMPTION):
        code = 2 * code + (outcome[column] >= 0)
    code = code * (m[CHURNED] + 2) + outcome[OUT_STAGE] + 1
    return code * (m[CHANNELS] + 1) + outcome[OUT_INBOUND] + 1


@compiled
def _unpack(m: Any, states: int, codes: Any, actions: int, rows: Any, taken: Any, outcomes: Any) -> None:
    """`_packed` the other way: state, action and outcome of every code."""
    span = 32 * (m[CHURNED] + 2) * (m[CHANNELS] + 1)
    for n in range(len(codes)):
        cell, code = codes[n] // span, codes[n] % span
        rows[n], taken[n] = cell // actions, cell % actions
        answers, leaves, settles, held = possible(m, state_of(m, states, rows[n]), taken[n])
        outcomes[n, OUT_INBOUND] = code % (m[CHANNELS] + 1) - 1
        code //= m[CHANNELS] + 1
        outcomes[n, OUT_STAGE] = code % (m[CHURNED] + 2) - 1
        code //= m[CHURNED] + 2
        outcomes[n, OUT_REDEMPTION] = held if code & 1 else NONE
        outcomes[n, OUT_PURCHASE] = 1 if code >> 1 & 1 else NONE
        outcomes[n, OUT_RESOLUTION] = settles if code >> 2 & 1 else NONE
        outcomes[n, OUT_OPT_OUT] = leaves if code >> 3 & 1 else NONE
        outcomes[n, OUT_RESPONSE] = answers if code >> 4 & 1 else NONE


@compiled
def _visit(
    m: Any, chance: Any, price: Any, state: State, key: int, explore: float, states: int, actions: int,
    chosen: Any, codes: Any, counts: Any, values: Any, worth: Any, reward: Any, outcome: Any,
) -> tuple[State, int, int]:  # fmt: skip
    """Try every legal action, go on with one; its next state, days tried, outcomes never seen before."""
    x, bits = row_of(m, states, state), legal_bits(m, state)
    span = 32 * (m[CHURNED] + 2) * (m[CHANNELS] + 1)
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
        after, value = sample_day(m, chance, price, state, action, key, reward, outcome)
        code = 1 + (x * actions + action) * span + _packed(m, outcome)
        slot = _slot(codes, code)
        found += codes[slot] == 0
        codes[slot] = code
        counts[slot] += 1
        if outcome[OUT_PURCHASE] >= 0:
            values[slot] += value
            worth[0] += 1.0
            worth[1] += value
            worth[2] += value * value
        if tried == number or (number < 0 and action == chosen[x]):
            following = after
        tried += 1
    return following, tried, found


@unlocked
def _live(
    m: Any, chance: Any, price: Any, components: int, starts: Shares, seed: int,
    days_each: int, explore: float, horizon: int, spaces: int, actions: int, chosen: Any, newest: int,
    customers: Any, days: Any, states: Any, codes: Any, counts: Any, values: Any, worth: Any, begun: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """`days_each` days of every customer, one after the other; newest id, days tried, outcomes found."""
    reward, outcome = np.zeros(components), np.zeros(OUTCOMES, dtype=np.int8)
    tried, found = 0, 0
    for _ in range(days_each):
        for i in range(len(customers)):
            key = day_key(seed, customers[i], days[i])
            state, more, new = _visit(
                m, chance, price, load_state(states[i]), key, explore, spaces, actions, chosen, codes,
                counts, values, worth, reward, outcome,
            )  # fmt: skip
            tried += more
            found += new
            days[i] += 1
            if state.stage == m[CHURNED] or days[i] >= horizon:
                newest += SHARDS
                customers[i], days[i] = newest, 0
                state = newcomer(m, starts, day_key(seed, newest, -1))
                begun[row_of(m, spaces, state)] += 1
            store_state(state, states[i])
    return newest, tried, found


@compiled
def _insert(codes: Any, counts: Any, values: Any, into: Any, total: Any, worth: Any) -> None:
    """Add a table's outcomes to another's."""
    for k in range(len(codes)):
        if codes[k] != 0:
            slot = _slot(into, codes[k])
            into[slot] = codes[k]
            total[slot] += counts[k]
            worth[slot] += values[k]


class _Shard:
    """Its customers, and the table of what they met."""

    def __init__(self, number: int, simulator: Simulator, horizon: int, rows: int) -> None:
        mine = slice(number, None, SHARDS)
        everyone = len(simulator.customers)
        self.newest, self.tried, self.found = everyone - SHARDS + number, 0, 0
        self.arrays: dict[str, Array] = {
            "customers": simulator.customers[mine].copy(),
            # clocks are staggered: a journey's first cut comes at any age
            "days": (np.arange(everyone, dtype=np.int64) * horizon // everyone)[mine].copy(),
            "states": simulator.states[mine].copy(),
            "worth": np.zeros(3),  # of purchases: how many, their sum, their squares
            "begun": np.zeros(rows, dtype=np.int64),
            **_table(CAPACITY),
        }

    def make_room(self, for_so_many: int) -> None:
        """Keep the table at most half full, whatever the next chunk finds."""
        size = len(self.arrays["codes"])
        while 2 * (self.found + for_so_many) > size:
            size *= 2
        if size > len(self.arrays["codes"]):
            old = [self.arrays[name] for name in TABLE]
            self.arrays |= _table(size)
            _insert(*old, *(self.arrays[name] for name in TABLE))

    def full(self) -> dict[str, Array]:
        """The table without its empty places."""
        kept = self.arrays["codes"] != 0
        return {name: self.arrays[name][kept] for name in TABLE}


TABLE = ("codes", "counts", "values")


def _table(size: int) -> dict[str, Array]:
    integers = {name: np.zeros(size, dtype=np.int64) for name in ("codes", "counts")}
    return {**integers, "values": np.zeros(size)}


class DaySampler:
    """Customers who are looked at from all sides, and the count of what was seen."""

    def __init__(self, journey: Journey, customers: int, horizon: int, seed: int) -> None:
        simulator = Simulator(journey, customers, seed)
        self.space = StateRows(journey)
        self.rows = self.space.patterns * self.space.states
        self._journey, self._horizon, self._seed = journey, horizon, seed
        self._shards = [_Shard(number, simulator, horizon, self.rows) for number in range(SHARDS)]
        first, often = np.unique(self.space.of(simulator.states), return_counts=True)
        self._shards[0].arrays["begun"][first] += often

    @property
    def tried(self) -> int:
        """Customer-days sampled."""
        return sum(shard.tried for shard in self._shards)

    def live(self, chosen: Ints, explore: float) -> None:
        """A chunk of days under actions `chosen` (C·S,), any legal one with chance `explore`."""
        with ThreadPoolExecutor(SHARDS) as threads:
            list(threads.map(lambda shard: self._live(shard, chosen, explore), self._shards))

    def _live(self, shard: _Shard, chosen: Ints, explore: float) -> None:
        journey, packed = self._journey, self._journey.packed[0]
        actions = len(journey.actions)
        shard.make_room(CHUNK_DAYS * len(shard.arrays["customers"]) * actions)
        shard.newest, tried, found = _live(
            packed.machine, packed.chance, packed.price, len(COMPONENTS), start_shares(journey), self._seed,
            CHUNK_DAYS, explore, self._horizon, self.space.states, actions, chosen, shard.newest,
            **shard.arrays,
        )  # fmt: skip
        shard.tried += tried
        shard.found += found

    def days(self) -> Days:
        """All that was lived so far."""
        tables = [shard.full() for shard in self._shards]
        codes, which = np.unique(np.concatenate([t["codes"] for t in tables]), return_inverse=True)
        rows, taken = np.empty((2, len(codes)), dtype=np.int64)
        outcomes = np.empty((len(codes), OUTCOMES), dtype=np.int8)
        machine, actions = self._journey.machine, len(self._journey.actions)
        _unpack(machine, self.space.states, codes - 1, actions, rows, taken, outcomes)
        worth = np.sum([shard.arrays["worth"] for shard in self._shards], axis=0)
        begun = np.sum([shard.arrays["begun"] for shard in self._shards], axis=0)
        starts = np.flatnonzero(begun)
        return Days(
            row=rows, action=taken, outcome=outcomes,
            count=np.asarray(np.bincount(which, np.concatenate([t["counts"] for t in tables])), np.float64),
            value=np.asarray(np.bincount(which, np.concatenate([t["values"] for t in tables])), np.float64),
            variation=variation(*worth), starts=starts, started=begun[starts].astype(np.float64),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """All that `restore` needs; tables without their empty places."""
        return {
            "shards": [
                {"newest": shard.newest, "tried": shard.tried, **shard.full()}
                | {name: shard.arrays[name] for name in KEPT}
                for shard in self._shards
            ]
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for shard, saved in zip(self._shards, state["shards"], strict=True):
            shard.newest, shard.tried, shard.found = saved["newest"], saved["tried"], 0
            for name in KEPT:
                shard.arrays[name][...] = saved[name]
            shard.make_room(len(saved["codes"]))
            _insert(*(saved[name] for name in TABLE), *(shard.arrays[name] for name in TABLE))
            shard.found = len(saved["codes"])


KEPT = ("customers", "days", "states", "worth", "begun")
