"""Draws the rows of `from_log` among those of `make proof`, a mark a seed.

python experiments/012_from_log/plot.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from experiments.proof.rows import read_rows

mpl.use("Agg")


def main() -> None:
    """Draw and write."""
    import matplotlib.pyplot as plt

    rows = [row for row in read_rows() if row.run == "from_log"]
    places = sorted({(row.scenario, row.cluster) for row in rows}, reverse=True)
    figure, axes = plt.subplots(figsize=(8.0, 4.2), layout="constrained")
    spots = [places.index((row.scenario, row.cluster)) for row in rows]
    scores = [float(row.score or 0.0) for row in rows]
    axes.plot(scores, spots, "o", alpha=0.6, label="from_log, a mark a seed")
    best = {place: next(r for r in rows if (r.scenario, r.cluster) == place) for place in places}
    baseline = [
        (r.best_baseline_value - r.service_only) / (r.optimum - r.service_only) for r in best.values()
    ]
    axes.plot(baseline, range(len(places)), "x", color="gray", label="best simple baseline")
    axes.axvline(0.9, color="0.5", linewidth=1, linestyle="--", label="0.90 aimed at")
    axes.set_yticks(range(len(places)), [" ".join(place) for place in places], fontsize=8)
    axes.set_xlabel("exact score, from a log of 50,000 customers and 60 days")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(Path(__file__).parent / "scores.png", dpi=130)


if __name__ == "__main__":
    main()
