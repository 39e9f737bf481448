"""Draws the rows of `make proof`: the gap to the optimum, a mark a seed.

python experiments/002_scores/plot.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from experiments.proof.claims import Claim, claims
from experiments.proof.rows import read_rows

mpl.use("Agg")
FLOOR = 1e-8  # smaller gaps are drawn here
MARKS = {
    "ppo": ("o", "tab:blue", 0.12, "PPO, a mark a seed"),
    "distilled": ("s", "tab:green", -0.12, "distilled"),
}
BESIDE = ("potential's greedy policy, no learning", "best simple baseline")


def gap(claim: Claim, value: float) -> float:
    """1 − score of a value, not below the floor."""
    first = claim.rows[0]
    return max((first.optimum - value) / (first.optimum - first.service_only), FLOOR)


def main() -> None:
    """Draw and write."""
    import matplotlib.pyplot as plt

    found = claims(read_rows())
    places = sorted({(c.scenario, c.cluster) for c in found}, reverse=True)
    figure, axes = plt.subplots(figsize=(8.6, 5.6), layout="constrained")
    for claim in found:
        place = places.index((claim.scenario, claim.cluster))
        if claim.run in MARKS:
            shape, color, shift, label = MARKS[claim.run]
            gaps = [gap(claim, row.value) for row in claim.rows]
            spots = [place + shift] * len(gaps)
            axes.plot(gaps, spots, shape, color=color, ms=5, alpha=0.6, label=label if place == 0 else None)
        if claim.run == "ppo":
            first = claim.rows[0]
            potential = gap(claim, first.potential_greedy or first.service_only)
            told = BESIDE if place == 0 else (None, None)
            axes.plot([potential], [place], "|", color="tab:orange", ms=14, mew=2, label=told[0])
            axes.plot([gap(claim, first.best_baseline_value)], [place], "x", color="gray", label=told[1])
    axes.axvline(0.01, color="black", lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_yticks(range(len(places)), [" ".join(place) for place in places], fontsize=8)
    axes.set_xlabel("gap to the optimum, 1 − score, at least 1e-8; to the right is better; dotted: 0.99")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(Path(__file__).parent / "scores.png", dpi=130)


if __name__ == "__main__":
    main()
