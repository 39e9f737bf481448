"""What off-policy estimators regress on: mean reward by (state, action), density by state.

Three shapes: a table with shrinkage, ridge with action interactions, gradient boosting.
Leaves out anything the estimator itself does (targets, folds in time, weights).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from envs.arrays import Floats, Ints


class Fitted(Protocol):
    """A fitted mean."""

    def predict(self, features: Floats) -> Floats:
        """(n, A) means of every action at (n, F) features."""
        ...


class OutcomeModel(Protocol):
    """A way to fit a mean by features and action."""

    def fit(self, features: Floats, actions: Ints, targets: Floats, count: int) -> Fitted:
        """From n rows and `count` actions A."""
        ...


def folds(customers: int, count: int, rng: np.random.Generator) -> Ints:
    """(N,) fold of each customer, sizes within one of each other."""
    return rng.permutation(np.arange(customers) % count)


def cross_fit(
    model: OutcomeModel, features: Floats, actions: Ints, targets: Floats, count: int, fold_of: Ints
) -> Floats:
    """(N, A) predictions, each row by a model that never saw its fold."""
    out = np.empty((len(targets), count))
    for fold in np.unique(fold_of):
        held, rest = fold_of == fold, fold_of != fold
        out[held] = model.fit(features[rest], actions[rest], targets[rest], count).predict(features[held])
    return out


class TableModel:
    """Mean by cell, shrunk to the action's mean by `prior` pseudo-rows.

    The first feature column is the cell's number, as in a tabular Markov decision process.
    """

    def __init__(self, cells: int, prior: float = 1.0) -> None:
        self.cells, self.prior = cells, prior

    def fit(self, features: Floats, actions: Ints, targets: Floats, count: int) -> Fitted:
        """Cell means (cells, A)."""
        cell = np.asarray(features)[:, 0].astype(np.int64)
        index = cell * count + actions
        sums = np.bincount(index, targets, self.cells * count).reshape(self.cells, count)
        rows = np.bincount(index, minlength=self.cells * count).reshape(self.cells, count)
        overall = float(np.mean(targets)) if len(targets) else 0.0
        seen = rows.sum(axis=0)
        center = np.where(seen > 0, sums.sum(axis=0) / np.maximum(seen, 1), overall)
        weight = rows + self.prior
        table = (sums + self.prior * center) / np.where(weight > 0, weight, 1.0)
        return _Table(np.where(weight > 0, table, center))


class _Table:
    def __init__(self, table: Floats) -> None:
        self.table = table

    def predict(self, features: Floats) -> Floats:
        return self.table[np.asarray(features)[:, 0].astype(np.int64)]


class RidgeModel:
    """Linear in features, with an intercept and slopes of its own for every action, shrunk.

    Features are standardised; the penalty is chosen by leave-one-out error (generalised
    cross-validation). `interactions` False leaves only the intercepts to the actions.
    """

    def __init__(
        self, interactions: bool = True, penalties: tuple[float, ...] = (10, 100, 1000, 10000)
    ) -> None:
        self.interactions, self.penalties = interactions, penalties

    def fit(self, features: Floats, actions: Ints, targets: Floats, count: int) -> Fitted:
        """Ridge over [z, 1(a), 1(a)·z]."""
        x = np.asarray(features, dtype=np.float64)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        design = _design((x - mean) / scale, actions, count, self.interactions)
        coefficients, intercept = _ridge(design, np.asarray(targets, dtype=np.float64), self.penalties)
        return _Ridge(coefficients, intercept, mean, scale, count, self.interactions)


def _design(z: Floats, actions: Ints, count: int, interactions: bool) -> Floats:
    chosen = np.eye(count)[actions]
    # an intercept shrinks less than a slope: its column is worth several features
    blocks = [z, 3.0 * chosen]
    if interactions:
        blocks.append((chosen[:, :, None] * z[:, None, :]).reshape(len(z), -1))
    return np.concatenate(blocks, axis=1)


def _ridge(design: Floats, targets: Floats, penalties: tuple[float, ...]) -> tuple[Floats, float]:
    """Coefficients (p,) and intercept at the penalty with the least leave-one-out error.

    One eigendecomposition of the p × p moments serves every penalty: the hat matrix's diagonal
    is Σ_j z_ij² / (λ_j + α) in the rotated design z (Golub, Heath, Wahba, 1979).
    """
    center, level = design.mean(axis=0), float(targets.mean())
    x, y = design - center, targets - level
    eigenvalues, rotation = np.linalg.eigh(x.T @ x)
    z = x @ rotation
    moments, squares = z.T @ y, z * z
    best, chosen = np.inf, np.zeros(len(moments))
    for penalty in penalties:
        shrink = 1.0 / (np.maximum(eigenvalues, 0.0) + penalty)
        hat = squares @ shrink + 1.0 / len(y)
        error = float(np.mean(((y - z @ (shrink * moments)) / (1.0 - hat)) ** 2))
        if error < best:
            best, chosen = error, shrink * moments
    coefficients = rotation @ chosen
    return coefficients, level - float(center @ coefficients)


class _Ridge:
    def __init__(
        self,
        coefficients: Floats,
        intercept: float,
        mean: Floats,
        scale: Floats,
        count: int,
        interactions: bool,
    ) -> None:
        f = len(mean)
        self.shared, self.offset = coefficients[:f], 3.0 * coefficients[f : f + count]
        slopes = coefficients[f + count :].reshape(count, f) if interactions else np.zeros((count, f))
        self.slopes, self.intercept, self.mean, self.scale = slopes, intercept, mean, scale

    def predict(self, features: Floats) -> Floats:
        z = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        return self.intercept + (z @ self.shared)[:, None] + self.offset + z @ self.slopes.T


class BoostingModel:
    """Gradient-boosted trees with the action as a categorical feature.

    `loss` "poisson" keeps predictions positive: that is how densities are fitted.
    """

    def __init__(
        self, loss: str = "squared_error", iterations: int = 60, leaves: int = 8, seed: int = 0
    ) -> None:
        self.loss, self.iterations, self.leaves, self.seed = loss, iterations, leaves, seed

    def fit(self, features: Floats, actions: Ints, targets: Floats, count: int) -> Fitted:
        """Trees of few leaves and many rows a leaf: rewards have heavy tails."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        x = np.column_stack([np.asarray(features, dtype=np.float64), actions])
        trees = HistGradientBoostingRegressor(
            loss=self.loss,
            max_iter=self.iterations,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=40,
            learning_rate=0.08,
            categorical_features=[x.shape[1] - 1] if count > 1 else None,
            early_stopping=False,
            random_state=self.seed,
        )
        trees.fit(x, targets)
        return _Trees(trees, count)


class _Predicts(Protocol):
    def predict(self, features: Floats) -> Floats: ...


class _Trees:
    def __init__(self, trees: _Predicts, count: int) -> None:
        self.trees, self.count = trees, count

    def predict(self, features: Floats) -> Floats:
        x = np.asarray(features, dtype=np.float64)
        columns = [self.trees.predict(np.column_stack([x, np.full(len(x), a)])) for a in range(self.count)]
        return np.column_stack(columns)
