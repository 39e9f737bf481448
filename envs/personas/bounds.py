"""Two hidden types judged exactly enough: the value of acting under uncertainty, from both sides.

A cluster of two personas is a partially observed problem whose belief is one number. V*(x, b)
is convex in b for every state x (Smallwood and Sondik, 1973), so

- from above: value iteration on a grid of beliefs with linear interpolation between grid
  points. A chord lies above a convex function, so every iterate that starts above V* stays
  above it (Lovejoy, 1991). It starts at Σ b_p V_p, the value of being told the type.
- from below: one plan a grid point, kept as its value under each persona (an alpha vector).
  What a plan earns at a belief is linear in it, so the best of any set of plans is below V*
  (point-based value iteration: Pineau, Gordon and Thrun, 2003). A backup looks at the plans of
  the two grid points around the new belief only, which costs little and stays a bound.

M consent patterns, S kernel states, G beliefs of the first persona, A actions. Opt-outs are
enumerated here: they are independent of the other events given state and action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.compiled import compiled, parallel
from envs.personas.branches import event_branches
from envs.personas.models import Hidden
from envs.solve.sweeps import consent_positions, levels_of

HELD, LEAVES = 1, 2  # whether a branch's belief also learns from an opt-out: 0 not at all


def belief_grid(points: int) -> Floats:
    """(G,) beliefs of the first persona: 0, 1 and log-odds in even steps between."""
    odds = np.linspace(-6.0, 6.0, points - 2)
    return np.concatenate([[0.0], 1.0 / (1.0 + np.exp(-odds)), [1.0]])


@compiled
def _place(grid: Any, b: float) -> Any:
    """The grid interval that holds a belief."""
    return min(max(np.searchsorted(grid, b) - 1, 0), len(grid) - 2)


@parallel
def _lookahead(indptr: Any, p: Any, actions: int, opt_out: Any, grid: Any, low: Any, share: Any) -> None:
    """Where each branch takes each grid belief: `low` (B, G, 3) interval, `share` of its upper end."""
    for row in numba.prange(len(indptr) - 1):
        x, a = row // actions, row % actions
        for k in range(indptr[row], indptr[row + 1]):
            for g in range(len(grid)):
                for way in range(3):
                    first, second = grid[g] * p[k, 0], (1.0 - grid[g]) * p[k, 1]
                    if way > 0:
                        first *= opt_out[0, x, a] if way == LEAVES else 1.0 - opt_out[0, x, a]
                        second *= opt_out[1, x, a] if way == LEAVES else 1.0 - opt_out[1, x, a]
                    b = first / (first + second) if first + second > 0.0 else grid[g]
                    n = _place(grid, b)
                    low[k, g, way] = n
                    share[k, g, way] = (b - grid[n]) / (grid[n + 1] - grid[n])


@compiled
def _value_at(
    x: int, a: int, g: int, indptr: Any, to: Any, p: Any, low: Any, share: Any, opt_out: Any,
    grid: Any, leaves: bool, here: Any, smaller: Any, actions: int,
) -> float:  # fmt: skip
    """Expected value of tomorrow from grid point g; `here` (S, G), `smaller` after an opt-out."""
    total, b, states = 0.0, grid[g], len(here)
    for k in range(indptr[x * actions + a], indptr[x * actions + a + 1]):
        y = to[k]
        if y == states:
            continue
        first, second = b * p[k, 0], (1.0 - b) * p[k, 1]
        if not leaves:
            n, w = low[k, g, 0], share[k, g, 0]
            total += (first + second) * (here[y, n] + w * (here[y, n + 1] - here[y, n]))
            continue
        gone = first * opt_out[0, x, a] + second * opt_out[1, x, a]
        n, w = low[k, g, HELD], share[k, g, HELD]
        total += (first + second - gone) * (here[y, n] + w * (here[y, n + 1] - here[y, n]))
        if gone > 0.0:
            n, w = low[k, g, LEAVES], share[k, g, LEAVES]
            total += gone * (smaller[y, n] + w * (smaller[y, n + 1] - smaller[y, n]))
    return total


@parallel
def _sweep_above(
    indptr: Any, to: Any, p: Any, low: Any, share: Any, opt_out: Any, gain: Any, held: Any,
    legal: Any, grid: Any, discount: float, channel: Any, here: Any, smaller: Any, out: Any,
) -> None:  # fmt: skip
    """One sweep over a consent block: `gain` (P, S, A), `smaller` (C, S, G); fills `out` (S, G, A)."""
    actions = gain.shape[2]
    for x in numba.prange(len(here)):
        for g in range(len(grid)):
            for a in range(actions):
                out[x, g, a] = -np.inf
                if legal[x] >> a & 1 == 0:
                    continue
                c = max(channel[a], 0)
                ahead = _value_at(
                    x, a, g, indptr, to, p, low, share, opt_out, grid, held[a], here, smaller[c], actions
                )
                today = grid[g] * gain[0, x, a] + (1.0 - grid[g]) * gain[1, x, a]
                out[x, g, a] = today + discount * ahead


@compiled
def _plan_at(
    x: int, a: int, g: int, indptr: Any, to: Any, p: Any, low: Any, opt_out: Any, grid: Any,
    leaves: bool, here: Any, smaller: Any, actions: int, out: Any,
) -> None:  # fmt: skip
    """Add tomorrow's value under each persona of the better plan around each new belief."""
    b, states = grid[g], len(here)
    for k in range(indptr[x * actions + a], indptr[x * actions + a + 1]):
        y = to[k]
        if y == states:
            continue
        for way in range(1 if leaves else 0, 3 if leaves else 1):
            first, second = p[k, 0], p[k, 1]
            if way > 0:
                first *= opt_out[0, x, a] if way == LEAVES else 1.0 - opt_out[0, x, a]
                second *= opt_out[1, x, a] if way == LEAVES else 1.0 - opt_out[1, x, a]
            plans = smaller[y] if way == LEAVES else here[y]
            n = low[k, g, way]
            one = b * first * plans[n, 0] + (1.0 - b) * second * plans[n, 1]
            other = b * first * plans[n + 1, 0] + (1.0 - b) * second * plans[n + 1, 1]
            n = n if one >= other else n + 1
            out[0] += first * plans[n, 0]
            out[1] += second * plans[n, 1]


@parallel
def _sweep_below(
    indptr: Any, to: Any, p: Any, low: Any, share: Any, opt_out: Any, gain: Any, held: Any, grid: Any,
    discount: float, channel: Any, here: Any, smaller: Any, chosen: Any, out: Any,
) -> None:  # fmt: skip
    """One backup of each grid point's plan by its chosen action: `here`, `out` (S, G, 2)."""
    actions = gain.shape[2]
    for x in numba.prange(len(here)):
        plan = np.empty(2)
        for g in range(len(grid)):
            a, b = chosen[x, g], grid[g]
            plan[:] = 0.0
            c = max(channel[a], 0)
            _plan_at(x, a, g, indptr, to, p, low, opt_out, grid, held[a], here, smaller[c], actions, plan)
            plan[0] = gain[0, x, a] + discount * plan[0]
            plan[1] = gain[1, x, a] + discount * plan[1]
            kept = b * here[x, g, 0] + (1.0 - b) * here[x, g, 1]
            better = b * plan[0] + (1.0 - b) * plan[1] > kept
            out[x, g, 0] = plan[0] if better else here[x, g, 0]
            out[x, g, 1] = plan[1] if better else here[x, g, 1]


@dataclass(frozen=True)
class GridBounds:
    """Bounds of V*(x, b) at the grid's beliefs; valid whatever the number of sweeps."""

    grid: Floats  # (G,) beliefs of the first persona
    q: Floats  # (M, S, G, A) action values on the upper bound; −inf where illegal
    plans: Floats  # (M, S, G, 2) alpha vectors
    sweeps: int

    @property
    def actions(self) -> Ints:
        """(M, S, G) greedy on the upper bound, ties to the lowest number."""
        return self.q.argmax(axis=3)

    def q_at(self, block: Ints, state: Ints, belief: Floats) -> Floats:
        """(N, A) interpolated action values at beliefs (N,) of the first persona."""
        n = np.clip(np.searchsorted(self.grid, belief) - 1, 0, len(self.grid) - 2)
        w = ((belief - self.grid[n]) / (self.grid[n + 1] - self.grid[n]))[:, None]
        return (1.0 - w) * self.q[block, state, n] + w * self.q[block, state, n + 1]

    def upper(self, belief: float) -> Floats:
        """(M, S) from above at one belief of the first persona."""
        n = int(np.clip(np.searchsorted(self.grid, belief) - 1, 0, len(self.grid) - 2))
        w = (belief - self.grid[n]) / (self.grid[n + 1] - self.grid[n])
        values = self.q[:, :, n : n + 2].max(axis=3)
        out: Floats = (1.0 - w) * values[:, :, 0] + w * values[:, :, 1]
        return out

    def lower(self, belief: float) -> Floats:
        """(M, S) from below: the best of all plans."""
        return (self.plans @ np.array([belief, 1.0 - belief])).max(axis=2)


def grid_bounds(
    hidden: Hidden, points: int = 33, tolerance: float = 1e-4, most_sweeps: int = 1_000
) -> GridBounds:
    """Both bounds; a consent block is swept until nothing moves by `tolerance` of the largest value."""
    if hidden.count != 2:
        raise ValueError("the grid is one belief: two personas")
    kernel, grid = hidden.kernels[0], belief_grid(points)
    model, opt_out = _model(hidden, grid), np.stack([k.opt_out for k in hidden.kernels])
    above = np.einsum("pms,pg->msg", hidden.values, np.stack([grid, 1.0 - grid]))
    plans, q = hidden.first_plans(grid), np.zeros((*above.shape, kernel.actions))
    channel, positions = np.asarray(kernel.journey.rules.action_channel), consent_positions(kernel)
    enough = tolerance * float(np.abs(above).max()) * (1.0 - hidden.discount)
    sweeps = 0
    for m in (int(m) for level in levels_of(kernel) for m in level):  # the fewest consents first
        held = (channel >= 0) & (positions[m, np.maximum(channel, 0)] >= 0)
        rest = (opt_out, hidden.gain(m), held)
        smaller = np.where(positions[m] >= 0, positions[m], m)
        moved, legal, without = np.inf, kernel.legal(m), above[smaller]
        for _ in range(most_sweeps):
            _sweep_above(*model, *rest, legal, grid, hidden.discount, channel, above[m], without, q[m])
            moved, above[m] = float(np.abs(q[m].max(axis=2) - above[m]).max()), q[m].max(axis=2)
            sweeps += 1
            if moved <= enough:
                break
        chosen, without = q[m].argmax(axis=2), plans[smaller]
        for _ in range(most_sweeps):
            plan = np.empty_like(plans[m])
            _sweep_below(*model, *rest, grid, hidden.discount, channel, plans[m], without, chosen, plan)
            moved, plans[m] = float(np.abs(plan - plans[m]).max()), plan
            if moved <= enough:
                break
    return GridBounds(grid, q, plans, sweeps)


def _model(hidden: Hidden, grid: Floats) -> tuple[Array, ...]:
    """Branches, and where each of them takes each grid belief."""
    kernel = hidden.kernels[0]
    branches = event_branches(hidden.journey, kernel)
    opt_out = np.stack([k.opt_out for k in hidden.kernels])
    low = np.zeros((len(branches.to), len(grid), 3), dtype=np.int16)
    share = np.zeros(low.shape)
    _lookahead(branches.indptr, branches.chance, kernel.actions, opt_out, grid, low, share)
    return (*branches, low, share)
