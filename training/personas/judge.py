"""What a policy for hidden types is worth, beside the planners, on the same customers.

No exact score exists: nobody knows the best policy's value. The judge gives values by paired
rollouts (`envs/personas/rollouts.py`), each as the mean model's plan's, which is exact, plus the
paired difference to it, and the bound that nobody beats, a customer whose type is told. How a
policy was learned is not its business; record 005 and every training run use it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from envs.arrays import Floats, Ints
from envs.personas.models import Hidden
from envs.personas.rollouts import (
    Decide,
    Interval,
    Seen,
    days_to_simulate,
    interval,
    mean_ahead,
    qmdp,
    rollout_values,
    table,
)
from envs.policy.policy import Policy, serving_probabilities

CUSTOMERS, SEED = 4_000, 9_000
PLANNERS = ("qmdp", "mean", "ahead")


class HiddenJudge:
    """One cluster's judge; N customers whom no learner has met.

    `never_met` are seeds that a learner's customers were drawn from.
    """

    def __init__(self, hidden: Hidden, never_met: tuple[int, ...] = ()) -> None:
        self.hidden, self.customers = hidden, CUSTOMERS
        self.seed = next(seed for seed in range(SEED, SEED + len(never_met) + 1) if seed not in never_met)

    @property
    def days(self) -> int:
        """Simulated, of an infinite horizon: the rest weighs next to nothing."""
        return days_to_simulate(self.hidden.discount)

    @cached_property
    def exact(self) -> dict[str, float]:
        """Values from d0 that need no simulation; the last is told the type, and no policy reaches it."""
        of, service_only = self.hidden.values_of, self.hidden.service_only
        values = {
            "service_only": of(service_only),
            "never": of(np.zeros_like(service_only)),
            "mean_model": self.hidden.mean_values,
            "told_the_type": self.hidden.values,
        }
        return {name: self.hidden.from_start(value) for name, value in values.items()}

    @cached_property
    def planners(self) -> dict[str, Floats]:
        """(N,) value samples of the planners that do not learn."""
        hidden = self.hidden
        decide = {"qmdp": qmdp(hidden), "mean": table(hidden.mean_policy), "ahead": mean_ahead(hidden)}
        return rollout_values(hidden, decide, self.customers, self.seed)

    def samples(self, decide: Decide) -> Floats:
        """(N,) value samples of a policy, paired with every other's."""
        return rollout_values(self.hidden, {"policy": decide}, self.customers, self.seed)["policy"]

    def value(self, samples: Floats) -> Interval:
        """By the difference to the mean model's plan, whose own value is exact."""
        return shifted(interval(samples - self.planners["mean"]), self.exact["mean_model"])

    def over(self, samples: Floats) -> dict[str, Interval]:
        """What is gained over each planner, customer by customer."""
        return {name: interval(samples - self.planners[name]) for name in PLANNERS}

    def share(self, samples: Floats, upper: float) -> Interval:
        """Of the gap from QMDP to an upper bound; a ratio's interval, by its slope."""
        gained = samples - self.planners["qmdp"]
        gap = upper - (self.exact["mean_model"] + self.planners["qmdp"] - self.planners["mean"])
        share = float(gained.mean() / gap.mean())
        return shifted(interval((gained - share * gap) / gap.mean()), share)


def shifted(found: Interval, by: float) -> Interval:
    """The same interval elsewhere."""
    return Interval(found.mean + by, found.low + by, found.high + by)


def greedy(policy: Policy) -> Decide:
    """A file's greedy action."""
    return lambda seen: policy.evaluate(seen.observation, seen.legal)[0].argmax(axis=1)


def as_served(policy: Policy, exploration: float, max_regret: float, seed: int) -> Decide:
    """A file's sampler with its exploration; draws of its own."""
    random = np.random.default_rng(seed)

    def decide(seen: Seen) -> Ints:
        chances = serving_probabilities(
            *policy.evaluate(seen.observation, seen.legal), seen.legal, exploration, max_regret
        )
        cumulative = chances.cumsum(axis=1)
        drawn = random.random((len(chances), 1)) * cumulative[:, -1:]
        out: Ints = (cumulative <= drawn).sum(axis=1)
        return out

    return decide
