"""Thousands of customers a call: the compiled batch simulator.

Every customer has an id and a clock of their own; a draw depends on (seed, customer, day,
event kind) only, so batches of any size and threads of any number give the same journeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.compiled import compiled, inlined, parallel
from envs.day.day import OUTCOMES, play_day, sample_day
from envs.day.likelihood import after_close, after_day
from envs.day.masks import legal_bits
from envs.day.rng import PERSONA, day_key, uniform
from envs.day.start import Shares, newcomer, start_shares
from envs.day.states import _WIDE, load_state, store_state
from envs.journey.journey import Journey
from envs.journey.observation import write_observation
from envs.journey.state import COLUMN, State
from envs.scenario.schema import COMPONENTS

FEW = 16  # below, starting threads costs more than they save


@inlined
def _begin(
    i: int, m: Any, starts: Shares, shares: Any, seed: int, customers: Any, states: Any, persona: Any,
    source: Any, observations: Any, legal: Any,
) -> None:  # fmt: skip
    """The first day of customer `i`."""
    key = day_key(seed, customers[i], -1)
    persona[i] = min(np.searchsorted(shares, uniform(key, PERSONA), side="right"), len(shares) - 1)
    state = newcomer(m, starts, key)
    store_state(state, states[i])
    write_observation(source, state, observations[i])
    legal[i] = legal_bits(m, state)


@compiled
def _start_few(
    m: Any, starts: Shares, shares: Any, seed: int, who: Any,
    customers: Any, states: Any, persona: Any, source: Any, observations: Any, legal: Any,
) -> None:  # fmt: skip
    for n in range(len(who)):
        _begin(who[n], m, starts, shares, seed, customers, states, persona, source, observations, legal)


@parallel
def _start_many(
    m: Any, starts: Shares, shares: Any, seed: int, who: Any,
    customers: Any, states: Any, persona: Any, source: Any, observations: Any, legal: Any,
) -> None:  # fmt: skip
    for n in numba.prange(len(who)):
        _begin(who[n], m, starts, shares, seed, customers, states, persona, source, observations, legal)


@inlined
def _advance(
    i: int, m: Any, chance: Any, price: Any, which: int, seed: int, customers: Any,
    days: Any, persona: Any, actions: Any, states: Any, source: Any, observations: Any,
    legal: Any, rewards: Any, outcomes: Any, values: Any,
) -> int:  # fmt: skip
    """One day of customer `i`; 1 where the action is illegal (nothing happens then)."""
    if persona[i] != which:
        return 0
    action = actions[i]
    if legal[i] >> action & 1 == 0:
        return 1
    rewards[i, :] = 0.0
    key = day_key(seed, customers[i], days[i])
    after, values[i] = sample_day(
        m, chance, price, load_state(states[i]), action, key, rewards[i], outcomes[i]
    )
    days[i] += 1
    store_state(after, states[i])
    write_observation(source, after, observations[i])
    legal[i] = legal_bits(m, after)
    return 0


@compiled
def _step_few(
    m: Any, chance: Any, price: Any, which: int, seed: int, customers: Any,
    days: Any, persona: Any, actions: Any, states: Any, source: Any, observations: Any,
    legal: Any, rewards: Any, outcomes: Any, values: Any,
) -> int:  # fmt: skip
    illegal = 0
    for i in range(len(actions)):
        illegal += _advance(
            i, m, chance, price, which, seed, customers, days, persona, actions, states, source,
            observations, legal, rewards, outcomes, values,
        )  # fmt: skip
    return illegal


@parallel
def _step_many(
    m: Any, chance: Any, price: Any, which: int, seed: int, customers: Any,
    days: Any, persona: Any, actions: Any, states: Any, source: Any, observations: Any,
    legal: Any, rewards: Any, outcomes: Any, values: Any,
) -> int:  # fmt: skip
    illegal = 0
    for i in numba.prange(len(actions)):
        illegal += _advance(
            i, m, chance, price, which, seed, customers, days, persona, actions, states, source,
            observations, legal, rewards, outcomes, values,
        )  # fmt: skip
    return illegal


@inlined
def _update(
    i: int, m: Any, price: Any, chances: Any, before: Any, actions: Any, outcomes: Any, beliefs: Any,
    observations: Any,
) -> None:  # fmt: skip
    """The belief (P,) about customer `i` after a day, and as the last entries of the observation."""
    state, action = load_state(before[i]), _WIDE(actions[i])
    weights, outcome = np.empty(beliefs.shape[1]), outcomes[i].astype(np.int64)
    after_day(m, chances, state, action, outcome, beliefs[i], weights)
    closed = play_day(m, price, state, action, outcome, 0.0, np.zeros(len(COMPONENTS)))
    after_close(m, chances, closed, outcome, beliefs[i], weights)
    observations[i, observations.shape[1] - beliefs.shape[1] :] = beliefs[i]


@compiled
def _believe_few(
    m: Any, price: Any, chances: Any, before: Any, actions: Any, outcomes: Any, beliefs: Any,
    observations: Any,
) -> None:  # fmt: skip
    for i in range(len(beliefs)):
        _update(i, m, price, chances, before, actions, outcomes, beliefs, observations)


@parallel
def _believe_many(
    m: Any, price: Any, chances: Any, before: Any, actions: Any, outcomes: Any, beliefs: Any,
    observations: Any,
) -> None:  # fmt: skip
    for i in numba.prange(len(beliefs)):
        _update(i, m, price, chances, before, actions, outcomes, beliefs, observations)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one day did to N customers; arrays are reused by the next step."""

    rewards: Floats  # (N, R) float32, unweighted components
    churned: Mask  # (N,) bool
    outcomes: Ints  # (N, 7) int8, columns of `envs.day.day`
    values: Floats  # (N,) float32 purchase value


class Simulator:
    """N customers of one cluster, a day a step.

    `states` (N, 12) int16, `observations` (N, F) float32 and `legal` (N,) int64 bits always
    describe the coming decision and are updated in place; so do `beliefs` (N, P), which have no
    column where the cluster has no hidden types.
    """

    def __init__(self, journey: Journey, customers: int, seed: int, first_customer: int = 0) -> None:
        self.journey = journey
        self.seed = seed
        self.customers = np.arange(first_customer, first_customer + customers, dtype=np.int64)
        self.days = np.zeros(customers, dtype=np.int32)
        self.persona = np.zeros(customers, dtype=np.int8)
        self.states = np.zeros((customers, len(State._fields)), dtype=np.int16)
        self.observations = np.zeros((customers, len(journey.encoding.names)), dtype=np.float32)
        self.legal = np.ones(customers, dtype=np.int64)
        self._rewards = np.zeros((customers, len(COMPONENTS)), dtype=np.float32)
        self._outcomes = np.zeros((customers, OUTCOMES), dtype=np.int8)
        self._values = np.zeros(customers, dtype=np.float32)
        self._starts = start_shares(journey)
        self._shares = np.cumsum(journey.shares)
        self._source = journey.encoding.source
        self._chances = np.stack([packed.chance for packed in journey.packed])
        self.beliefs = np.zeros((customers, len(journey.encoding.beliefs)))
        self.reset()

    def reset(self, who: Ints | Sequence[int] | None = None, customers: Ints | None = None) -> None:
        """Start journeys anew: all, or those at positions `who` as new `customers` ids."""
        who = np.arange(len(self.customers)) if who is None else np.asarray(who, dtype=np.int64)
        if customers is not None:
            self.customers[who] = customers
        self.days[who] = 0
        start = _start_few if len(who) < FEW else _start_many
        start(
            self.journey.machine, self._starts, self._shares, self.seed, who, self.customers, self.states,
            self.persona, self._source, self.observations, self.legal,
        )  # fmt: skip
        if self.beliefs.shape[1]:
            self.beliefs[who] = self.journey.shares
            self.observations[who, len(self._source) :] = self.journey.shares

    def step(self, actions: Ints) -> Outcomes:
        """One day under `actions` (N,); raises `ValueError` on an illegal action."""
        actions = np.asarray(actions, dtype=np.int64)
        illegal, before = 0, self.states.copy() if self.beliefs.shape[1] else self.states
        for which, packed in enumerate(self.journey.packed):
            columns = (
                packed.machine, packed.chance, packed.price, which, self.seed, self.customers,
                self.days, self.persona, actions, self.states, self._source, self.observations,
                self.legal, self._rewards, self._outcomes, self._values,
            )  # fmt: skip
            step = _step_few if len(actions) < FEW else _step_many
            illegal += step(*columns)
        if illegal:
            raise ValueError(f"{illegal} illegal actions: choose among the bits of `legal`")
        if self.beliefs.shape[1]:
            believe = _believe_few if len(actions) < FEW else _believe_many
            believe(
                self.journey.machine, self.journey.packed[0].price, self._chances, before, actions,
                self._outcomes, self.beliefs, self.observations,
            )  # fmt: skip
        churned = self.states[:, COLUMN.stage] == self.journey.rules.churned
        return Outcomes(self._rewards, churned, self._outcomes, self._values)
