"""Reports that keep a learner's state on disk, so that an interrupted run can go on.

A checkpoint is one file: what the job was, the curve so far, the seconds spent and the learner's
own state, all plain values and tensors; nothing in it is code. It is written to a part file and
renamed, so that a kill at any moment leaves the previous one. What a state holds is the learner's
business; which jobs there are, the run's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.errors import ConfigError, Interrupted
from training.learner import Point

_ARRAY = "numpy array"  # the key that marks an array among tensors

Tell = Callable[[Point], None]


def _nothing(point: Point) -> None:
    """Progress nobody watches."""


class Unsaved:
    """A report of a run that keeps nothing: direct calls and tests."""

    def __init__(self, tell: Tell = _nothing) -> None:
        self._tell = tell

    def __call__(self, point: Point) -> None:
        """Pass it on."""
        self._tell(point)

    def saved(self) -> dict[str, Any] | None:
        """There is never anything to go on from."""
        return None

    def offer(self, state: Callable[[], Mapping[str, object]]) -> None:
        """Decline."""


@dataclass(frozen=True)
class Identity:
    """What must be the same for a checkpoint to be gone on from."""

    run_hash: str
    scenario_hash: str
    cluster: str
    objective: str
    seed: int


class Checkpoint:
    """A report that writes the state every so often, and at once when an interrupt is wanted.

    `curve` and `seconds` are those of the whole job, however often it was interrupted. Without a
    path nothing is written, and an interrupted job begins again. `judged` may add to a point
    what the learner need not know; the time it takes is not the job's.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Identity,
        tell: Tell = _nothing,
        wanted: Callable[[], bool] = lambda: False,
        every_seconds: float = 30.0,
    ) -> None:
        self.path, self.identity, self.every_seconds = path, identity, every_seconds
        self.curve: list[Point] = []
        self.began = time.time()  # seconds since the epoch
        self.judged: Callable[[Point], Point] = lambda point: point
        self._tell, self._wanted = tell, wanted
        self._before = 0.0
        self._clock = self._written = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Spent on this job so far."""
        return self._before + time.perf_counter() - self._clock

    def __call__(self, point: Point) -> None:
        """Keep the point of the curve and pass it on."""
        began = time.perf_counter()
        self.curve.append(self.judged(point))
        self._clock += time.perf_counter() - began
        self._tell(self.curve[-1])

    def saved(self) -> dict[str, Any] | None:
        """The state the job was left in, or None; raises `ConfigError` where it is another job's."""
        if self.path is None or not self.path.exists():
            return None
        content = read_state(self.path)
        self.check(content["job"])
        self.curve = [Point(**point) for point in content["curve"]]
        self.began, self._before = content["began"], content["seconds"]
        for point in self.curve[-1:]:
            self._tell(point)
        state: dict[str, Any] = content["state"]
        return state

    def offer(self, state: Callable[[], Mapping[str, object]]) -> None:
        """Write `state()` when it is time to; raises `Interrupted` when one is wanted."""
        wanted = self._wanted()
        if not wanted and time.perf_counter() - self._written < self.every_seconds:
            return
        if self.path is not None:
            curve = [asdict(point) for point in self.curve]
            facts = asdict(self.identity) | {"threads": torch.get_num_threads()}
            content = {"job": facts, "curve": curve, "began": self.began, "seconds": self.seconds}
            write_state(self.path, content | {"state": state()})
            self._written = time.perf_counter()
        if wanted:
            raise Interrupted(f"{self.identity.cluster}: stopped")

    def check(self, facts: Mapping[str, object]) -> None:
        """Raise `ConfigError` where `facts` are not this job's, here and now."""
        now = asdict(self.identity) | {"threads": torch.get_num_threads()}
        for key, then in facts.items():
            if now.get(key) != then:
                raise ConfigError(
                    f"the checkpoint belongs to another {key.replace('_', ' ')}", where=str(self.path),
                    got=now.get(key), expected=str(then), hint="without --resume the run starts anew",
                )  # fmt: skip


def write_state(path: Path, state: Mapping[str, object]) -> None:
    """Write a nested state of plain values, arrays and tensors; the file is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(_encoded(state), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote; runs no code, and raises `ConfigError` where it cannot be read."""
    try:
        content: dict[str, Any] = _decoded(torch.load(path, weights_only=True))
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "without --resume the run starts anew"
        raise ConfigError(f"the checkpoint cannot be read: {reason}", where=str(path), hint=hint) from None
    return content


def _encoded(value: Any) -> Any:
    """`value` as the tensors and plain values that are read back without running code."""
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_encoded(item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.Tensor)):
        return value
    raise TypeError(f"a checkpoint holds plain values, arrays and tensors, not {type(value).__name__}")


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_decoded(item) for item in value)
    return value
