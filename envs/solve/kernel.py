"""One cluster's exact transition model: every event branch of a day, enumerated and merged.

A day is factored at the close: (state, action) → afterstate (before the inbound draw) →
state. Consent is not part of the kernel: an opt-out is independent of the other events given
state and action, so it is an outer index (the solver's). S living kernel states, A actions,
R reward components; afterstate S is churned, with value 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.compiled import parallel
from envs.day.branches import BRANCHES, BUFFERS, enumerate_day
from envs.day.chances import inbound_chance
from envs.day.day import ask
from envs.day.masks import legal_bits, unpack
from envs.day.outcomes import MODELLED, room
from envs.day.start import start_places
from envs.day.states import decode, encode
from envs.journey.journey import Journey
from envs.journey.observation import write_observation
from envs.journey.packed import CHANCE_INBOUND_CHANNEL, Machine
from envs.journey.size import kernel_states, reachable_consents, refuse_above_limit
from envs.journey.state import COLUMN
from envs.journey.tables import Tables
from envs.scenario.schema import COMPONENTS

ROWS = 256  # states enumerated at a time: what they branch into stays in the cache


@parallel
def _inbound_rows(
    m: Any, chance: Any, price: Any, states: int, channels: Any,
    targets: Any, chances: Any, reward: Any,
) -> None:  # fmt: skip
    """Afterstate → state: column 0 stays, one further column an inbound channel."""
    for y in numba.prange(states):
        state = decode(m, y, 0)
        hazard = inbound_chance(m, chance, state)
        targets[y, 0], chances[y, 0] = y, 1.0 - hazard
        scratch = np.zeros(reward.shape[1])
        for n in range(len(channels)):
            c = channels[n]
            share = chance[m[CHANCE_INBOUND_CHANNEL] + c]
            if c > 0:
                share -= chance[m[CHANCE_INBOUND_CHANNEL] + c - 1]
            scratch[:] = 0.0
            after = ask(m, price, state, c, scratch)
            targets[y, n + 1], chances[y, n + 1] = encode(m, after), hazard * share
            for r in range(len(scratch)):
                reward[y, r] += hazard * share * scratch[r]


@parallel
def _rows(
    m: Any, chance: Any, price: Any, bits: Any, arriving: Any, first: int,
    found: Any, mass: Any, counts: Any, reward: Any,
) -> None:  # fmt: skip
    """The legal actions' afterstates of the states from `first` on, one state a row of `found`."""
    states, actions = counts.shape
    for n in numba.prange(min(len(found), states - first)):
        x = first + n
        before = decode(m, x, 0)
        out, buffers = np.empty(reward.shape[2]), np.empty((BUFFERS, reward.shape[2]))
        listed, end = room(MODELLED), 0
        for a in range(actions):
            if bits[x] >> a & 1 == 0:
                continue
            after, p = found[n][end : end + BRANCHES], mass[n][end : end + BRANCHES]
            out[:] = 0.0
            count = enumerate_day(m, chance, price, before, a, after, p, out, buffers, listed)
            for k in range(count):
                if after[k] < states:
                    for r in range(len(out)):
                        out[r] += p[k] * arriving[after[k], r]
            counts[x, a], reward[x, a] = count, out
            end += count


@parallel
def _kernel_bits(m: Any, full: int, bits: Any) -> None:
    for x in numba.prange(len(bits)):
        bits[x] = legal_bits(m, decode(m, x, full))


@parallel
def _observe(m: Any, source: Any, consent: int, out: Any) -> None:
    for x in numba.prange(len(out)):
        write_observation(source, decode(m, x, consent), out[x])


@dataclass(frozen=True, repr=False)
class Kernel:
    """The exact model of one cluster and persona; arrays are read-only by convention."""

    journey: Journey
    tables: Tables
    states: int  # S
    bits: Ints  # (S,) actions legal under full consent
    indptr: Ints  # (S × A + 1,)
    indices: Ints  # afterstates, S is churned
    data: Floats  # probabilities
    reward: Floats  # (S, A, R) expected components, without the cost of an opt-out
    arrive_to: Ints  # (S, 1 + inbound channels) states after the inbound draw
    arrive_p: Floats  # same shape
    opt_out: Floats  # (S, A) probability that the contact ends in an opt-out
    consents: Ints  # (M,) reachable consent patterns, fewest consents first

    def __repr__(self) -> str:
        name = f"{self.journey.scenario.name}/{self.journey.cluster.name}"
        sizes = f"{len(self.consents)} consent patterns × {self.states:,} states, {self.actions} actions"
        return f"Kernel({name}: {sizes}, {len(self.data):,} transitions)"

    @cached_property
    def actions(self) -> int:
        """A, wait included."""
        return len(self.journey.actions)

    @cached_property
    def opt_out_cost(self) -> Floats:
        """(A,) money of an opt-out on the action's channel, 0 for wait."""
        channel = np.asarray(self.journey.rules.action_channel)
        return np.where(channel >= 0, self.journey.prices.opt_out[channel], 0.0)

    def legal(self, m: int) -> Ints:
        """(S,) legal bits under consent pattern number `m`."""
        return self.bits & self.journey.rules.consent_permits[self.consents[m]]


def build_kernel(journey: Journey, persona: int = 0) -> Kernel:
    """Enumerate the model; refuses with a count per component above `max_states`."""
    refuse_above_limit(journey)
    consents, states = reachable_consents(journey), kernel_states(journey)
    rules, tables, packed = journey.rules, journey.personas[persona], journey.packed[persona]
    actions, components = len(journey.actions), len(COMPONENTS)
    bits = np.zeros(states, dtype=np.int64)
    _kernel_bits(packed.machine, len(rules.consent_permits) - 1, bits)
    share = np.diff(tables.inbound_channel, prepend=0.0)
    channels = np.flatnonzero(share > 0).astype(np.int64)
    arrive_to = np.zeros((states, 1 + len(channels)), dtype=np.int32)
    arrive_p = np.zeros(arrive_to.shape)
    arriving = np.zeros((states, components))
    _inbound_rows(*packed, states, channels, arrive_to, arrive_p, arriving)
    reward = np.zeros((states, actions, components))
    indptr, indices, data = _transitions(packed, bits, arriving, reward)
    fatigue = np.arange(states) // rules.strides[COLUMN.fatigue] % rules.sizes[COLUMN.fatigue]
    return Kernel(
        journey=journey, tables=tables, states=states, bits=bits, indptr=indptr, indices=indices,
        data=data, reward=reward, arrive_to=arrive_to, arrive_p=arrive_p,
        opt_out=tables.opt_out.T[fatigue], consents=consents,
    )  # fmt: skip


def _transitions(packed: Machine, bits: Ints, arriving: Floats, reward: Floats) -> tuple[Ints, Ints, Floats]:
    """CSR rows (S × A) of afterstates and their probabilities; fills `reward` (S, A, R)."""
    states, actions, _ = reward.shape
    counts = np.zeros((states, actions), dtype=np.int64)
    found, mass = np.empty((ROWS, actions * BRANCHES), np.int64), np.empty((ROWS, actions * BRANCHES))
    indices, data = [], []
    for first in range(0, states, ROWS):
        _rows(*packed, bits, arriving, first, found, mass, counts, reward)
        sizes = counts[first : first + ROWS].sum(axis=1)
        filled = np.arange(sizes.max()) < sizes[:, None]
        indices.append(found[: len(sizes), : sizes.max()][filled].astype(np.int32))
        data.append(mass[: len(sizes), : sizes.max()][filled])
    indptr = np.append(0, np.cumsum(counts))
    return indptr, np.concatenate(indices), np.concatenate(data)


def start_distribution(kernel: Kernel) -> Floats:
    """d0 as (M, S)."""
    journey, out = kernel.journey, np.zeros((len(kernel.consents), kernel.states))
    out[:, start_places(journey)] = np.outer(
        journey.start_consents[kernel.consents], journey.start_stages[:-1]
    )
    return out


def state_observations(kernel: Kernel, m: int) -> Floats:
    """(S, F) float32 observations of all living states under consent pattern number `m`."""
    encoding = kernel.journey.encoding
    out = np.zeros((kernel.states, len(encoding.names)), dtype=np.float32)
    _observe(kernel.journey.machine, encoding.source, int(kernel.consents[m]), out)
    return out


def legal_masks(kernel: Kernel, m: int) -> Mask:
    """(S, A) booleans under consent pattern number `m`."""
    return unpack(kernel.legal(m), kernel.actions)
