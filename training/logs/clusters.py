"""Who belongs together: a column that says so, or k-means on standardised attributes.

Attributes come from before the first modelled day (`prepare.py` sees to it). Customers without
every attribute get a cluster of their own, or the one the mapping declares. The result carries
the assignment that travels with the scenario, so a customer never seen is placed alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from envs.arrays import Floats, Ints
from envs.errors import LogError
from envs.scenario.schema import Assignment, Centroids
from training.logs.mapping import Clusters

EVERYONE, UNKNOWN = "everyone", "unknown"


@dataclass(frozen=True)
class Clustering:
    """K clusters, each customer's number among them, and how new customers are placed."""

    names: tuple[str, ...]
    labels: Ints  # (N,)
    assignment: Assignment
    described: dict[str, dict[str, float]]  # mean attributes of each cluster


def candidates(spec: Clusters, attributes: pd.DataFrame, seed: int) -> list[Clustering]:
    """The clusterings to choose from: one, except where k is to be found."""
    if spec.column is not None:
        return [_by_column(spec, attributes)]
    if spec.find is None:
        labels = np.zeros(len(attributes), np.int64)
        return [Clustering((EVERYONE,), labels, Assignment(default=EVERYONE), {EVERYONE: {}})]
    return [_by_means(spec, attributes, k, seed) for k in sorted(set(spec.find.k))]


def _by_column(spec: Clusters, attributes: pd.DataFrame) -> Clustering:
    column = str(spec.column)
    raw = attributes[column]
    names = {value: _name(value) for value in sorted(raw.dropna().unique(), key=str)}
    if len(set(names.values())) < len(names):
        raise LogError("cluster names that differ only in spelling", got=", ".join(map(str, names)))
    order = list(names.values())
    default = spec.default or (UNKNOWN if raw.isna().any() or not order else order[0])
    if default not in order:
        order.append(default)
    number = {name: i for i, name in enumerate(order)}
    labels = raw.map(lambda value: number[names[value]] if value in names else number[default])
    return Clustering(
        tuple(order),
        labels.to_numpy(np.int64),
        Assignment(default=default, column=column),
        {n: {} for n in order},
    )


def _name(value: object) -> str:
    """A value as a name of the scenario."""
    text = re.sub(r"[^a-z0-9]+", "_", str(value).strip().lower()).strip("_")
    return text if text[:1].isalpha() else f"c_{text}"


def _by_means(spec: Clusters, attributes: pd.DataFrame, k: int, seed: int) -> Clustering:
    wanted = list(spec.find.attributes) if spec.find else []
    frame = attributes[wanted]
    if any(frame[name].dtype == object for name in wanted):
        text = [name for name in wanted if frame[name].dtype == object]
        raise LogError(
            "not a number", where="clusters.find", got=", ".join(text), expected="kind: number or equals"
        )
    values = frame.to_numpy(dtype=float)
    usable = np.isfinite(values).all(axis=1)
    if usable.sum() < k:
        raise LogError("too few customers with attributes", got=int(usable.sum()), expected=f"at least {k}")
    mean, scale = values[usable].mean(axis=0), values[usable].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    points = (values[usable] - mean) / scale
    found = KMeans(n_clusters=k, n_init=4, random_state=seed).fit(points)
    # largest first, so that names do not depend on the order of initial centres
    rank = np.argsort(np.argsort(-np.bincount(found.labels_, minlength=k), kind="stable"))
    names = [f"group_{i + 1}" for i in range(k)]
    labels = np.full(len(values), -1, np.int64)
    labels[usable] = rank[found.labels_]
    default = spec.default or (UNKNOWN if not usable.all() else names[0])
    if default not in names:
        names.append(default)
    labels[~usable] = names.index(default)
    centers = {names[rank[i]]: [float(x) for x in found.cluster_centers_[i]] for i in range(k)}
    assignment = Assignment(
        default=default,
        centroids=Centroids(
            attributes=wanted,
            mean=[float(x) for x in mean],
            scale=[float(x) for x in scale],
            centers={name: centers[name] for name in names if name in centers},
        ),
    )
    described = {name: _means(values[labels == i], wanted) for i, name in enumerate(names)}
    return Clustering(tuple(names), labels, assignment, described)


def _means(values: Floats, names: list[str]) -> dict[str, float]:
    """Mean of each attribute among those who have it."""
    known = [values[np.isfinite(values[:, j]), j] for j in range(len(names))]
    return {name: float(column.mean()) for name, column in zip(names, known, strict=True) if len(column)}
