"""From a learned policy to the file that is judged and served.

The order matters: the policy is exported, read back and evaluated exactly; only then are its
values known, fitted and exported with it. What is scored is always the file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.policy.bundle import ClusterEntry, Parity
from envs.policy.policy import NetworkPolicy, Policy, TablePolicy
from envs.solve.references import References
from training.judging.judge import Verdict, answers, exact_q, judge, references
from training.judging.values import fit_values
from training.learner import Learned, Problem, Table
from training.network import PolicyNetwork, to_onnx

PARITY_ROWS = 16


@dataclass(frozen=True)
class Exported:
    """A cluster's file, its manifest entry and its evidence."""

    name: str  # of the file
    content: bytes
    entry: ClusterEntry
    verdict: Verdict
    known: References


@dataclass(frozen=True)
class Delivered:
    """What a cluster's training comes to, whatever kind of cluster it is."""

    file: str  # its name
    content: bytes
    entry: ClusterEntry
    record: dict[str, object]  # one entry of `clusters` in the run's document
    paths: dict[str, object]  # by objective


def export(
    problem: Problem,
    learned: Learned,
    exploration: float,
    regret_share: float,
    known: References | None = None,
) -> Exported:
    """Write, read back, judge; `regret_share` of V* − J0 is the largest gap explored.

    `known` saves computing the reference values where the caller has them.
    """
    cluster = problem.journey.cluster.name
    if isinstance(learned.policy, Table):
        name, content = f"{cluster}.npz", to_npz(problem, learned.policy)
        policy: Policy = TablePolicy(content, problem.journey, name)
    else:
        name, content = f"{cluster}.onnx", network_file(problem, learned.policy)
        policy = NetworkPolicy(content, problem.journey, name)
    known = known or references(problem)
    max_regret = regret_share * max(known.room, 0.0)
    verdict = judge(problem, policy, known, exploration, max_regret)
    entry = ClusterEntry(
        file=name,
        max_regret=max_regret,
        score=verdict.score,
        score_served=verdict.score_served,
        money_gap=verdict.money_gap,
        optimum=known.optimum,
        service_only=known.service_only,
        value=verdict.value,
        value_served=verdict.value_served,
        value_error=verdict.value_error,
        parity=parity(problem, policy),
    )
    return Exported(name, content, entry, verdict, known)


def network_file(problem: Problem, network: PolicyNetwork) -> bytes:
    """Export once to learn what the file does, fit its values, export again."""
    draft = NetworkPolicy(to_onnx(network), problem.journey, "draft")
    actions = answers(problem, draft)[0]
    q = exact_q(problem, actions).reshape(problem.states, -1)
    fit_values(network, problem.observations, q, actions.ravel(), problem.seed)
    return to_onnx(network)


def to_npz(problem: Problem, table: Table) -> bytes:
    """The exact table: greedy actions, V, and every legal action's gap to it."""
    q = exact_q(problem, table.actions)
    legal = np.isfinite(q)
    gaps = table.values[:, :, None] - np.where(legal, q, 0.0)
    # rounding may put an equal action above the chosen one; a gap is never negative
    stored = np.where(legal, np.maximum(gaps, 0.0), -1.0).astype(np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        consents=problem.kernel.consents,
        actions=table.actions,
        values=table.values,
        gaps=stored,
        scale=np.float64(1.0),
    )
    return buffer.getvalue()


def parity(problem: Problem, policy: Policy) -> Parity:
    """Answers that every reader of the file must reproduce."""
    random = np.random.default_rng(problem.seed)
    rows = random.integers(0, problem.states, PARITY_ROWS)
    observations = problem.observations[rows]
    probabilities: Any = policy.raw(observations)
    return Parity(observations=observations.tolist(), probabilities=probabilities.tolist())
