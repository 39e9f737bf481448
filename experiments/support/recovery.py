"""How well a fitted scenario stands in for the true one it was fitted to, cluster by cluster.

The policy planned on the fitted scenario is valued exactly in the true one, and event
probabilities (not coefficients) are compared where the log has enough rows to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.journey.journey import compile_journey
from envs.scenario.schema import Scenario
from envs.solve.baselines import service_only
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.references import NEGLIGIBLE, start_value
from envs.solve.solver import solve
from training.fit.cells import Cells
from training.fit.terms import MODELS

ENOUGH = 2_000  # rows of a cell whose probability is compared


@dataclass(frozen=True)
class Recovery:
    """One cluster: values in the true scenario, and the largest errors of probabilities."""

    cluster: str
    optimum: float
    service_only: float
    value: float  # of the policy planned on the fitted scenario
    score: float | None  # None where there is too little to win
    gap_share: float  # (V* − V) / |V*|
    errors: dict[str, float]  # by event, over cells with enough rows
    compared: dict[str, int]  # those cells

    @property
    def worst(self) -> tuple[str, float]:
        """The event with the largest absolute error."""
        return max(self.errors.items(), key=lambda item: item[1], default=("none", 0.0))


def recovery(truth: Scenario, fitted: Scenario, cluster: str, objective: str | None = None) -> Recovery:
    """Plan on the fitted scenario, value in the true one; without a comparison of cells."""
    true, model = (build_kernel(compile_journey(s, cluster)) for s in (truth, fitted))
    weights = true.journey.weights(objective)
    plan = _as_in(true, model, solve(model, model.journey.weights(objective)).actions)
    best = solve(true, weights).start_value(true)
    reference = start_value(true, service_only(true), weights)
    value = start_value(true, plan, weights)
    room = best - reference
    flat = room < NEGLIGIBLE * abs(best) or room <= 0.0
    score = None if flat else (value - reference) / room
    return Recovery(cluster, best, reference, value, score, (best - value) / max(abs(best), 1e-12), {}, {})


def _as_in(true: Kernel, model: Kernel, actions: Any) -> Any:
    """The plan by the true kernel's consent patterns.

    A pattern that the model never reaches takes the plan of the largest one that allows no more.
    """
    known = {int(pattern): m for m, pattern in enumerate(model.consents)}
    rows = []
    for pattern in true.consents.tolist():
        below = [p for p in known if p & ~pattern == 0]
        rows.append(
            actions[known[max(below, key=lambda p: (p.bit_count(), p))]]
            if below
            else np.zeros_like(actions[0])
        )
    return np.array(rows)


def probability_errors(
    truth: Scenario, fitted: Scenario, cluster: str, cells: Cells
) -> tuple[dict[str, float], dict[str, int]]:
    """Largest |p̂ − p| an event, and the number of cells it was taken over."""
    true, model = compile_journey(truth, cluster), compile_journey(fitted, cluster)
    errors, compared = {}, {}
    for event in MODELS:
        enough = cells.trials[event][0] >= ENOUGH
        if enough.any():
            p, q = getattr(true.tables, event), getattr(model.tables, event)
            errors[event] = float(np.abs(p - q)[enough].max())
            compared[event] = int(enough.sum())
    return errors, compared
