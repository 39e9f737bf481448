"""The folder of a run that is not finished: what it is, its checkpoints, its finished clusters.

It lies in the output folder from the first second of a run to its last; a finished run has
none. What a checkpoint holds is `checkpoint.py`'s business.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from envs.errors import ConfigError
from envs.scenario.schema import Scenario
from training.run_config import RunConfig

FOLDER = "checkpoints"

log = logging.getLogger(__name__)


def begin(out: Path, config: RunConfig, scenario: Scenario, resume: bool) -> Path:
    """The folder of this run, absolute: an earlier one's to resume, else a new and empty one.

    Raises `ConfigError` where there is nothing to resume, or a run of something else.
    """
    folder = (out / FOLDER).resolve()
    facts = {"run config": config.digest(), "scenario": scenario.digest()}
    if resume:
        _check(folder, facts)
        return folder
    if folder.exists():
        log.warning("starting anew: the unfinished run in %s is discarded", out)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    part = folder / "run.json.part"
    part.write_text(json.dumps(facts))
    part.replace(folder / "run.json")
    return folder


def end(folder: Path) -> None:
    """The run is finished: what it left is in the bundle."""
    shutil.rmtree(folder)


def _check(folder: Path, facts: dict[str, str]) -> None:
    """Only the run that was begun can be resumed."""
    record = folder / "run.json"
    anew = "without --resume the run starts anew"
    if not record.exists():
        raise ConfigError("no unfinished run to resume", where=str(folder.parent), hint=anew)
    for name, then in json.loads(record.read_text()).items():
        if facts[name] != then:
            raise ConfigError(
                f"the {name} is not that of the unfinished run", where=str(folder.parent),
                got=facts[name][:12], expected=then[:12], hint=f"resume with the same {name}; {anew}",
            )  # fmt: skip
