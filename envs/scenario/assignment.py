"""Which cluster a customer belongs to, from attributes known before the journey starts.

In order: a column that names the cluster, the first rule whose conditions all hold, the
nearest centre over standardised attributes, the declared default. Attributes that are
absent, not numbers where numbers are needed, or not finite, are unusable, never an error.
Finding clusters is training's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
import pandas as pd

from envs.arrays import Array, Floats, Ints, Mask
from envs.scenario.schema import AssignmentRule, Centroids, Condition, Scenario

UNASSIGNED = -1


def assign_cluster(scenario: Scenario, attributes: Mapping[str, object] | None) -> str:
    """The cluster of one customer; the default without usable attributes."""
    columns = {name: _objects([value]) for name, value in (attributes or {}).items()}
    return scenario.clusters[int(_assign(scenario, columns, 1)[0])].name


def assign_clusters(scenario: Scenario, frame: pd.DataFrame) -> pd.Series[str]:
    """The clusters of many customers, on the frame's index."""
    columns = {str(name): _objects(frame[name].tolist()) for name in frame.columns}
    names = np.array([cluster.name for cluster in scenario.clusters], dtype=object)
    assigned = names[_assign(scenario, columns, len(frame))]
    return pd.Series(assigned, index=frame.index, name="cluster", dtype="str")


def _assign(scenario: Scenario, columns: Mapping[str, Array], customers: int) -> Ints:
    """(N,) cluster numbers; the one implementation, for one customer and for many."""
    spec = scenario.assignment
    number = {cluster.name: i for i, cluster in enumerate(scenario.clusters)}
    out = np.full(customers, UNASSIGNED, dtype=np.int64)
    if spec.column is not None and spec.column in columns:
        out[:] = [number.get(_text(value), UNASSIGNED) for value in columns[spec.column]]
    for rule in spec.rules:
        out[(out == UNASSIGNED) & _holds(rule, columns, customers)] = number[rule.cluster]
    if spec.centroids is not None:
        nearest = _nearest(spec.centroids, columns, number, customers)
        out = np.where(out == UNASSIGNED, nearest, out)
    return np.where(out == UNASSIGNED, number[spec.default], out)


def _holds(rule: AssignmentRule, columns: Mapping[str, Array], customers: int) -> Mask:
    """(N,) where every condition of the rule holds."""
    held = np.ones(customers, dtype=bool)
    for name, condition in rule.when.items():
        if name not in columns:
            return np.zeros(customers, dtype=bool)
        held &= _matches(condition, columns[name])
    return held


def _matches(condition: Condition, values: Array) -> Mask:
    """(N,) where the value is present and lies in the range and the set."""
    held = np.array([not _is_absent(value) for value in values], dtype=bool)
    if condition.at_least is not None or condition.below is not None:
        numbers = _numbers(values)
        low = -np.inf if condition.at_least is None else condition.at_least
        high = np.inf if condition.below is None else condition.below
        held &= (numbers >= low) & (numbers < high)  # false for NaN
    if condition.one_of is not None:
        allowed = set(condition.one_of)
        held &= np.array([_text(value) in allowed for value in values], dtype=bool)
    return held


def _nearest(
    spec: Centroids, columns: Mapping[str, Array], number: Mapping[str, int], customers: int
) -> Ints:
    """(N,) nearest centre, ties to the first; `UNASSIGNED` unless every attribute is usable."""
    if any(name not in columns for name in spec.attributes):
        return np.full(customers, UNASSIGNED, dtype=np.int64)
    raw = np.stack([_numbers(columns[name]) for name in spec.attributes], axis=1)  # (N, F)
    points = (raw - np.array(spec.mean)) / np.array(spec.scale)
    centers = np.array(list(spec.centers.values()))  # (K, F), standardised
    clusters = np.array([number[name] for name in spec.centers], dtype=np.int64)
    usable = np.isfinite(points).all(axis=1)
    with np.errstate(over="ignore"):  # infinitely far is far
        distance = ((np.where(usable[:, None], points, 0.0)[:, None, :] - centers) ** 2).sum(axis=2)
    return np.where(usable, clusters[distance.argmin(axis=1)], UNASSIGNED)


def _objects(values: Sequence[object]) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _numbers(values: Array) -> Floats:
    """(N,) floats; NaN for whatever is not a number."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return float(value) if _is_number(value) else np.nan
    except OverflowError:  # an integer beyond any float
        return np.nan


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_absent(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (_is_number(value) and value != value)


def _text(value: object) -> str:
    """A value as rules write it: `3` for 3.0, `true` for True."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
