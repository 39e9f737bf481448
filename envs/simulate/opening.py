"""What a user of an environment names, checked once: the scenario, the cluster, the objective, the days.

One clear error each, the same for a single environment, a batch and the learners' adapter. Knows
neither Gymnasium nor a learner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path

from envs.arrays import Floats
from envs.errors import ConfigError, ScenarioError
from envs.files.document import did_you_mean
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.scenario.schema import Scenario

YEAR_DAYS = 365
MOST_SEED = 2**63


def open_journey(scenario: str | Path | Scenario | None, cluster: str | None = None) -> Journey:
    """The compiled journey of one cluster (default: the scenario's first); raises `ScenarioError`."""
    if isinstance(scenario, (str, Path)):
        problem = load_scenario(Path(scenario))
    elif isinstance(scenario, Scenario):
        problem = scenario
    else:
        raise ScenarioError(
            "not a scenario", where="scenario", got=type(scenario).__name__, expected="a file or a Scenario"
        )
    names = [c.name for c in problem.clusters]
    if cluster is not None and cluster not in names:
        raise unknown("cluster", cluster, names)
    return compile_journey(problem, names[0] if cluster is None else cluster)


def objective_weights(journey: Journey, objective: str | None) -> Floats:
    """(R,) weights of an objective (default: the scenario's); raises `ScenarioError`."""
    names = list(journey.scenario.objectives)
    if objective is not None and objective not in names:
        raise unknown("objective", objective, names)
    return journey.weights(objective)


def unknown(what: str, name: object, names: list[str]) -> ScenarioError:
    """The error of a name that the scenario does not have."""
    hint = did_you_mean(str(name), names)
    shown = "" if hint.startswith("one of") else f"one of {', '.join(names)}"
    return ScenarioError(f"unknown {what}", where=what, got=name, expected=shown, hint=hint)


def whole_number(value: object, where: str, least: int = 1) -> int:
    """A whole number of at least `least`; raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ConfigError(
            "not a length" if where.endswith(("days", "steps")) else "not a count",
            where=where, got=value, expected=f"a whole number, {least} or more",
        )  # fmt: skip
    return int(value)


def whole_seed(seed: object) -> int:
    """A seed as the simulator takes it; raises `ConfigError`."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < MOST_SEED:
        raise ConfigError("not a seed", where="seed", got=seed, expected="a whole number from 0 to 2^63 - 1")
    return int(seed)


def episode_length(episode_days: object, max_episode_steps: object = None) -> int:
    """Days of an episode; Gymnasium's name for it is taken too, and -1 there sets no limit of its own."""
    limit = None if max_episode_steps in (None, -1) else whole_number(max_episode_steps, "max_episode_steps")
    if episode_days is None:
        return YEAR_DAYS if limit is None else limit
    days = whole_number(episode_days, "episode_days")
    if limit is not None and limit != days:
        raise ConfigError(
            "two lengths of an episode", where="max_episode_steps", got=limit,
            expected=f"episode_days, {days}, or one of the two left out",
        )  # fmt: skip
    return days


def refuse_unknown(given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise `ConfigError` for the first keyword that an environment does not take."""
    for name, value in given.items():
        names = sorted(known)
        hint = did_you_mean(name, names) or f"it takes {', '.join(names)}"
        raise ConfigError("unknown argument of the environment", where=name, got=value, hint=hint)
