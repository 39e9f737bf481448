"""Turns a finished `make starbucks` into this record: result.json and two figures.

Adds what the fitted model expects of the same policies over the log's 30 days, and how
purchases answer to an offer on half A, which is why the scenario is built as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from envs.cli.output import to_json
from envs.policy.policy import Bundle, load_bundle
from envs.solve.evaluation import evaluate_horizon
from envs.solve.kernel import build_kernel, legal_masks, state_observations
from experiments.support.data import STARBUCKS_FILES, starbucks_file
from experiments.support.starbucks import half_of

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
RUN = Path("runs/starbucks")
DAYS = 30
OFFER = "offer_7"


def in_the_fitted_model(bundle: Bundle) -> dict[str, float]:
    """Undiscounted 30-day values, weighted by the clusters' shares."""
    totals: dict[str, float] = {}
    for cluster in bundle.scenario.clusters:
        journey = bundle.journey(cluster.name)
        kernel, weights = build_kernel(journey), journey.weights()
        legal = legal_masks(kernel, 0)
        chosen = bundle.policy(cluster.name).evaluate(state_observations(kernel, 0), legal)[0].argmax(axis=1)
        offer = next(n for n, a in enumerate(journey.actions) if a.key.startswith(f"{OFFER}:"))
        sent = np.where(legal, 0.075, 0.0)
        sent[:, 0] = 1.0 - sent[:, 1:].sum(axis=1)
        policies = {
            "policy": chosen.astype(np.int8),
            "nothing": np.zeros(kernel.states, np.int8),
            f"always {OFFER}": np.where(legal[:, offer], offer, 0).astype(np.int8),
            "logged": sent,
        }
        for name, policy in policies.items():
            value = evaluate_horizon(kernel, policy[None], weights, DAYS, 1.0)
            totals[name] = totals.get(name, 0.0) + cluster.share * value
    return totals


def differences(document: dict[str, Any], path: Path) -> None:
    """Paired differences on half B, wave by wave and pooled."""
    names = [name.removeprefix("policy - ") for name in document["differences"]]
    figure, axes = plt.subplots(1, len(names), figsize=(11, 3.4))
    for axis, name, parts in zip(axes, names, document["differences"].values(), strict=True):
        rows = [*parts["by_decision"], parts["one_decision_ipw"], parts["one_decision_dr"]]
        labels = [*(f"wave {n + 1}" for n in range(len(parts["by_decision"]))), "all, IPW", "all, DR"]
        for y, row in enumerate(reversed(rows)):
            color = "C0" if y > 1 else "C3"
            if row["refused"]:
                axis.text(0, y, "refused", color=color, va="center")
                continue
            axis.plot([row["low"], row["high"]], [y, y], color=color)
            axis.plot(row["mean"], y, "o", color=color)
        axis.axvline(0, color="0.6", lw=0.8)
        axis.set_yticks(range(len(rows)), reversed(labels))
        axis.set_title(f"policy − {name.split(':')[0]}", fontsize=10)
        axis.set_xlabel("USD a customer and decision")
    figure.suptitle("Held-out half B: reward up to the next wave, 95 % intervals", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def purchases_after_an_offer(path: Path) -> None:
    """Share of customers who buy on each day after the first wave, by offer seen on time or never."""
    events, portfolio = starbucks_file(STARBUCKS_FILES[0]), starbucks_file(STARBUCKS_FILES[2])
    events = events[events["cust"].map(half_of) == "a"].assign(day=lambda e: e["time"].astype(int) // 24)
    customers = events["cust"].unique()
    number = {customer: n for n, customer in enumerate(customers)}
    bought = np.zeros((len(customers), DAYS), dtype=bool)
    buys = events[events["event"] == "transaction"]
    bought[buys["cust"].map(number), buys["day"]] = True
    first = events[(events["event"] == "offer-received") & (events["day"] == 0)].set_index("cust")["offer"]
    later = events[(events["event"] == "offer-received") & (events["day"] == 7)]["cust"]
    alone = first[~first.index.isin(later)].astype(float).astype(int)
    seen = events[(events["event"] == "offer-viewed") & (events["day"] <= 1)]
    viewers = set(zip(seen["cust"], seen["offer"].astype(float).astype(int), strict=True))
    figure, axis = plt.subplots(figsize=(7.5, 3.6))
    for offer in (7, 9, 3, 1):
        own = [number[c] for c, o in alone.items() if o == offer and (c, o) in viewers]
        days = int(portfolio.loc[portfolio["offer"] == str(offer), "duration"].iloc[0])
        label = f"offer {offer}, {days} days"
        axis.plot(range(14), bought[own, :14].mean(axis=0), marker="o", ms=3, label=label)
    unseen = [number[c] for c, o in alone.items() if o in (0, 4, 5, 6) and not _viewed(events, c, o)]
    axis.plot(range(14), bought[unseen, :14].mean(axis=0), color="0.5", ls="--", label="sent, never viewed")
    none = [number[c] for c in set(customers) - set(first.index) - set(later)]
    axis.plot(range(14), bought[none, :14].mean(axis=0), color="0.2", label="nothing sent")
    axis.set_xlabel("days since the first wave (no second offer a week later)")
    axis.set_ylabel("share who buy that day")
    axis.set_ylim(0, None)
    axis.legend(fontsize=8, ncol=2)
    axis.set_title("Half A: an offer that was seen lifts purchases until it expires", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


_VIEWS: set[tuple[str, int]] = set()


def _viewed(events: Any, customer: str, offer: int) -> bool:
    if not _VIEWS:
        views = events[events["event"] == "offer-viewed"]
        _VIEWS.update(zip(views["cust"], views["offer"].astype(float).astype(int), strict=True))
    return (customer, offer) in _VIEWS


def main() -> None:
    """Write the record beside this file."""
    document = json.loads((RUN / "evaluation.json").read_text())
    document.pop("bundle")
    document["in_the_fitted_model_30_days"] = in_the_fitted_model(load_bundle(RUN / "train" / "bundle"))
    (HERE / "result.json").write_text(to_json(document) + "\n")
    differences(document, HERE / "held_out_differences.png")
    purchases_after_an_offer(HERE / "purchases_after_an_offer.png")
    print(json.dumps(document["in_the_fitted_model_30_days"], indent=1))


if __name__ == "__main__":
    main()
