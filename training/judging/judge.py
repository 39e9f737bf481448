"""What a policy file is worth, exactly: its greedy action, evaluated by the solver.

Reference values, the score and the edge of design §6, for the file as exported. Off-policy
estimates from a log are not made here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import envs.solve.references
from envs.arrays import Floats, Ints
from envs.policy.policy import Policy, serving_probabilities
from envs.scenario.schema import COMPONENTS
from envs.solve.evaluation import evaluate_policy, policy_values
from envs.solve.references import References
from envs.solve.sweeps import q_values
from training.judging.bandit import linear_bandit
from training.learner import Problem


@dataclass(frozen=True)
class Verdict:
    """One cluster's policy file, judged. Money is in objective units from d0."""

    value: float
    score: float | None
    edge: float | None
    value_served: float
    score_served: float | None
    money_gap: float | None  # V* − J, where the score is None
    components: dict[str, float]  # unweighted
    value_error: float  # largest error of the file's values
    agreement: float  # share of states with an optimal action, by the optimum's visits


def references(problem: Problem) -> References:
    """The optimum and the baselines, the learned bandit among them."""
    learned = {"bandit": linear_bandit(problem)}
    return envs.solve.references.references(problem.kernel, problem.weights, problem.solution, learned)


def bounds(problem: Problem) -> References:
    """V* and J0 alone: enough for the score of a policy that is still learning."""
    optimum = problem.solution.start_value(problem.kernel)
    floor = problem.value_of(problem.service_only)
    return References(optimum, floor, never=math.nan, baselines={"service_only": floor})


def answers(problem: Problem, policy: Policy) -> tuple[Ints, Floats, Floats]:
    """The file's greedy actions (M, S), probabilities and values (M, S, A) in every state."""
    shape = (problem.blocks, problem.kernel.states)
    probabilities, values = policy.evaluate(problem.observations, problem.legal)
    actions = probabilities.argmax(axis=1).astype(np.int8).reshape(shape)
    return actions, probabilities.reshape(*shape, -1), values.reshape(*shape, -1)


def exact_q(problem: Problem, actions: Ints) -> Floats:
    """(M, S, A) Q of a greedy policy; −inf where illegal."""
    values = policy_values(problem.kernel, actions, problem.weights)
    return np.array([q_values(problem.kernel, values, problem.weights, m) for m in range(problem.blocks)])


def judge(
    problem: Problem, policy: Policy, known: References, exploration: float, max_regret: float
) -> Verdict:
    """Score a policy read back from its file, greedy and as served."""
    actions, probabilities, values = answers(problem, policy)
    result = evaluate_policy(problem.kernel, actions, problem.weights)
    flat = (problem.states, -1)
    served = serving_probabilities(
        probabilities.reshape(flat), values.reshape(flat), problem.legal, exploration, max_regret
    ).reshape(probabilities.shape)
    value_served = problem.value_of(served)
    q = exact_q(problem, actions)
    legal = problem.legal.reshape(q.shape)
    score = known.score(result.value)
    optimal = evaluate_policy(problem.kernel, problem.solution.actions, problem.weights).occupancy
    same = actions == problem.solution.actions
    return Verdict(
        value=result.value,
        score=score,
        edge=known.edge(result.value),
        value_served=value_served,
        score_served=known.score(value_served),
        money_gap=known.optimum - result.value if score is None else None,
        components=dict(zip(COMPONENTS, result.components.tolist(), strict=True)),
        value_error=float(np.abs(np.where(legal, values - np.where(legal, q, 0.0), 0.0)).max()),
        agreement=float((optimal * same).sum() / optimal.sum()),
    )
