"""The pictures of a run: learning curves, and every cluster's score beside its baselines."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from training.runs.cluster_run import Outcome

_SHOWN = ("never", "service_only", "business_rules", "myopic", "best_single_action")


def draw(outcomes: list[Outcome], folder: Path) -> list[Path]:
    """Write the plots that have something to show; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    if any(len(_curve(o)) > 1 for o in outcomes):
        paths.append(_save(_learning_curves(outcomes), folder / "learning_curve.png"))
    if any(o.record["score"] is not None for o in outcomes):
        paths.append(_save(_score_bars(outcomes), folder / "scores.png"))
    return paths


def _curve(outcome: Outcome) -> list[tuple[float, float]]:
    return [(p.samples / 1e6, p.metrics["score"]) for p in outcome.curve if "score" in p.metrics]


def _learning_curves(outcomes: list[Outcome]) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for outcome in outcomes:
        points = _curve(outcome)
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=outcome.cluster)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.axhline(0.0, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.25, 1.05)
    axes.set_xlabel("customer-days simulated, millions")
    axes.set_ylabel("score (0: service only, 1: optimum)")
    axes.set_title("Exact score of the greedy policy while it learns")
    axes.legend(frameon=False)
    return figure


def _score_bars(outcomes: list[Outcome]) -> Figure:
    scored = [o for o in outcomes if o.record["score"] is not None]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 1.1 * len(scored)), layout="constrained")
    labels, widths, colours = [], [], []
    for outcome in scored:
        record = outcome.record
        room = record["optimum"] - record["service_only"]
        rows = {"policy": record["score"]}
        rows |= {k: v["score"] for k, v in record["shown_beside"].items()}
        best = record["best_baseline"]
        rows[f"best baseline: {best['name']}"] = (best["value"] - record["service_only"]) / room
        for name, score in rows.items():
            labels.append(f"{outcome.cluster}: {name.replace('_', ' ')}")
            widths.append(score)
            colours.append("tab:blue" if name == "policy" else "lightsteelblue")
    places = range(len(labels))
    axes.barh(places, widths, color=colours)
    for place, width in zip(places, widths, strict=True):
        axes.text(max(width, 0.0) + 0.01, place, f"{width:.3f}", va="center", fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlim(min(0.0, *widths) - 0.02, 1.12)
    axes.set_xlabel("score (0: service only, 1: optimum)")
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
