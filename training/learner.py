"""What every learner is given, and what it hands back.

A learner is one module in `training.learners` with `Settings` (its keys in a run config) and
`learn(problem, settings, report)`. Judging, values, export and tracking are the same for all,
so adding a learner is adding one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.journey.journey import Journey, refuse_hidden
from envs.scenario.schema import Strict
from envs.solve.baselines import service_only
from envs.solve.kernel import Kernel, build_kernel, legal_masks, state_observations
from envs.solve.references import start_value
from envs.solve.solver import Solution, solve
from training.network import PolicyNetwork


@dataclass(frozen=True)
class Problem:
    """One cluster under one objective. M consent patterns, S kernel states, A actions.

    Everything exact is computed when first asked for, so a learner that must not plan need
    not pay for it.
    """

    journey: Journey
    objective: str
    seed: int
    shared: Path | None = None  # a folder that the jobs of a run have in common

    @cached_property
    def weights(self) -> Floats:
        """(R,) reward weights."""
        out: Floats = self.journey.weights(self.objective)
        return out

    @cached_property
    def kernel(self) -> Kernel:
        """The exact model; raises `ScenarioError` where it is too large, or types are hidden."""
        refuse_hidden(self.journey)
        return build_kernel(self.journey)

    @cached_property
    def solution(self) -> Solution:
        """The optimum."""
        return solve(self.kernel, self.weights)

    @cached_property
    def service_only(self) -> Ints:
        """(M, S) the policy of J0: no marketing, every open request answered."""
        out: Ints = service_only(self.kernel)
        return out

    @cached_property
    def observations(self) -> Floats:
        """(M·S, F) float32, consent pattern by consent pattern."""
        return np.concatenate([state_observations(self.kernel, m) for m in range(self.blocks)])

    @cached_property
    def legal(self) -> Mask:
        """(M·S, A) booleans in the same order."""
        return np.concatenate([legal_masks(self.kernel, m) for m in range(self.blocks)])

    def value_of(self, policy: Array) -> float:
        """Exact value from d0 of (M, S) actions or (M, S, A) probabilities."""
        return start_value(self.kernel, policy, self.weights)

    @property
    def blocks(self) -> int:
        """M."""
        return len(self.kernel.consents)

    @property
    def states(self) -> int:
        """M·S."""
        return self.blocks * self.kernel.states


@dataclass(frozen=True, slots=True)
class Point:
    """Where learning stands: the share done, and metrics at this many samples."""

    share: float
    samples: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


class Report(Protocol):
    """How a learner tells of its progress, and goes on where an interrupted run of the job stopped.

    A state is nested dicts, lists and tuples of tensors, numpy arrays, numbers, strings and bytes.
    """

    def __call__(self, point: Point) -> None:
        """Tell where learning stands."""
        ...

    def saved(self) -> dict[str, Any] | None:
        """The state an interrupted run of this job was left in; None: begin at the beginning."""
        ...

    def offer(self, state: Callable[[], Mapping[str, object]]) -> None:
        """Called between updates, wherever learning could go on from `state()`.

        Whether it is called and written is not the learner's business. Raises `Interrupted`
        after writing it when the user wants to stop.
        """
        ...


@dataclass(frozen=True)
class Table:
    """A planned policy: the greedy action and the value of every state."""

    actions: Ints  # (M, S) int8
    values: Floats  # (M, S)


@dataclass(frozen=True)
class Learned:
    """A policy, not yet judged; either a network or a table.

    A network's policy trunk is final; its value trunk is fitted at export, to the exact Q of
    the policy it turned out to be.
    """

    policy: PolicyNetwork | Table
    samples: int = 0  # customer-days simulated
    correction: PolicyNetwork | None = None  # of a prior's logits, where the table is made of both
    shown_beside: dict[str, Ints] = field(default_factory=dict)  # policies (M, S), not baselines
    notes: dict[str, Any] = field(default_factory=dict)  # what else the run's document should say


class Learner(Protocol):
    """A module of `training.learners`."""

    Settings: type[Strict]

    def learn(self, problem: Problem, settings: Any, report: Report) -> Learned:  # noqa: ANN401 - its own
        """Learn a policy; deterministic in (problem, settings), interrupted or not."""
        ...
