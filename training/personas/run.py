"""A cluster of hidden types, start to judged file: learned on the belief, judged by rollouts.

The counterpart of what `runs/cluster_run.py` does for observed clusters, chosen there. No exact
optimum exists, so there is no score: value and intervals stand beside the planners' and beside
an upper bound (`judge.py`). What is judged is the file, read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.arrays import Floats
from envs.errors import ConfigError
from envs.journey.journey import Journey
from envs.personas.models import Hidden
from envs.personas.rollouts import Interval
from envs.policy.bundle import ClusterEntry, Range, Simulated
from envs.policy.policy import NetworkPolicy
from envs.scenario.schema import Scenario
from envs.solve.paths import ideal_path
from envs.solve.solver import solve
from training.checkpoint import Checkpoint
from training.judging.export import Delivered
from training.learner import Point, Report
from training.learners import ppo
from training.personas import ppo as belief_ppo
from training.personas.env import Plan, baseline
from training.personas.export import action_values, parity, random_rows, to_file
from training.personas.judge import HiddenJudge, as_served, greedy
from training.personas.ppo import BeliefSettings, Corrected, best_of, choosing_seed
from training.run_config import RunConfig, settings_of

NO_SCORE = "hidden types have no exact optimum: values are simulated, beside an upper bound"
TESTED = 20_000  # random states and beliefs on which the file's values are compared
PLANS: tuple[Plan, ...] = ("mean", "qmdp")


def planned(hidden: Hidden, settings: object, seed: int, report: Report) -> Corrected:
    """A day's look ahead on the belief, then the mean model's plan or QMDP's: the better one."""
    plans = [Corrected(baseline(hidden, plan, temperature=0.1)) for plan in PLANS]
    best = best_of(hidden, plans, seed)
    report(Point(share=1.0, samples=0, seconds=0.0))
    return best


def learned(hidden: Hidden, settings: ppo.Settings, seed: int, report: Report) -> Corrected:
    """PPO as a correction of the look ahead on the mean model's plan."""
    return belief_ppo.learn(hidden, BeliefSettings(**settings.model_dump()), seed, report)


LEARNERS: Mapping[str, Callable[[Hidden, Any, int, Report], Corrected]] = {
    "planner": planned,
    "ppo": learned,
}
"""Which of `training.learners` know hidden types, and how; the settings are the learner's own."""


def refuse_unfit(config: RunConfig, scenario: Scenario, clusters: Sequence[str]) -> None:
    """Raise `ConfigError` where a cluster mixes hidden types and the learner cannot learn them."""
    mixed = [name for name in clusters if len(scenario.cluster(name).personas) > 1]
    if not mixed:
        return
    where = f"clusters.{mixed[0]}.personas"
    if config.learner not in LEARNERS:
        raise ConfigError(
            "the learner knows no hidden types", where=where, got=config.learner,
            expected=f"one of {', '.join(LEARNERS)}", hint="e.g. configs/training/personas.yaml",
        )  # fmt: skip
    settings = settings_of(config)
    if isinstance(settings, ppo.Settings) and (not settings.corrects or settings.shaping == "none"):
        what = "hidden types are learned as a correction of a plan"
        raise ConfigError(what, where=where, expected="expected rewards, a shaping and a prior")


def deliver(config: RunConfig, journey: Journey, objective: str, report: Checkpoint) -> Delivered:
    """Learn, export, read back, judge."""
    hidden = Hidden(journey, journey.weights(objective))
    policy = LEARNERS[config.learner](hidden, settings_of(config), config.seed, report)
    seconds = report.seconds
    name = f"{journey.cluster.name}.onnx"
    content = to_file(hidden, policy)
    file = NetworkPolicy(content, journey, name)
    judge = HiddenJudge(hidden, (config.seed, choosing_seed(config.seed)))
    samples = judge.samples(greedy(file))
    value, floor = judge.value(samples), judge.exact["service_only"]
    max_regret = config.max_regret * max(value.mean - floor, 0.0)
    served = judge.value(judge.samples(as_served(file, config.exploration, max_regret, config.seed)))
    entry = ClusterEntry(
        file=name,
        max_regret=max_regret,
        score=None,
        score_served=None,
        optimum=None,
        service_only=floor,
        value=value.mean,
        value_served=served.mean,
        value_error=values_error(hidden, policy, file, config.seed),
        belief=list(journey.encoding.beliefs),
        simulated=evidence(judge, samples),
        parity=parity(hidden, file, config.seed),
    )
    facts = {"train_seconds": seconds, "samples": policy.samples, "step": policy.step}
    return Delivered(name, content, entry, record(judge, entry, facts), paths(hidden))


def evidence(judge: HiddenJudge, samples: Floats) -> Simulated:
    """What the rollouts found."""
    return Simulated(
        reason=NO_SCORE,
        customers=judge.customers,
        days=judge.days,
        seed=judge.seed,
        value=as_range(judge.value(samples)),
        over={name: as_range(found) for name, found in judge.over(samples).items()},
        upper_bound=judge.exact["told_the_type"],
    )


def values_error(hidden: Hidden, policy: Corrected, file: NetworkPolicy, seed: int) -> float:
    """Largest error of the file's values as the baseline's, over random states and beliefs."""
    block, state, belief, observations = random_rows(hidden, TESTED, seed)
    exact = np.einsum("np,pna->na", belief, action_values(policy.base)[:, block, state])
    every = np.ones(exact.shape, dtype=bool)
    return float(np.abs(file.evaluate(observations, every)[1] - exact).max())


def record(judge: HiddenJudge, entry: ClusterEntry, facts: Mapping[str, object]) -> dict[str, object]:
    """Design §8's entry as far as there are such figures; intervals as `_low` and `_high`."""
    found, hidden = entry.simulated, judge.hidden
    if found is None:
        raise ValueError("an entry without its evidence")
    exact = {name: judge.exact[name] for name in ("service_only", "never", "mean_model")}
    others = {"mean_ahead": "ahead", "qmdp": "qmdp"}
    baselines = exact | {name: judge.value(judge.planners[key]).mean for name, key in others.items()}
    best = max(baselines, key=lambda name: baselines[name])
    flat = {"value": found.value} | {f"over_{name}": gain for name, gain in found.over.items()}
    ranges: dict[str, float] = {}
    for name, figure in flat.items():
        ranges |= {name: figure.mean, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {
        "name": hidden.journey.cluster.name,
        "states": len(hidden.kernels[0].consents) * hidden.kernels[0].states,
        "personas": list(hidden.journey.persona_names),
        "optimum": None,
        "service_only": entry.service_only,
        "never": judge.exact["never"],
        "upper_bound": found.upper_bound,
        "best_baseline": {"name": best, "value": baselines[best]},
        **ranges,
        "score": None,
        "no_score": found.reason,
        "edge": None,
        "money_gap": None,
        "value_served": entry.value_served,
        "score_served": None,
        "value_error": entry.value_error,
        "baselines": baselines,
        "shown_beside": {},
        "components": {},
        "share": hidden.journey.cluster.share,
        "file": "network",
        "train_seconds": facts["train_seconds"],
        "samples": facts["samples"],
        "notes": {"step": facts["step"], "judged_on": found.customers, "judged_days": found.days},
    }


def paths(hidden: Hidden) -> dict[str, object]:
    """The ideal path of the share-weighted mean of the types, under every objective; it says so."""
    kernel = hidden.mean_kernel
    out: dict[str, object] = {}
    for objective in hidden.journey.scenario.objectives:
        solution = solve(kernel, hidden.journey.weights(objective))
        path = ideal_path(kernel, solution.values, solution.actions)
        out[objective] = path | {"of": "the share-weighted mean of the hidden types"}
    return out


def as_range(found: Interval) -> Range:
    """For the manifest."""
    return Range(mean=found.mean, low=found.low, high=found.high)
