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

from envs.advance import (
    CONTACT,
    INBOUND,
    PURCHASE,
    REDEMPTION,
    RESOLUTION,
    RESPONSE,
    STAGE,
    apply,
    close_day,
)
from envs.compiled import compiled, parallel
from envs.day import move_thresholds
from envs.journey import Journey
from envs.masks import legal_bits, unpack
from envs.model import Tables, response_index, response_row
from envs.observation import write_observation
from envs.rewards import CLOSE, Prices, add_reward
from envs.rules import Rules
from envs.scenario import COMPONENTS
from envs.state import State
from envs.state_count import kernel_states, reachable_consents, refuse_above_limit

BRANCHES = 96  # distinct afterstates of one (state, action) never reach this
NONE = -1


@compiled
def decode(rules: Rules, index: int, consent: int) -> State:
    """Kernel index and consent bits → state."""
    s, n = rules.strides, rules.sizes
    return State(
        index // s[0] % n[0], index // s[1] % n[1], index // s[2] % n[2], index // s[3] % n[3],
        index // s[4] % n[4], consent, index // s[6] % n[6], index // s[7] % n[7],
        index // s[8] % n[8], index // s[9] % n[9], index // s[10] % n[10], index // s[11] % n[11],
    )  # fmt: skip


@compiled
def encode(rules: Rules, state: State) -> int:
    """State → kernel index; the churned stage gives S."""
    s = rules.strides
    if state.stage == rules.churned:
        return s[0] * rules.sizes[0]
    return (
        state.stage * s[0] + state.engagement * s[1] + state.fatigue * s[2] + state.goodwill * s[3]
        + state.inbox * s[4] + state.offer * s[6] + state.open_contact * s[7] + state.caps * s[8]
        + state.idle * s[9] + state.gap * s[10] + state.day * s[11]
    )  # fmt: skip


@compiled
def _emit(index: int, p: float, found: Any, mass: Any, count: int) -> int:
    """Add probability to an afterstate of the current row; returns the number found."""
    for n in range(count):
        if found[n] == index:
            mass[n] += p
            return count
    found[count], mass[count] = index, p
    return count + 1


@compiled
def _close(
    rules: Rules, prices: Prices, state: State, p: float, scratch: Any, out: Any,
    found: Any, mass: Any, count: int,
) -> int:  # fmt: skip
    """End the day of one branch: its rewards so far are in `scratch`."""
    after = close_day(rules, state)
    add_reward(rules, prices, state, after, CLOSE, NONE, NONE, 0.0, scratch)
    for r in range(len(out)):
        out[r] += p * scratch[r]
    return _emit(encode(rules, after), p, found, mass, count)


@compiled
def _moves(
    rules: Rules, tables: Tables, prices: Prices, before: State, state: State, p: float,
    responded: int, k: int, moved: bool, scratch: Any, branch: Any, out: Any,
    found: Any, mass: Any, count: int,
) -> int:  # fmt: skip
    """The competing stage moves of one branch, then the close."""
    if moved:
        branch[:] = scratch
        return _close(rules, prices, state, p, branch, out, found, mass, count)
    churn, advance, lapse = move_thresholds(rules, tables, before, responded, k)
    shares = (churn, advance - churn, lapse - advance, 1.0 - lapse)
    targets = (rules.churned, tables.advance_to[before.stage], tables.lapse_to[before.stage], NONE)
    for way in range(4):
        if shares[way] <= 0.0:
            continue
        branch[:] = scratch
        after = state
        if way < 3:
            after = apply(rules, state, STAGE, NONE, NONE, targets[way])
            add_reward(rules, prices, state, after, STAGE, NONE, NONE, 0.0, branch)
        count = _close(rules, prices, after, p * shares[way], branch, out, found, mass, count)
    return count


@compiled
def enumerate_day(
    rules: Rules, tables: Tables, prices: Prices, before: State, action: int,
    found: Any, mass: Any, out: Any, buffers: Any,
) -> int:  # fmt: skip
    """All afterstates of (state, action): fills `found`, `mass` and the expected `out` (R,)."""
    contact, answered, bought, redeemed, branch = (
        buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
    )  # fmt: skip
    count = 0
    contact[:] = 0.0
    touched, channel = before, NONE
    resolution = 0.0
    if action > 0:
        touchpoint, channel = rules.action_touchpoint[action], rules.action_channel[action]
        touched = apply(rules, before, CONTACT, touchpoint, channel, NONE)
        add_reward(rules, prices, before, touched, CONTACT, touchpoint, channel, 0.0, contact)
        if rules.is_service[touchpoint] == 1 and before.inbox > 0:
            resolution = tables.resolution[action][rules.inbox_channel[before.inbox]]
    offer = rules.offer_kind[touched.offer]
    held = rules.offer_touchpoint[touched.offer]
    j, k = response_index(
        tables, before.stage, before.engagement, offer, before.fatigue, before.goodwill
    )
    row = response_row(rules, tables, before, action)
    hazard = tables.response[row][j] if row >= 0 else 0.0
    value = tables.value[before.stage * tables.offers + offer]
    moves = rules.purchase_to[before.stage] >= 0
    for response in range(2):
        p_response = hazard if response == 1 else 1.0 - hazard
        if p_response <= 0.0:
            continue
        responded, heard = NONE, touched
        if response == 1:
            responded = rules.action_touchpoint[row // tables.window]
            heard = apply(rules, touched, RESPONSE, responded, NONE, NONE)
        purchase = tables.purchase[responded + 1][k]
        for resolved in range(2):
            p_answer = p_response * (resolution if resolved == 1 else 1.0 - resolution)
            if p_answer <= 0.0:
                continue
            answered[:] = contact
            served = heard
            if resolved == 1:
                served = apply(rules, heard, RESOLUTION, NONE, channel, NONE)
                add_reward(rules, prices, heard, served, RESOLUTION, NONE, channel, 0.0, answered)
            if purchase < 1.0:
                count = _moves(
                    rules, tables, prices, before, served, p_answer * (1.0 - purchase), responded,
                    k, False, answered, branch, out, found, mass, count,
                )  # fmt: skip
            if purchase <= 0.0:
                continue
            bought[:] = answered
            after = apply(rules, served, PURCHASE, NONE, NONE, NONE)
            add_reward(rules, prices, served, after, PURCHASE, NONE, NONE, value, bought)
            redemption = tables.redemption[offer] if held >= 0 else 0.0
            if redemption < 1.0:
                count = _moves(
                    rules, tables, prices, before, after, p_answer * purchase * (1.0 - redemption),
                    responded, k, moves, bought, branch, out, found, mass, count,
                )  # fmt: skip
            if redemption > 0.0:
                redeemed[:] = bought
                final = apply(rules, after, REDEMPTION, held, NONE, NONE)
                add_reward(rules, prices, after, final, REDEMPTION, held, NONE, 0.0, redeemed)
                count = _moves(
                    rules, tables, prices, before, final, p_answer * purchase * redemption,
                    responded, k, moves, redeemed, branch, out, found, mass, count,
                )  # fmt: skip
    return count


@parallel
def _inbound_rows(
    rules: Rules, tables: Tables, prices: Prices, states: int, channels: Any,
    targets: Any, chances: Any, reward: Any,
) -> None:  # fmt: skip
    """Afterstate → state: column 0 stays, one further column an inbound channel."""
    for y in numba.prange(states):
        state = decode(rules, y, 0)
        waiting = 1 if state.inbox > 0 else 0
        hazard = tables.inbound[waiting][state.stage * tables.goodwills + state.goodwill]
        targets[y, 0], chances[y, 0] = y, 1.0 - hazard
        scratch = np.zeros(reward.shape[1])
        for n in range(len(channels)):
            c = channels[n]
            share = tables.inbound_channel[c] - (tables.inbound_channel[c - 1] if c > 0 else 0.0)
            after = apply(rules, state, INBOUND, NONE, c, NONE)
            targets[y, n + 1], chances[y, n + 1] = encode(rules, after), hazard * share
            scratch[:] = 0.0
            add_reward(rules, prices, state, after, INBOUND, NONE, c, 0.0, scratch)
            for r in range(len(scratch)):
                reward[y, r] += hazard * share * scratch[r]


@parallel
def _rows(
    rules: Rules, tables: Tables, prices: Prices, bits: Any, arriving: Any, fill: bool,
    counts: Any, indptr: Any, indices: Any, data: Any, reward: Any,
) -> None:  # fmt: skip
    """Count (fill=False) or write (fill=True) the afterstates of every legal (state, action)."""
    actions = counts.shape[1]
    for x in numba.prange(counts.shape[0]):
        before = decode(rules, x, 0)
        found, mass = np.empty(BRANCHES, np.int64), np.empty(BRANCHES)
        out, buffers = np.empty(reward.shape[2]), np.empty((5, reward.shape[2]))
        for a in range(actions):
            if bits[x] >> a & 1 == 0:
                continue
            out[:] = 0.0
            count = enumerate_day(rules, tables, prices, before, a, found, mass, out, buffers)
            counts[x, a] = count
            if fill:
                start = indptr[x * actions + a]
                for n in range(count):
                    indices[start + n], data[start + n] = found[n], mass[n]
                    if found[n] < counts.shape[0]:
                        for r in range(len(out)):
                            out[r] += mass[n] * arriving[found[n], r]
                reward[x, a] = out


@parallel
def _kernel_bits(rules: Rules, bits: Any) -> None:
    full = len(rules.consent_permits) - 1
    for x in numba.prange(len(bits)):
        bits[x] = legal_bits(rules, decode(rules, x, full))


@parallel
def _observe(rules: Rules, source: Any, consent: int, out: Any) -> None:
    for x in numba.prange(len(out)):
        write_observation(source, decode(rules, x, consent), out[x])


@dataclass(frozen=True)
class Kernel:
    """The exact model of one cluster and persona; arrays are read-only by convention."""

    journey: Journey
    tables: Tables
    states: int  # S
    bits: Any  # (S,) actions legal under full consent
    indptr: Any  # (S × A + 1,)
    indices: Any  # afterstates, S is churned
    data: Any  # probabilities
    reward: Any  # (S, A, R) expected components, without the cost of an opt-out
    arrive_to: Any  # (S, 1 + inbound channels) states after the inbound draw
    arrive_p: Any  # same shape
    opt_out: Any  # (S, A) probability that the contact ends in an opt-out
    consents: Any  # (M,) reachable consent patterns, fewest consents first

    @cached_property
    def actions(self) -> int:
        """A, wait included."""
        return len(self.journey.actions)

    @cached_property
    def opt_out_cost(self) -> Any:
        """(A,) money of an opt-out on the action's channel, 0 for wait."""
        channel = np.asarray(self.journey.rules.action_channel)
        return np.where(channel >= 0, self.journey.prices.opt_out[channel], 0.0)

    def legal(self, m: int) -> Any:
        """(S,) legal bits under consent pattern number `m`."""
        return self.bits & self.journey.rules.consent_permits[self.consents[m]]


def build_kernel(journey: Journey, persona: int = 0) -> Kernel:
    """Enumerate the model; refuses with a count per component above `max_states`."""
    refuse_above_limit(journey)
    consents, states = reachable_consents(journey), kernel_states(journey)
    rules, tables, prices = journey.rules, journey.personas[persona], journey.prices
    actions, components = len(journey.actions), len(COMPONENTS)
    bits = np.zeros(states, dtype=np.int64)
    _kernel_bits(rules, bits)
    share = np.diff(tables.inbound_channel, prepend=0.0)
    channels = np.flatnonzero(share > 0).astype(np.int64)
    arrive_to = np.zeros((states, 1 + len(channels)), dtype=np.int32)
    arrive_p = np.zeros(arrive_to.shape)
    arriving = np.zeros((states, components))
    _inbound_rows(rules, tables, prices, states, channels, arrive_to, arrive_p, arriving)
    counts = np.zeros((states, actions), dtype=np.int32)
    empty_indices, empty_data = np.zeros(0, np.int32), np.zeros(0)
    reward = np.zeros((states, actions, components))
    indptr = np.zeros(states * actions + 1, dtype=np.int64)
    _rows(
        rules, tables, prices, bits, arriving, False, counts, indptr, empty_indices, empty_data, reward
    )
    np.cumsum(counts.reshape(-1), out=indptr[1:])
    indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1])
    _rows(rules, tables, prices, bits, arriving, True, counts, indptr, indices, data, reward)
    fatigue = np.arange(states) // rules.strides[2] % rules.sizes[2]
    return Kernel(
        journey=journey, tables=tables, states=states, bits=bits, indptr=indptr, indices=indices,
        data=data, reward=reward, arrive_to=arrive_to, arrive_p=arrive_p,
        opt_out=tables.opt_out.T[fatigue], consents=consents,
    )  # fmt: skip


def start_distribution(kernel: Kernel) -> Any:
    """d0 as (M, S)."""
    journey, rules = kernel.journey, kernel.journey.rules
    out = np.zeros((len(kernel.consents), kernel.states))
    neutral = rules.goodwill_neutral * rules.strides[3] + rules.gap_days * rules.strides[10]
    stage_start = np.arange(rules.sizes[0]) * rules.strides[0] + neutral
    mix = np.outer(journey.start_consents[kernel.consents], journey.start_stages[:-1])
    out[:, stage_start] = mix
    return out


def state_observations(kernel: Kernel, m: int) -> Any:
    """(S, F) float32 observations of all living states under consent pattern number `m`."""
    encoding = kernel.journey.encoding
    out = np.zeros((kernel.states, len(encoding.names)), dtype=np.float32)
    _observe(kernel.journey.rules, encoding.source, int(kernel.consents[m]), out)
    return out


def legal_masks(kernel: Kernel, m: int) -> Any:
    """(S, A) booleans under consent pattern number `m`."""
    return unpack(kernel.legal(m), kernel.actions)
