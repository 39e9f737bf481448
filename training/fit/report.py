"""The fit report: what was read, what was estimated and how surely, as JSON, Markdown and HTML.

One self-contained HTML file; pictures are inline SVG, so nothing has to be fetched. Leaves out
the estimation and its error, which come from `fit.py` and `evidence.py`.
"""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np

from envs.cli.output import to_json
from training.fit.cells import Cells
from training.fit.evidence import (
    FEW,
    Calibration,
    Figure,
    calibrations,
    figures,
    likelihoods,
    never_seen,
    supports,
)
from training.fit.fit import FitResult

NON_CAUSAL = (
    "The log's decisions carry no propensities, so who was contacted how may depend on what they would "
    "have done anyway. The effects of channels and touchpoints below are associations, NOT causal effects; a "
    "policy planned on them needs a randomised test."
)


def document(result: FitResult) -> dict[str, object]:
    """The report as JSON types."""
    K = len(result.clustering.names)
    clusters = []
    for k, (name, fit) in enumerate(zip(result.clustering.names, result.fits, strict=True)):
        cells = result.cells.group(k, K + k)
        clusters.append(
            {
                "name": name,
                "customers": int(cells.customers[0]),
                "attributes": result.clustering.described.get(name, {}),
                "purchases": int(cells.purchases.sum()),
                "mean_value": float(cells.value.sum() / max(int(cells.purchases.sum()), 1)),
                "mean_value_error": _value_error(cells),
                "figures": [vars(f) for event in fit.fits.values() for f in figures(event)],
                "trials": {event: [f.trials, f.events] for event, f in fit.fits.items()},
            }
        )
    held = likelihoods(result)
    return {
        "scenario": result.scenario.name,
        "scenario_hash": result.scenario.digest(),
        "log": result.report.document(),
        "channel_effects": "randomised" if result.report.causal else "non-causal",
        "warning": None if result.report.causal else NON_CAUSAL,
        "clusters": clusters,
        "number_of_clusters": {str(k): value for k, value in result.sizes.items()},
        "fold_constants": [vars(trial) for trial in result.trials],
        "ridges": {event: vars(ridge) for event, ridge in result.fits[0].ridges.items()},
        "not_observed": sorted(result.skip),
        "held_out": {
            "customers": int(result.cells.customers[K:].sum()),
            "fitted": sum(x.fitted for x in held),
            "marginal": sum(x.marginal for x in held),
            "events": [vars(x) | {"gain_per_1000": x.gain_per_1000} for x in held],
        },
        "calibration": [vars(c) | {"error": c.error} for c in calibrations(result)],
        "never_seen": [list(pair) for pair in never_seen(result)],
        "support": [vars(s) for s in supports(result)],
        "seconds": result.seconds,
    }


def _value_error(cells: Cells) -> float:
    """Standard error of the mean value of a purchase day."""
    n = int(cells.purchases.sum())
    if n < 2:
        return float("nan")
    mean = cells.value.sum() / n
    return float(np.sqrt(max(cells.value_squared.sum() / n - mean**2, 0.0) / n))


def write_report(result: FitResult, folder: Path) -> list[Path]:
    """Write `fit_report.json`, `.md` and `.html`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "fit_report.json": to_json(document(result)),
        "fit_report.md": markdown(result),
        "fit_report.html": page(result),
    }
    for name, text in texts.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return [folder / name for name in texts]


# --- tables shared by Markdown and HTML ---------------------------------------------------------------


def _tables(result: FitResult) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """(title, one sentence, columns, rows) of every table."""
    held, supported = likelihoods(result), supports(result)
    findings = [[f.name, f"{f.count:,}", f"{f.share:.2%}", f.treatment] for f in result.report.findings]
    out = [
        ("What the log departs in", "Counted, not hidden.", ["what", "rows", "share", "treated"], findings),
        (
            "Held-out likelihood",
            "Customers that took no part in the estimate; nats a thousand trials above one constant rate.",
            ["event", "trials", "fitted", "constant rate", "gain a 1,000"],
            [[x.event, f"{x.trials:,}", f"{x.fitted:,.1f}", f"{x.marginal:,.1f}", f"{x.gain_per_1000:+.2f}"]
             for x in held],
        ),
        (
            "Calibration",
            "Mean absolute difference of predicted and observed rates by decile, same customers.",
            ["event", "trials", "error"],
            [[c.event, f"{c.trials:,}", f"{c.error:.5f}"] for c in calibrations(result)],
        ),
    ]  # fmt: skip
    if result.trials:
        rows = [
            [", ".join(f"{k} {v}" for k, v in t.constants.items()), f"{t.likelihood:,.1f}"]
            for t in sorted(result.trials, key=lambda t: -t.likelihood)
        ]
        out.append(("Fold constants", "By held-out likelihood, best first.", ["constants", "nats"], rows))
    if result.sizes:
        sizes = [[str(k), f"{v:,.1f}"] for k, v in result.sizes.items()]
        out.append(("Number of clusters", "By held-out likelihood.", ["clusters", "nats"], sizes))
    never = [list(pair) for pair in never_seen(result)]
    sentence = "Watched and never happened: its rate is written as 0."
    out.append(("Never seen", sentence, ["event", "where"], never))
    few = [s for s in supported if s.contacts < FEW]
    out.append(
        ("Actions with little support", f"Fewer than {FEW} contacts: what is said of them is borrowed.",
         ["cluster", "action", "contacts"], [[s.cluster, s.action, f"{s.contacts:,}"] for s in few])
    )  # fmt: skip
    for name, fit in zip(result.clustering.names, result.fits, strict=True):
        rows = [_row(f) for event in fit.fits.values() for f in figures(event)]
        columns = ["event", "term", "scale", "estimate", "95 % interval"]
        out.append((f"Cluster {name}", "Posterior mode and Laplace interval.", columns, rows))
    return out


def _row(f: Figure) -> list[str]:
    return [f.event, f.name, f.scale, f"{f.value:.4g}", f"{f.low:.4g} to {f.high:.4g}"]


def _summary(result: FitResult) -> list[str]:
    r, K = result.report, len(result.clustering.names)
    lines = [
        f"{r.rows:,} rows of {r.customers:,} customers, {r.first_day} to {r.last_day}; "
        f"{len(result.clustering.names)} clusters: "
        + ", ".join(
            f"{name} ({int(result.cells.customers[k] + result.cells.customers[K + k]):,})"
            for k, name in enumerate(result.clustering.names)
        )
        + ".",
        f"Scenario {result.scenario.name}, hash {result.scenario.digest()[:12]}. Estimated on all customers; "
        "judged on customers held out of a second estimate.",
    ]
    return lines if r.causal else [*lines, NON_CAUSAL]


def markdown(result: FitResult) -> str:
    """The report as Markdown."""
    lines = [f"# Fit of {result.scenario.name}", ""]
    for line in _summary(result):
        lines += [line, ""]
    for title, sentence, columns, rows in _tables(result):
        lines += [f"## {title}", "", sentence, ""]
        if rows:
            lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
            lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
        else:
            lines += ["None.", ""]
    return "\n".join(lines)


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2430;max-width:68rem;margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;font-size:.88rem}
th,td{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #e3e7ee}th{color:#566}
.warn{background:#fff4e0;border-left:4px solid #d98200;padding:.7rem 1rem}
.plots{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0}figcaption{font-size:.85rem;color:#566}
"""


def page(result: FitResult) -> str:
    """The report as one HTML file."""
    body = [f"<h1>Fit of {html.escape(result.scenario.name)}</h1>"]
    for line in _summary(result):
        mark = ' class="warn"' if line == NON_CAUSAL else ""
        body.append(f"<p{mark}>{html.escape(line)}</p>")
    body.append("<h2>Predicted and observed, held-out customers</h2><div class=plots>")
    body += [_plot(c) for c in calibrations(result)]
    body.append("</div>")
    for title, sentence, columns, rows in _tables(result):
        body.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(sentence)}</p>")
        body.append(_html_table(columns, rows) if rows else "<p>None.</p>")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Fit of {html.escape(result.scenario.name)}"
        f"</title><style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )


def _html_table(columns: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _plot(c: Calibration) -> str:
    """Deciles against the diagonal; the area of a dot is not meant: all carry a tenth."""
    top = max(*c.predicted, *c.observed, 1e-9) * 1.08
    side, edge = 190, 34

    def at(x: float, y: float) -> str:
        return f'cx="{edge + side * x / top:.1f}" cy="{8 + side * (1 - y / top):.1f}"'

    dots = "".join(
        f'<circle {at(p, o)} r="4" fill="#2a6fb0" fill-opacity=".75"><title>{p:.4f} predicted, '
        f"{o:.4f} observed</title></circle>"
        for p, o in zip(c.predicted, c.observed, strict=True)
    )
    return (
        f'<figure><svg width="{side + edge + 12}" height="{side + 36}" role="img" '
        f'aria-label="calibration of {c.event}"><rect x="{edge}" y="8" width="{side}" height="{side}" '
        f'fill="none" stroke="#c8cfda"/><line x1="{edge}" y1="{8 + side}" x2="{edge + side}" y2="8" '
        f'stroke="#c8cfda"/>{dots}'
        f'<text x="{edge}" y="{side + 24}" font-size="11">0</text>'
        f'<text x="{edge + side}" y="{side + 24}" font-size="11" text-anchor="end">{top:.3g}</text>'
        f'<text x="{edge - 4}" y="16" font-size="11" text-anchor="end">{top:.2g}</text></svg>'
        f"<figcaption>{c.event}: {c.trials:,} trials, mean error {c.error:.5f}</figcaption></figure>"
    )
