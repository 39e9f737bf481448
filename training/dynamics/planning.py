"""Planning with learned days: policy iteration over the states that a policy comes to.

Begins with the states that were met and adds those to which policies lead, until next to nothing
flows elsewhere; a state not (yet) known counts as the one it was left from. No part of the solver:
values come from a linear system over the known states, next steps from a masked maximum. N known
states, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import bicgstab, spsolve

from envs.arrays import Floats, Ints, Mask
from envs.day.states import StateRows
from training.dynamics.branches import Branches, branches, joined
from training.dynamics.model import DayModel

SLIGHT = 1e-7  # share of all visits below which a state need not be known
WANDERING = 0.2  # of decisions, any legal action: what other actions lead to must be known too
ROUNDS = 25  # of adding states
IMPROVEMENTS = 40  # of a policy, at most
TOLERANCE, STEPS, RESTARTS = 1e-9, 2000, 10  # of the linear solver
BETTER = 1e-9  # of the largest value: a smaller gain changes no action

Charge = Callable[[Floats, Mask, Floats], Floats]  # of observations, legal actions and rewards: costs (N, A)


@dataclass(frozen=True)
class Plan:
    """The best policy found on the known states."""

    rows: Ints  # (N,) as in `envs.day.states`
    observations: Floats  # (N, F)
    legal: Mask  # (N, A)
    q: Floats  # (N, A) its values, −inf where illegal
    actions: Ints  # (N,) int64
    visits: Floats  # (N,) discounted, of the policy with some wandering


@dataclass(frozen=True)
class _Known:
    """States whose days are enumerated."""

    rows: Ints
    observations: Floats
    legal: Mask
    days: Branches


class Planner:
    """Grows and improves. `starts`: rows where journeys begin, and how often.

    `charge`: of observations, legal actions and rewards, what actions (N, A) cost beside.
    """

    def __init__(
        self, space: StateRows, model: DayModel, weights: Floats, discount: float,
        starts: tuple[Ints, Floats], charge: Charge | None = None,
    ) -> None:  # fmt: skip
        self._space, self._model, self._weights, self._discount = space, model, weights, discount
        self._starts, self._charge = starts, charge

    def plan(self, rows: Ints, between: Callable[[], None] = lambda: None) -> Plan:
        """The best policy on all states that matter, from the states `rows` (N,) on.

        `between` is called whenever states were added.
        """
        actions: Ints = np.zeros(0, dtype=np.int64)
        values: Floats = np.zeros(0)
        known: list[_Known] = []
        more = rows
        for _ in range(ROUNDS):
            known.append(self._days(more))
            rows = np.concatenate([some.rows for some in known])
            observations = np.concatenate([some.observations for some in known])
            legal = np.concatenate([some.legal for some in known])
            days = joined([some.days for some in known])
            actions = np.append(actions, np.zeros(len(more), dtype=np.int64))  # waits, where not yet known
            values = np.append(values, np.zeros(len(more)))
            chain = _closed(days, rows)
            q, actions, values = self._improve(days.rewards, chain, legal, actions, values)
            visits, more = self._flow(days, rows, chain, legal, actions)
            between()
            if not len(more):
                break
        return Plan(rows, observations, legal, q, actions, visits)

    def _days(self, rows: Ints) -> _Known:
        observations, legal = self._space.describe(rows)
        days = branches(self._space, self._model, self._weights, rows, observations, legal)
        if self._charge is not None:
            days = replace(days, rewards=days.rewards - self._charge(observations, legal, days.rewards))
        return _Known(rows, observations, legal, days)

    def _improve(
        self, rewards: Floats, chain: sparse.csr_matrix, legal: Mask, actions: Ints, values: Floats
    ) -> tuple[Floats, Ints, Floats]:
        """Howard's policy iteration; an action changes only for a real gain."""
        states = np.arange(len(actions))
        for _ in range(IMPROVEMENTS):
            chosen = chain[states * legal.shape[1] + actions]
            system = sparse.identity(len(states), format="csr") - self._discount * chosen
            values = _solved(system, rewards[states, actions], values)
            q = masked(rewards + self._discount * (chain @ values).reshape(legal.shape), legal)
            best = q.argmax(axis=1)
            gain = q[states, best] - q[states, actions]
            better = gain > BETTER * max(float(np.abs(values).max()), 1e-12)
            if not better.any():
                break
            actions = np.where(better, best, actions)
        return q, actions, values

    def _flow(
        self, days: Branches, rows: Ints, chain: sparse.csr_matrix, legal: Mask, actions: Ints
    ) -> tuple[Floats, Ints]:
        """Visits (N,), and the unknown rows that they lead to often enough."""
        count, width = legal.shape
        chosen = WANDERING * legal / legal.sum(axis=1, keepdims=True)
        chosen[np.arange(count), actions] += 1.0 - WANDERING
        choose = sparse.csr_matrix(
            (chosen.ravel(), np.arange(count * width), np.arange(0, count * width + 1, width)),
            shape=(count, count * width),
        )
        begun, often = self._starts
        start = np.zeros(count)
        start[_place(rows, begun)[0]] = often / often.sum()
        system = sparse.identity(count, format="csr") - self._discount * (choose @ chain)
        visits = _solved(system.T.tocsr(), start, None)
        inflow = (choose @ days.chances).T @ visits
        unknown = ~_place(rows, days.to)[1]
        return visits.clip(min=0.0), days.to[unknown & (inflow > SLIGHT * visits.sum())]


def masked(q: Floats, legal: Mask) -> Floats:
    """Q (N, A) with −inf where an action is illegal, whatever stood there."""
    return np.where(legal, q, -np.inf)


def _solved(system: sparse.csr_matrix, right: Floats, guess: Floats | None) -> Floats:
    """The solution (N,); directly where iterating does not settle."""
    for _ in range(RESTARTS):  # from where it stopped, with another shadow of the residual
        guess, unsettled = bicgstab(system, right, x0=guess, rtol=TOLERANCE, maxiter=STEPS)
        if not unsettled:
            return guess
        if not np.isfinite(guess).all():
            break
    found: Floats = spsolve(system.tocsc(), right)
    return found


def _place(rows: Ints, wanted: Ints) -> tuple[Ints, Mask]:
    """Where each wanted row stands in `rows`, and whether it does."""
    order = np.argsort(rows)
    place = order[np.minimum(np.searchsorted(rows, wanted, sorter=order), len(rows) - 1)]
    return place, rows[place] == wanted


def _closed(days: Branches, rows: Ints) -> sparse.csr_matrix:
    """(N·A, N) chances among the known; what leads elsewhere counts as staying."""
    actions = days.rewards.shape[1]
    place, known = _place(rows, days.to)
    pick = sparse.csr_matrix(
        (known.astype(np.float64), (np.arange(len(days.to)), place)), shape=(len(days.to), len(rows))
    )
    inside = days.chances @ pick
    missing = days.chances @ (~known).astype(np.float64)
    cells = np.arange(len(rows) * actions)
    stay = sparse.csr_matrix((missing, (cells, cells // actions)), shape=inside.shape)
    return (inside + stay).tocsr()
