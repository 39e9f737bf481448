"""Rates as a benchmark report would count them: what simulated customers did, by channel.

Runs a policy in the simulator and counts contacts, responses, opt-outs, orders and what
became of requests; compares the rates with the bands that a scenario cites. Leaves out the
exact occupancy (`solve/evaluation.py`): a published rate is a count, so it is counted here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from envs.arrays import Floats, Ints
from envs.day.day import OUT_OPT_OUT, OUT_PURCHASE, OUT_RESOLUTION, OUT_RESPONSE
from envs.errors import ScenarioError
from envs.files.document import did_you_mean
from envs.journey.journey import compile_journey
from envs.journey.state import COLUMN
from envs.scenario.schema import Scenario
from envs.simulate.simulator import Simulator
from envs.solve.baselines import business_rules, service_only
from envs.solve.kernel import Kernel, build_kernel

BY_CHANNEL = ("response", "opt_out", "order")
"""Marginals a marketing contact: `email_response` is what a report calls the click rate."""
FIRST_CONTACT = "first_contact_resolution"
CUSTOMERS = 20_000  # of the whole mix of clusters: a rate of 1 % is then known to ± 0.1 %
DAYS = 180


@dataclass(frozen=True)
class Counts:
    """What happened to simulated customers; C channels."""

    contacts: Floats  # (C,) marketing contacts
    responses: Floats  # (C,) to the contact that was open
    opt_outs: Floats  # (C,) on a marketing contact
    orders: Floats  # (C,) purchases on the day of the contact
    first_replies: float  # requests answered for the first time
    first_resolved: float  # of those, settled by that reply
    ended: float  # requests resolved, expired, or left behind by churn
    unanswered: float  # of those, without any reply

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def share_unanswered(self) -> float | None:
        """Requests that ended without a reply; None where there were none."""
        return self.unanswered / self.ended if self.ended else None


@dataclass(frozen=True)
class Marginal:
    """One simulated rate with its 95 % interval, and the band a scenario cites for it."""

    name: str
    value: float | None  # None: it never had an occasion
    error: float  # half width of the interval
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Within the cited band."""
        return self.value is not None and self.low <= self.value <= self.high


def count_events(kernel: Kernel, policy: Ints, customers: int, days: int, seed: int) -> Counts:
    """Simulate a policy (actions (M, S)) from d0 and count what happens."""
    journey = kernel.journey
    rules, channels = journey.rules, len(journey.scenario.channels)
    channel_of, touchpoint_of = np.asarray(rules.action_channel), np.asarray(rules.action_touchpoint)
    service = np.where(touchpoint_of >= 0, np.asarray(rules.is_service)[touchpoint_of], 0) == 1
    simulator = Simulator(journey, customers, seed)
    replied = np.zeros(customers, dtype=bool)
    tally = np.zeros((4, channels))
    first = resolved = ended = unanswered = 0
    for _ in range(days):
        before = simulator.states.astype(np.int64)
        alive = before[:, 0] != rules.churned
        actions = chosen_actions(kernel, policy, before)
        outcomes = simulator.step(actions).outcomes
        contacted = np.where(alive & ~service[actions], channel_of[actions], -1)
        opened = channel_of[np.asarray(rules.open_action)[before[:, COLUMN.open_contact]]]
        opened = np.where(before[:, COLUMN.open_contact] > 0, opened, -1)
        answered = np.where(outcomes[:, OUT_RESPONSE] >= 0, np.where(contacted >= 0, contacted, opened), -1)
        left = np.where(outcomes[:, OUT_OPT_OUT] >= 0, contacted, -1)
        ordered = np.where(outcomes[:, OUT_PURCHASE] >= 0, contacted, -1)
        for row, hits in enumerate((contacted, answered, left, ordered)):
            tally[row] += np.bincount(hits[hits >= 0], minlength=channels)
        request = alive & (before[:, COLUMN.inbox] > 0)
        reply, settled = request & service[actions], outcomes[:, OUT_RESOLUTION] >= 0
        first += int((reply & ~replied).sum())
        resolved += int((reply & ~replied & settled).sum())
        replied |= reply
        gone = (simulator.states[:, COLUMN.stage] == rules.churned) | (
            np.asarray(rules.inbox_close)[before[:, COLUMN.inbox]] == 0
        )
        over = request & (settled | gone)
        ended += int(over.sum())
        unanswered += int((over & ~replied).sum())
        replied[over] = False
    return Counts(tally[0], tally[1], tally[2], tally[3], first, resolved, ended, unanswered)


def chosen_actions(kernel: Kernel, policy: Ints, states: Ints) -> Ints:
    """(N,) actions of a policy (M, S) in states (N, 12); wait once churned."""
    rules = kernel.journey.rules
    block = np.full(int(rules.sizes[COLUMN.consent]), -1, dtype=np.int64)
    block[kernel.consents] = np.arange(len(kernel.consents))
    alive = states[:, COLUMN.stage] != rules.churned
    living = states[alive]
    actions = np.zeros(len(states), dtype=np.int64)
    actions[alive] = policy[block[living[:, COLUMN.consent]], living @ np.asarray(rules.strides)]
    return actions


def marginals(scenario: Scenario, seed: int = 0) -> tuple[Marginal, ...]:
    """Every rate in `scenario.bands`, over the mix of clusters under the business rules."""
    for name in scenario.bands:
        _occasions(scenario, name)
    if not scenario.bands:
        return ()
    counts: Counts | None = None
    for cluster in scenario.clusters:
        kernel = build_kernel(compile_journey(scenario, cluster.name))
        policy = business_rules(kernel, service_only(kernel))
        size = max(1, round(cluster.share * CUSTOMERS))
        found = count_events(kernel, policy, size, DAYS, seed)
        counts = found if counts is None else counts + found
    assert counts is not None, "a scenario has at least one cluster"  # noqa: S101
    return tuple(_marginal(scenario, counts, name) for name in scenario.bands)


def _occasions(scenario: Scenario, name: str) -> tuple[int, str]:
    """Channel number and rate of a band's name, (-1, name) for rates without a channel."""
    if name == FIRST_CONTACT:
        return -1, name
    for number, channel in enumerate(scenario.channels):
        for rate in BY_CHANNEL:
            if name == f"{channel.name}_{rate}":
                return number, rate
    known = [f"{c.name}_{rate}" for c in scenario.channels for rate in BY_CHANNEL] + [FIRST_CONTACT]
    raise ScenarioError("unknown marginal", where=f"bands.{name}", got=name, hint=did_you_mean(name, known))


def _marginal(scenario: Scenario, counts: Counts, name: str) -> Marginal:
    channel, rate = _occasions(scenario, name)
    if channel < 0:
        hits, occasions = counts.first_resolved, counts.first_replies
    else:
        column = {"response": counts.responses, "opt_out": counts.opt_outs, "order": counts.orders}[rate]
        hits, occasions = float(column[channel]), float(counts.contacts[channel])
    low, high = scenario.bands[name]
    if not occasions:
        return Marginal(name, None, 0.0, low, high)
    value = hits / occasions
    return Marginal(name, value, 1.96 * math.sqrt(value * (1.0 - value) / occasions), low, high)
