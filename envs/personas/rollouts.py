"""What policies that believe are worth: paired rollouts, a day's loss instead of its money.

For a policy π on (state, belief), the potential φ(x, b) = Σ_p b_p V_p(x) telescopes (Ng, Harada
and Russell, 1999) and its expectation a day ahead is exact, because Bayes' rule keeps
Σ_o P(o) b'_p(o) = b_p. So

    J(π) = φ(d0, prior) − E Σ_t γ^t Σ_p b_p(t) · [V_p(x_t) − Q_p(x_t, a_t)]

and only the second term is simulated: what each decision loses for not knowing the type. Every
summand is at least 0 and no drawn money enters, which takes most of the noise out. Policies
meet the same customers, hidden types and draws (common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.day.masks import unpack
from envs.journey.state import COLUMN
from envs.personas.models import Hidden
from envs.simulate.simulator import Simulator

Z95 = 1.959964
LEFT = 1e-4  # the weight of the first day that is not simulated


@dataclass(frozen=True)
class Seen:
    """What a policy may look at on one day; N customers."""

    block: Ints  # (N,) consent pattern number
    state: Ints  # (N,) kernel state; 0 for the churned, who are not asked
    belief: Floats  # (N, P)
    observation: Floats  # (N, F) float32
    legal: Mask  # (N, A)


Decide = Callable[[Seen], Ints]  # (N,) actions


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over customers."""

    mean: float
    low: float
    high: float


def interval(samples: Floats) -> Interval:
    """Normal interval of the mean of (N,) samples."""
    mean = float(np.mean(samples))
    half = Z95 * float(np.std(samples, ddof=1)) / math.sqrt(len(samples))
    return Interval(mean, mean - half, mean + half)


def days_to_simulate(discount: float) -> int:
    """Days until `LEFT` of the weight remains."""
    return math.ceil(math.log(LEFT) / math.log(discount))


def rollout_values(
    hidden: Hidden, policies: Mapping[str, Decide], customers: int, seed: int, days: int | None = None
) -> dict[str, Floats]:
    """(N,) value samples a policy, paired by customer; their mean estimates J from d0."""
    days = days or days_to_simulate(hidden.discount)
    return {name: _values(hidden, decide, customers, seed, days) for name, decide in policies.items()}


def _values(hidden: Hidden, decide: Decide, customers: int, seed: int, days: int) -> Floats:
    journey, rules = hidden.journey, hidden.journey.rules
    simulator = Simulator(journey, customers, seed)
    block = np.zeros(int(rules.sizes[COLUMN.consent]), dtype=np.int64)
    block[hidden.kernels[0].consents] = np.arange(len(hidden.kernels[0].consents))
    strides, factor = np.asarray(rules.strides), 1.0
    # φ is taken at d0, not at the drawn start: the same for every policy and every customer
    values = np.full(customers, hidden.from_start(hidden.values))
    for _ in range(days):
        living = np.flatnonzero(simulator.states[:, COLUMN.stage] != rules.churned)
        if not len(living):
            break
        states = simulator.states[living].astype(np.int64)
        seen = Seen(
            block[states[:, COLUMN.consent]], states @ strides, simulator.beliefs[living],
            simulator.observations[living], unpack(simulator.legal[living], len(journey.actions)),
        )  # fmt: skip
        actions = np.zeros(customers, dtype=np.int64)
        actions[living] = decide(seen)
        lost = hidden.regret[:, seen.block, seen.state, actions[living]]  # (P, living)
        values[living] -= factor * np.einsum("np,pn->n", seen.belief, lost)
        simulator.step(actions)
        factor *= hidden.discount
    return values


def qmdp(hidden: Hidden) -> Decide:
    """As if the type were told tomorrow."""
    return ahead(hidden.q)


def mean_ahead(hidden: Hidden) -> Decide:
    """One day ahead on the belief, then the mean model's plan: never worse than that plan."""
    return ahead(hidden.mean_q)


def ahead(q: Floats) -> Decide:
    """The largest belief-weighted action value of `q` (P, M, S, A); ties to the lowest number."""

    def decide(seen: Seen) -> Ints:
        here = np.where(seen.legal, q[:, seen.block, seen.state], 0.0)  # (P, N, A)
        weighed = np.einsum("np,pna->na", seen.belief, here)
        return np.where(seen.legal, weighed, -np.inf).argmax(axis=1)

    return decide


def table(policy: Ints) -> Decide:
    """A policy (M, S) that knows no belief."""
    return lambda seen: policy[seen.block, seen.state]
