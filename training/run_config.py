"""The run: which learner, on which scenario and clusters, with which seed, written where.

The problem is the scenario's; this is everything else a run needs to be repeated. Command-line
options override single keys.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from envs.errors import ConfigError
from envs.files.document import Document, did_you_mean, read_document
from envs.files.schema_errors import validated
from envs.scenario.schema import Name, Strict

if TYPE_CHECKING:  # torch is slow to import, and not needed to read a config
    from training.learner import Learner

# YAML reads an unquoted off as false
Tracking = Annotated[str, BeforeValidator(lambda given: "off" if given is False else given)]


class RunConfig(Strict):
    """A run config, `configs/training/*.yaml`."""

    learner: Name
    settings: dict[str, Any] = {}
    scenario: str
    objective: Name | None = None  # None: the scenario's default
    clusters: list[Name] = []  # empty: all of them
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    out: str = "runs/latest"
    tracking: Tracking = "sqlite:///mlruns.db"  # an MLflow tracking URI, or `off`
    experiment: str = "journey"
    workers: Annotated[int, Field(ge=1, le=64)] = 2  # jobs at a time, one thread each
    engine: Name = "process"  # a module of training.runs.engines
    checkpoint_seconds: Annotated[float, Field(ge=0.0)] = 30.0  # between checkpoints of a cluster
    exploration: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    max_regret: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01  # share of V* − J0

    def digest(self) -> str:
        """SHA-256 of what decides the result: not where it is written or tracked."""
        elsewhere = {"out", "tracking", "experiment", "workers", "engine", "checkpoint_seconds"}
        body = self.model_dump(mode="json", exclude=elsewhere)
        return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def learner_names() -> list[str]:
    """Every learner there is: one module each in `training.learners`, found and not imported."""
    learners = importlib.import_module("training.learners")
    return sorted(module.name for module in pkgutil.iter_modules(learners.__path__))


def load_run(path: str | Path, **overrides: object) -> RunConfig:
    """Read and check a run config; overrides that are None leave the file's value."""
    document = read_document(path, ConfigError)
    data = document.data
    given = {key: value for key, value in overrides.items() if value is not None}
    if isinstance(data, dict):
        data = data | given
    config = validated(RunConfig, document, ConfigError, data)
    # defaults are written out: a run is what it did, also after a default changes
    settings = settings_of(config, document).model_dump(mode="json")
    return config.model_copy(update={"settings": settings})


def learner_module(name: str, where: str = "") -> Learner:
    """The learner's module; raises `ConfigError` when there is none of that name."""
    known = learner_names()
    if name not in known:
        raise ConfigError(
            "unknown learner", where=where, got=name, expected=f"one of {', '.join(known)}",
            hint=did_you_mean(name, known),
        )  # fmt: skip
    module: Any = importlib.import_module(f"training.learners.{name}")
    learner: Learner = module
    return learner


def settings_of(config: RunConfig, document: Document | None = None) -> Strict:
    """The learner's own settings, checked against its schema."""
    document = document or Document({}, "settings")
    model = learner_module(config.learner, document.at(("learner",))).Settings
    return validated(model, document, ConfigError, config.settings, lambda key: ("settings", *key))
