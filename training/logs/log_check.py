"""What is in a log, what is wrong with it, and what `fit` would do about it.

Counts come from reading and from one replay; a fault above the mapping's `max_share` of rows
is refused. Whether channel effects may be read as causal is decided here as well: only where
decisions carry their propensity.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from envs.arrays import Ints
from envs.errors import GateError
from envs.scenario.events import Kind
from envs.timeline.replay import replay
from envs.timeline.rows import FAULTS
from training.logs.prepare import Prepared

TREATED = {
    "duplicate_ids": "only the first event of an id counts",
    "contacts_without_consent": "folded as they happened; the model never repeats them",
    "responses_without_contact": "folded, but the answer to no contact is in no likelihood",
    "refunds_without_purchase": "dropped",
    "resolutions_without_request": "change nothing",
    "events_after_churn": "restart the customer where the scenario names a returning stage, else ignored",
    "illegal_actions": "kept: the log did what the scenario's rules forbid",
    "late_responses": "folded; the response window was over",
    "responses_to_another_contact": "folded; a newer contact was in play",
    "offers_replaced": "the newest offer is in hand",
    "days_with_several_purchases": "one purchase of the summed value",
    "further_contacts_of_a_day": "folded; their response, opt-out and resolution count",
    "opt_outs_without_contact": "folded; no contact explains them",
    "further_requests_of_a_day": "folded; the first counts",
    "stage_moves_outside_the_model": "folded; the day's draw is left out",
    "days_with_a_survey": "folded; the model does not draw them",
    "refunds": "taken off the customer's last purchase, or dropped, as the mapping says",
    "rows_without_a_rule": "left out",
    "attributes_known_too_late": "left out: features come from before the first modelled day",
    "other_currencies": "values are taken as they stand",
    "unknown_touchpoints": "a contact of another system: it tires, it is not an action",
}
GATED = (
    "contacts_without_consent", "responses_without_contact", "duplicate_ids", "refunds_without_purchase",
)  # fmt: skip
"""Faults that `fit` refuses above the mapping's `max_share` of rows."""


@dataclass(frozen=True)
class Finding:
    """One count, its share of the raw rows, and what is done about it."""

    name: str
    count: int
    share: float
    gated: bool
    refused: bool
    treatment: str


@dataclass(frozen=True)
class LogReport:
    """The document of `journey check LOG`."""

    rows: int
    customers: int
    first_day: dt.date
    last_day: dt.date
    kinds: dict[str, int]
    channels: dict[str, int]
    findings: tuple[Finding, ...]
    max_share: float
    decisions: int
    propensities: int

    @property
    def causal(self) -> bool:
        """Every decision carries its propensity, so channel effects were randomised."""
        return self.decisions > 0 and self.propensities == self.decisions

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What `fit` would refuse."""
        return tuple(f for f in self.findings if f.refused)

    def document(self) -> dict[str, object]:
        """JSON types."""
        return {
            "rows": self.rows,
            "customers": self.customers,
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
            "kinds": self.kinds,
            "channels": self.channels,
            "decisions": self.decisions,
            "decisions_with_propensity": self.propensities,
            "channel_effects": "randomised" if self.causal else "non-causal: decisions lack propensities",
            "max_share": self.max_share,
            "findings": [vars(f) for f in self.findings],
            "would_fit": not self.refusals,
        }


def inspect(prepared: Prepared) -> LogReport:
    """One replay of the log with the scenario's own constants, and its counts."""
    blocks = replay(prepared.columns, prepared.loaded.scenario, prepared.plan, prepared.starts)
    return report_of(prepared, (block.faults for block in blocks))


def report_of(prepared: Prepared, counts_of_blocks: Iterable[dict[str, int]]) -> LogReport:
    """The report from the faults of a replay that is run anyway."""
    faults = dict.fromkeys(FAULTS, 0)
    for block in counts_of_blocks:
        for name, count in block.items():
            faults[name] += count
    columns, mapping = prepared.columns, prepared.loaded.mapping
    ours = columns.kind == int(Kind.DECISION)
    counts = {
        "duplicate_ids": prepared.duplicate_ids,
        "contacts_without_consent": faults.pop("contacts_without_consent"),
        "responses_without_contact": faults.pop("responses_without_contact"),
        "refunds_without_purchase": prepared.refunds_without_purchase,
        **faults,
        "refunds": prepared.refunds,
        "rows_without_a_rule": prepared.unmatched,
        "attributes_known_too_late": prepared.late_attributes,
        "other_currencies": _other_currencies(prepared),
        "unknown_touchpoints": int(((columns.kind == int(Kind.CONTACT)) & (columns.action < 0)).sum()),
    }
    day = dt.date(1970, 1, 1)
    return LogReport(
        rows=prepared.raw_rows,
        customers=len(columns.customers),
        first_day=day + dt.timedelta(days=prepared.plan.first_day),
        last_day=day + dt.timedelta(days=prepared.plan.last_day),
        kinds=_tally(columns.kind, [k.name.lower() for k in Kind]),
        channels=_tally(
            columns.channel[columns.kind == int(Kind.CONTACT)],
            [c.name for c in prepared.loaded.scenario.channels],
        ),
        findings=tuple(
            _finding(name, count, prepared.raw_rows, mapping.max_share)
            for name, count in counts.items()
            if count
        ),
        max_share=mapping.max_share,
        decisions=int(ours.sum()),
        propensities=int(np.isfinite(columns.propensity[ours]).sum()),
    )


def gate(report: LogReport) -> None:
    """Raise `GateError` with every fault above `max_share`."""
    if report.refusals:
        told = "; ".join(f"{f.name} {f.count:,} ({f.share:.1%} of rows)" for f in report.refusals)
        raise GateError(
            f"log refused: {told}: at most {report.max_share:.1%} (mend the log or the mapping's consent and "
            "names, or raise max_share; journey check shows every count)"
        )


def _finding(name: str, count: int, rows: int, limit: float) -> Finding:
    share, gated = count / max(rows, 1), name in GATED
    return Finding(name, count, share, gated, gated and share > limit, TREATED[name])


def _tally(numbers: Ints, names: list[str]) -> dict[str, int]:
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=False) if count}


def _other_currencies(prepared: Prepared) -> int:
    counts = pc.value_counts(prepared.log["currency"]).to_pylist()
    own = (None, prepared.loaded.mapping.currency)
    return sum(entry["counts"] for entry in counts if entry["values"] not in own)
