"""What a fit knows about its own error: intervals, calibration and held-out likelihood.

Everything here is a typed figure; `report.py` writes them down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.arrays import Floats, Ints, Mask
from envs.day.chances import contact_row
from envs.journey.logits import sigmoid
from training.fit.cells import Cells, bernoulli
from training.fit.coefficients import EventFit
from training.fit.fit import FitResult
from training.fit.fold_search import judged
from training.fit.regressions import level_block, tables_of
from training.fit.terms import Block

Z95 = 1.959964
FEW = 100  # trials of an action below which its effect is mostly borrowed
DECILES = 10


@dataclass(frozen=True)
class Figure:
    """A rate or an odds ratio with its 95 % interval."""

    event: str
    name: str
    scale: str  # rate, or odds ratio
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Held-out customers: predicted against observed, by predicted decile."""

    event: str
    trials: int
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    weight: tuple[int, ...]

    @property
    def error(self) -> float:
        """Mean absolute difference, weighted by trials."""
        gap = np.abs(np.array(self.predicted) - np.array(self.observed))
        return float((gap * self.weight).sum() / max(sum(self.weight), 1))


@dataclass(frozen=True)
class Likelihood:
    """Held-out log-likelihood of one event, in nats, against one constant rate."""

    event: str
    trials: int
    fitted: float
    marginal: float

    @property
    def gain_per_1000(self) -> float:
        """Nats gained a thousand trials."""
        return 1000.0 * (self.fitted - self.marginal) / max(self.trials, 1)


@dataclass(frozen=True)
class Support:
    """How often an action went out in a cluster."""

    cluster: str
    action: str
    contacts: int


def never_seen(result: FitResult) -> list[tuple[str, str]]:
    """(event, stage or channel) whose rate is written as 0: watched, and it never happened."""
    out = []
    for event, fit in result.fits[0].fits.items():
        block = level_block(fit.model)
        out += [(event, block.labels[i]) for i in sorted(fit.never) if _seen(block)[i]]
    return out


def figures(fit: EventFit) -> list[Figure]:
    """Rates by channel or stage, and odds ratios of every other term."""
    out: list[Figure] = []
    model, starts = fit.model, fit.model.starts
    base = level_block(model).name
    for block in model.blocks:
        if block.name == "level":
            continue
        rate = block.name == base
        rows = np.zeros((len(block.labels), model.columns))
        rows[np.arange(len(block.labels)), np.arange(starts[block.name].start, starts[block.name].stop)] = 1.0
        if rate:
            rows[:, starts["level"]] = 1.0
        mean, error = fit.estimate.combined(rows)
        seen = _seen(block)
        for i, label in enumerate(block.labels):
            if seen[i] and not (rate and i in fit.never):
                out.append(_figure(model.event, label, rate, float(mean[i]), float(error[i])))
    return out


def _seen(block: Block) -> Mask:
    """Which levels of a term any cell carries: the others are the ridge's centre."""
    if block.index is None:
        return np.ones(len(block.labels), dtype=bool)
    return np.isin(np.arange(len(block.labels)), block.index)


def _figure(event: str, name: str, rate: bool, mean: float, error: float) -> Figure:
    ends = np.array([mean, mean - Z95 * error, mean + Z95 * error])
    value, low, high = (sigmoid(ends) if rate else np.exp(np.clip(ends, -30, 30))).tolist()
    return Figure(event, name, "rate" if rate else "odds ratio", value, low, high)


def calibrations(result: FitResult) -> list[Calibration]:
    """Of the estimate without the held-out customers, on them, all clusters together."""
    out = []
    K = len(result.clustering.names)
    for event in judged(result.skip):
        p: list[Any] = []
        n: list[Any] = []
        y: list[Any] = []
        for k, fit in enumerate(result.judged):
            table = getattr(tables_of(result.journey, fit.parameters), event)
            trials, events = result.cells.trials[event][K + k], result.cells.events[event][K + k]
            seen = trials > 0
            p.append(table[seen])
            n.append(trials[seen])
            y.append(events[seen])
        if sum(part.sum() for part in y):
            out.append(_calibration(event, np.concatenate(p), np.concatenate(n), np.concatenate(y)))
    return out


def _calibration(event: str, p: Floats, n: Ints, y: Ints) -> Calibration:
    """Cells sorted by prediction and cut into tenths of the trials."""
    order = np.argsort(p)
    p, n, y = p[order], n[order], y[order]
    tenth = np.minimum(((np.cumsum(n) - n / 2) * DECILES / n.sum()).astype(int), DECILES - 1)
    weight = np.bincount(tenth, n, DECILES)
    used = weight > 0
    predicted = np.bincount(tenth, n * p, DECILES)[used] / weight[used]
    observed = np.bincount(tenth, y, DECILES)[used] / weight[used]
    return Calibration(
        event, int(n.sum()), tuple(predicted.tolist()), tuple(observed.tolist()),
        tuple(int(w) for w in weight[used]),
    )  # fmt: skip


def likelihoods(result: FitResult) -> list[Likelihood]:
    """Held-out customers, all clusters: fitted against one constant rate an event and cluster."""
    out = []
    K = len(result.clustering.names)
    for event in judged(result.skip):
        fitted = marginal = trials = events = 0.0
        for k, fit in enumerate(result.judged):
            train, held = result.cells.group(k), result.cells.group(K + k)
            n, y = held.trials[event], held.events[event]
            events += float(y.sum())
            fitted += bernoulli(n, y, getattr(tables_of(result.journey, fit.parameters), event)[None])
            rate = _constant(train, event)
            marginal += bernoulli(n, y, np.full(n.shape, rate))
            trials += float(n.sum())
        if events:  # an event that never happens has nothing to explain
            out.append(Likelihood(event, int(trials), fitted, marginal))
    return out


def _constant(cells: Cells, event: str) -> float:
    return float((cells.events[event].sum() + 0.5) / (cells.trials[event].sum() + 1.0))


def supports(result: FitResult) -> list[Support]:
    """Contacts of every action in every cluster, from the opt-out and resolution trials."""
    out = []
    K, rules, actions = len(result.clustering.names), result.journey.rules, result.journey.actions
    fresh = contact_row.py_func(result.journey.machine, np.arange(len(actions)), 0)
    for k, name in enumerate(result.clustering.names):
        cells = result.cells.group(k, K + k)
        today = cells.trials["response"][0][fresh].sum(axis=1)
        replied = cells.trials["resolution"][0].sum(axis=1)
        for number, action in enumerate(actions):
            if not action.is_wait:
                service = rules.is_service[rules.action_touchpoint[number]]
                out.append(Support(name, action.key, int(replied[number] if service else today[number])))
    return out
