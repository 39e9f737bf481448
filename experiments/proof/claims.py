"""What the rows of `make proof` claim together, cluster by cluster, and their table.

A claim is a run config's threshold for one cluster over its seeds: ten seeds of which eight
must pass, or three of which all must. Nothing is trained here.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from experiments.proof.rows import Cell, read_rows
from training.judging.seeds import Estimate, paired_difference

FLOORS = {"planner": 1.0 - 1e-6, "distilled": 0.999, "ppo": 0.99, "from_samples": 0.95, "from_log": 0.9}
PASSES = 0.8  # of the seeds, rounded up: 8 of 10, all of 3


@dataclass(frozen=True)
class Claim:
    """One cluster under one run config, over its seeds."""

    scenario: str
    cluster: str
    run: str
    rows: tuple[Cell, ...]

    @property
    def passed(self) -> int:
        """Seeds that reach the floor."""
        return sum(row.reaches(FLOORS[self.run]) for row in self.rows)

    @property
    def holds(self) -> bool:
        """Enough seeds reach the floor, and none is below the potential's own greedy policy."""
        enough = self.passed >= math.ceil(PASSES * len(self.rows))
        return enough and all(
            row.potential_greedy is None or row.value >= row.potential_greedy - 1e-9 * abs(row.optimum)
            for row in self.rows
        )

    @property
    def edge(self) -> Estimate | None:
        """Value over the best simple baseline, interval over seeds; None for a single seed."""
        if len(self.rows) < 2:
            return None
        ours = [row.value for row in self.rows]
        return paired_difference(ours, [row.best_baseline_value for row in self.rows])

    def __str__(self) -> str:
        """One line."""
        scores = [row.score for row in self.rows if row.score is not None]
        least = f"{min(scores):.4f}" if scores else "no score"
        name = f"{self.scenario} {self.cluster} {self.run}"
        return f"{name}: {self.passed} of {len(self.rows)} seeds reach {FLOORS[self.run]:g}, least {least}"


def claims(rows: list[Cell]) -> list[Claim]:
    """One for every cluster and run config."""
    groups: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for row in rows:
        groups[row.scenario, row.cluster, row.run].append(row)
    return [Claim(*key, tuple(sorted(group, key=lambda r: r.seed))) for key, group in sorted(groups.items())]


def table(rows: list[Cell], run: str) -> str:
    """Markdown: a cluster a line, least and middle score over seeds, what stands beside them."""
    lines = [
        "| scenario | cluster | seeds | least | median | as served | potential's greedy | whole step "
        "| edge over the best baseline | CPU s |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|--:|",
    ]
    lines += [_line(claim) for claim in claims(rows) if claim.run == run]
    return "\n".join(lines)


def _line(claim: Claim) -> str:
    rows = claim.rows
    first = rows[0]

    def score(value: float | None) -> str:
        room = first.optimum - first.service_only
        return "" if value is None else f"{(value - first.service_only) / room:.4f}"

    values = [row.value for row in rows]
    served = median(row.score_served or math.nan for row in rows)
    whole = [row.whole_step for row in rows if row.whole_step is not None]
    edge = claim.edge
    told = (
        ""
        if edge is None
        else f"{edge.mean:.2f} [{edge.low:.2f}, {edge.high:.2f}] over {first.best_baseline}"
    )
    seconds = max(row.cpu_seconds for row in rows)
    return (
        f"| {claim.scenario} | {claim.cluster} | {claim.passed} of {len(rows)} | {score(min(values))} "
        f"| {score(median(values))} | {served:.4f} | {score(first.potential_greedy)} "
        f"| {score(min(whole)) if whole else ''} | {told} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    print(table(read_rows(), sys.argv[1]))
