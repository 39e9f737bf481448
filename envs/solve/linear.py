"""The linear system of a policy: v = b + γ G (M v), solved by BiCGSTAB in compiled code.

G gathers the afterstate rows of the policy's actions (contiguous, already weighted), M adds
the inbound draw. BiCGSTAB: van der Vorst (1992), doi:10.1137/0913035.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled

LIMIT = 2000  # iterations; a few dozen suffice at a daily discount


@compiled
def arrive(to: Any, p: Any, values: Any, out: Any) -> None:
    """out (S + 1,) = values of afterstates; the last, churned, is 0."""
    for y in range(len(values)):
        total = 0.0
        for n in range(to.shape[1]):
            total += p[y, n] * values[to[y, n]]
        out[y] = total
    out[len(values)] = 0.0


@compiled
def gather_rows(
    indptr: Any, indices: Any, data: Any, actions: int, policy: Any, scale: Any
) -> tuple[Any, Any, Any]:
    """CSR rows of Σ_a π(a|x) · scale(x, a) · P(·|x, a); `policy` is (S, A)."""
    states = policy.shape[0]
    start = np.zeros(states + 1, np.int64)
    for x in range(states):
        size = 0
        for a in range(actions):
            if policy[x, a] > 0.0:
                size += indptr[x * actions + a + 1] - indptr[x * actions + a]
        start[x + 1] = start[x] + size
    columns, weights = np.empty(start[states], np.int32), np.empty(start[states])
    for x in range(states):
        n = start[x]
        for a in range(actions):
            if policy[x, a] > 0.0:
                factor = policy[x, a] * scale[x, a]
                for k in range(indptr[x * actions + a], indptr[x * actions + a + 1]):
                    columns[n], weights[n] = indices[k], factor * data[k]
                    n += 1
    return start, columns, weights


@compiled
def apply_system(
    start: Any, columns: Any, weights: Any, to: Any, p: Any, discount: float, v: Any, out: Any, arrived: Any
) -> None:
    """out = v − γ G M v."""
    arrive(to, p, v, arrived)
    for x in range(len(v)):
        total = 0.0
        for k in range(start[x], start[x + 1]):
            total += weights[k] * arrived[columns[k]]
        out[x] = v[x] - discount * total


@compiled
def apply_transposed(
    start: Any, columns: Any, weights: Any, to: Any, p: Any, discount: float, v: Any, out: Any, arrived: Any
) -> None:
    """out = v − γ (G M)ᵀ v: how discounted occupancy flows."""
    states = len(v)
    arrived[:] = 0.0
    for x in range(states):
        for k in range(start[x], start[x + 1]):
            arrived[columns[k]] += weights[k] * v[x]
    out[:] = v
    for y in range(states):
        if arrived[y] != 0.0:
            for n in range(to.shape[1]):
                out[to[y, n]] -= discount * p[y, n] * arrived[y]


@compiled
def _dot(a: Any, b: Any) -> float:
    """Inner product in a fixed order: no BLAS threads, the same result everywhere."""
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@compiled
def bicgstab(
    start: Any, columns: Any, weights: Any, to: Any, p: Any, discount: float, b: Any, x: Any,
    tolerance: float, transposed: bool,
) -> float:  # fmt: skip
    """Solve in place from the guess `x`; returns the largest residual."""
    size = len(b)
    arrived, product = np.empty(size + 1), np.empty(size)
    _multiply(start, columns, weights, to, p, discount, x, product, arrived, transposed)
    residual = b - product
    shadow, direction = residual.copy(), residual.copy()
    step, image = np.empty(size), np.empty(size)
    rho = _dot(shadow, residual)
    worst = np.max(np.abs(residual))
    for _ in range(LIMIT):
        if worst <= tolerance:
            break
        _multiply(start, columns, weights, to, p, discount, direction, step, arrived, transposed)
        bottom = _dot(shadow, step)
        if bottom == 0.0 or rho == 0.0:  # breakdown: start again from here
            shadow[:] = residual
            direction[:] = residual
            rho = _dot(shadow, residual)
            bottom = -1.0
            _multiply(start, columns, weights, to, p, discount, direction, step, arrived, transposed)
            bottom = _dot(shadow, step)
        alpha = rho / bottom
        residual -= alpha * step
        x += alpha * direction
        _multiply(start, columns, weights, to, p, discount, residual, image, arrived, transposed)
        norm = _dot(image, image)
        omega = _dot(image, residual) / norm if norm > 0.0 else 0.0
        x += omega * residual
        residual -= omega * image
        following = _dot(shadow, residual)
        worst = np.max(np.abs(residual))
        if omega == 0.0:
            following = 0.0
            beta = 0.0
        else:
            beta = following / rho * (alpha / omega)
        direction = residual + beta * (direction - omega * step)
        rho = following
    return worst


@compiled
def _multiply(
    start: Any, columns: Any, weights: Any, to: Any, p: Any, discount: float, v: Any, out: Any,
    arrived: Any, transposed: bool,
) -> None:  # fmt: skip
    if transposed:
        apply_transposed(start, columns, weights, to, p, discount, v, out, arrived)
    else:
        apply_system(start, columns, weights, to, p, discount, v, out, arrived)
