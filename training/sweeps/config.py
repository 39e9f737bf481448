"""A sweep: a run config, the settings to search with their ranges, and how long to search.

The file is a run config with more keys, so everything a run may be told a sweep may be told.
What a trial is and how trials are chosen stand in `sweep.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from envs.errors import ConfigError
from envs.files.document import Document, did_you_mean, read_document
from envs.files.schema_errors import validated
from envs.scenario.fields import Strict
from training.run_config import RunConfig, learner_module, settings_of


class Suggests(Protocol):
    """What proposes values: an optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number."""
        ...

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        """One of these."""
        ...


class Dimension(Strict):
    """The values of one setting: from `low` to `high`, or one of `choices`."""

    low: float | None = None
    high: float | None = None
    log: bool = False  # as likely between 1 and 10 as between 10 and 100
    choices: Annotated[list[object], Field(min_length=2)] | None = None

    def fault(self) -> str | None:
        """What is wrong with it, as what was expected."""
        if self.choices is not None:
            ranged = self.low is not None or self.high is not None or self.log
            return "choices, or low and high" if ranged else None
        if self.low is None or self.high is None:
            return "low and high, or choices"
        if not self.low < self.high:
            return "low below high"
        return "low above 0 for a log scale" if self.log and self.low <= 0.0 else None

    def ends(self) -> list[object]:
        """Values that must be legal settings."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


class SweepConfig(RunConfig):
    """A sweep config, `configs/training/sweep.yaml`."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    trials: Annotated[int, Field(ge=1, le=100_000)]
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)] = [0, 1]
    pruner: Literal["median", "hyperband", "none"] = "median"
    startup_trials: Annotated[int, Field(ge=1)] = 5  # drawn at random, never pruned
    sampler_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def identity(self) -> str:
        """SHA-256 of what decides every trial: a sweep may be gone on with while this is the same."""
        keys = {"space", "seeds", "pruner", "startup_trials", "sampler_seed"}
        body = self.model_dump(mode="json", include=keys) | {"run": self.run_with({}, 0).digest()}
        return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def run_with(self, params: Mapping[str, object], seed: int) -> RunConfig:
        """The run of these settings and this seed."""
        own = {key: getattr(self, key) for key in RunConfig.model_fields}
        return RunConfig(**own | {"settings": dict(self.settings) | dict(params), "seed": seed})

    def propose(self, trial: Suggests) -> dict[str, object]:
        """Settings for one trial, one of every dimension."""
        return {name: self._proposed(trial, name, dimension) for name, dimension in self.space.items()}

    def _proposed(self, trial: Suggests, name: str, dimension: Dimension) -> object:
        if dimension.choices is not None:
            labels = {json.dumps(choice): choice for choice in dimension.choices}  # lists are no categories
            return labels[trial.suggest_categorical(name, list(labels))]
        low, high = dimension.low, dimension.high
        if low is None or high is None:
            raise ValueError(f"space.{name}: {dimension.fault()}")
        if isinstance(self._setting(name, low), int):
            return trial.suggest_int(name, int(low), int(high), log=dimension.log)
        return trial.suggest_float(name, low, high, log=dimension.log)

    def _setting(self, name: str, value: object) -> object:
        """The value as the learner's settings take it."""
        return getattr(settings_of(self.run_with({name: value}, 0)), name)


def load_sweep(path: str | Path, **overrides: object) -> SweepConfig:
    """Read and check a sweep config; overrides that are None leave the file's value."""
    document = read_document(path, ConfigError)
    data = document.data
    if isinstance(data, dict):
        if "seed" in data:
            where = document.at(("seed",))
            raise ConfigError("seed: a sweep has seeds", expected="seeds: [0, 1]", hint=where)
        data = data | {key: value for key, value in overrides.items() if value is not None}
    config = validated(SweepConfig, document, ConfigError, data)
    settings = settings_of(config, document).model_dump(mode="json")
    config = config.model_copy(update={"settings": settings})
    _check_space(config, document)
    return config


def _check_space(config: SweepConfig, document: Document) -> None:
    """Every dimension is a setting of the learner, and its ends are legal."""
    model = learner_module(config.learner).Settings
    for name, dimension in config.space.items():
        at = document.at(("space", name))
        if name not in model.model_fields:
            known = sorted(model.model_fields)
            hint = did_you_mean(name, known) or f"settings of {config.learner}: {', '.join(known)}"
            raise ConfigError(f"space.{name}: no such setting", hint=f"{at}; {hint}")
        fault = dimension.fault()
        if fault is not None:
            raise ConfigError(f"space.{name}", expected=fault, hint=at)
        for value in dimension.ends():
            validated(model, document, ConfigError, dict(config.settings) | {name: value}, _within(name))


def _within(name: str) -> Callable[[tuple[str | int, ...]], tuple[str | int, ...]]:
    """Complaints about a proposed setting are complaints about its dimension."""
    return lambda key: ("space", name) if key[:1] == (name,) else ("settings", *key)
