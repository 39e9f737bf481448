"""The rows of `make proof`: one a finished cell, kept as CSV beside their record.

A row is keyed by what decides it: scenario hash, run hash, cluster, seed. How a cell is run is
`run.py`'s business; what the rows say together is `claims.py`'s.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / "experiments" / "002_scores" / "scores.csv"
GAP = 0.01  # of |V*|: the money gap allowed where the score is null

Key = tuple[str, str, str, int, str, str]


@dataclass(frozen=True)
class Cell:
    """One row: exact figures of the exported file's greedy policy under `lifetime_value`."""

    scenario: str
    cluster: str
    run: str  # the config in configs/training
    seed: int
    scenario_hash: str
    run_hash: str
    optimum: float
    service_only: float
    best_baseline: str
    best_baseline_value: float
    value: float
    score: float | None
    score_served: float | None
    edge: float | None
    potential_greedy: float | None  # value of the shaping potential's own greedy policy
    whole_step: float | None  # value of all that was learned, before the line search
    step: float | None  # how far from the prior the exported policy went
    train_seconds: float  # wall clock, learning only; other cells may have run beside it
    cpu_seconds: float  # of the same
    samples: int
    command: str

    @property
    def key(self) -> Key:
        """What makes a cell the same cell."""
        return self.scenario, self.cluster, self.run, self.seed, self.scenario_hash, self.run_hash

    def reaches(self, floor: float) -> bool:
        """Whether the score reaches `floor`, or the money gap is small where there is no score."""
        if self.score is None:
            return self.optimum - self.value <= GAP * abs(self.optimum)
        return self.score >= floor


def read_rows(path: Path = ROWS) -> list[Cell]:
    """The finished cells."""
    if not path.exists():
        return []
    kinds = {f.name: str(f.type) for f in fields(Cell)}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Cell(**{k: _parsed(v, kinds[k]) for k, v in row.items()})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]


def _parsed(text: str, kind: str) -> str | int | float | None:
    if kind.startswith("float"):
        return float(text) if text else None
    return int(text) if kind == "int" else text


def write_rows(rows: list[Cell], path: Path = ROWS) -> None:
    """All rows, in a stable order; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Cell)], lineterminator="\n")
        writer.writeheader()
        ordered = sorted(rows, key=lambda row: row.key)
        writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in ordered)
    part.replace(path)
