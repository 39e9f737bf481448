"""Who decides while a log is simulated: a policy or a mixture of policies by probabilities.

`business_rules`, `random_legal` and every other simple baseline, a bundle's folder, or a
mixture of them such as `business_rules:0.7+random_legal:0.3`: at each decision one of the
parts is drawn with its weight, so the propensity of an action is the weighted sum.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.compiled import compiled
from envs.day.masks import unpack
from envs.day.rng import BEHAVIOR, day_key, uniform
from envs.errors import UserError
from envs.files.document import did_you_mean
from envs.journey.journey import Journey, mean_journey
from envs.journey.state import COLUMN
from envs.policy.policy import Bundle, load_bundle, serving_probabilities
from envs.solve.baselines import baselines, business_rules, service_only
from envs.solve.kernel import Kernel, build_kernel

NAMES = (
    "service_only", "never", "round_robin", "business_rules", "random_legal", "myopic", "best_single_action",
)  # fmt: skip


class Decider(Protocol):
    """Action probabilities of one cluster's behaviour policy."""

    def __call__(self, states: Ints, observations: Floats, legal: Ints) -> Floats:
        """(N, A) of (N, 12) states, (N, F) observations and (N,) legal bits."""
        ...


def deciders(spec: str, where: str = "--policy") -> Callable[[Journey], Decider]:
    """The behaviour policy a command line names, cluster by cluster; raises `UserError`."""
    texts = [text.strip() for text in spec.split("+")]
    parts = [_part(text, len(texts) > 1, where) for text in texts]
    total = sum(weight for weight, _ in parts)
    if abs(total - 1.0) > 1e-9:
        raise UserError("weights of the mixture do not sum to 1", where=where, got=round(total, 6))

    def of(journey: Journey) -> Decider:
        members = [(weight, build(journey)) for weight, build in parts]

        def mixture(states: Ints, observations: Floats, legal: Ints) -> Floats:
            out = np.zeros((len(legal), len(journey.actions)))
            for weight, member in members:
                out += weight * member(states, observations, legal)
            return out

        return mixture

    return of


def _part(text: str, mixed: bool, where: str) -> tuple[float, Callable[[Journey], Decider]]:
    name, _, share = text.rpartition(":") if mixed else (text, "", "1")
    try:
        weight = float(share)
    except ValueError:
        raise UserError("not a weight", where=where, got=share, expected="NAME:0.7+NAME:0.3") from None
    if not 0.0 < weight <= 1.0:
        raise UserError("weight out of range", where=where, got=weight, expected="above 0, at most 1")
    if name == "random_legal":
        return weight, _random_legal
    if name in NAMES:
        return weight, lambda journey: _table(journey, name)
    if not Path(name).is_dir():
        hint = did_you_mean(name, list(NAMES))
        raise UserError("no such policy", where=where, got=name, expected="a bundle or a name", hint=hint)
    bundle = load_bundle(name)
    return weight, lambda journey: served(bundle, journey, where)


def _random_legal(journey: Journey) -> Decider:
    def decide(states: Ints, observations: Floats, legal: Ints) -> Floats:
        mask = unpack(legal, len(journey.actions))
        return mask / mask.sum(axis=1, keepdims=True)

    return decide


def _table(journey: Journey, name: str) -> Decider:
    """A baseline as the solver knows it: actions (M, S) or probabilities (M, S, A).

    Where a cluster mixes hidden types, what has to be planned is planned on their mean model.
    """
    kernel = build_kernel(mean_journey(journey) if len(journey.personas) > 1 else journey)
    return by_table(kernel, _policy(kernel, name))


def by_table(kernel: Kernel, policy: Array) -> Decider:
    """Who decides by the solver's actions (M, S) or probabilities (M, S, A)."""
    rules = kernel.journey.rules
    strides = np.asarray(rules.strides)
    block = np.full(int(rules.sizes[COLUMN.consent]), -1)
    block[kernel.consents] = np.arange(len(kernel.consents))
    eye = np.eye(kernel.actions)

    def decide(states: Ints, observations: Floats, legal: Ints) -> Floats:
        chosen = policy[block[states[:, COLUMN.consent]], states.astype(np.int64) @ strides]
        return eye[chosen] if chosen.ndim == 1 else chosen

    return decide


def _policy(kernel: Kernel, name: str) -> Array:
    if name == "business_rules":
        return business_rules(kernel, service_only(kernel))
    return baselines(kernel, kernel.journey.weights())[name]


def served(bundle: Bundle, journey: Journey, where: str) -> Decider:
    """What the service would do with this bundle, exploration included."""
    policy, entry = bundle.policy_for(journey, where), bundle.manifest.clusters[journey.cluster.name]

    def decide(states: Ints, observations: Floats, legal: Ints) -> Floats:
        mask = unpack(legal, len(journey.actions))
        probabilities, values = policy.evaluate(observations, mask)
        exploration = bundle.manifest.exploration
        return serving_probabilities(probabilities, values, mask, exploration, entry.max_regret)

    return decide


@compiled
def draw(probabilities: Any, seed: int, customers: Any, days: Any, actions: Any, propensities: Any) -> None:
    """One action a row, by the customer's own stream; fills `actions` (N,) and `propensities`."""
    for i in range(len(customers)):
        u = uniform(day_key(seed, customers[i], days[i]), BEHAVIOR)
        total, last = 0.0, 0
        for a in range(probabilities.shape[1]):
            if probabilities[i, a] > 0.0:
                total += probabilities[i, a]
                last = a
                if u < total:
                    break
        actions[i], propensities[i] = last, probabilities[i, last]
