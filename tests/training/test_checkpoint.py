"""A checkpoint is whole or absent, gives back what it was given, and belongs to one job."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import ConfigError, Interrupted
from training.checkpoint import Checkpoint, Identity, Unsaved, read_state, write_state
from training.learner import Point

JOB = Identity("run", "scenario", "keen", "lifetime_value", 0)
STATE = {"weights": torch.arange(3.0), "count": 7}


def never() -> dict[str, Any]:
    """A state nobody should ask for."""
    raise AssertionError("asked for")


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    state = {
        "arrays": [random.random(3).astype(t) for t in ("i1", "i2", "i4", "i8", "f4", "f8", "?", "u4")],
        "legacy": np.random.RandomState(0).get_state(),
        "tensor": torch.arange(4, dtype=torch.uint8),
        "nested": {0: (1, 2.5, None, True, "text", b"bytes")},
    }
    write_state(tmp_path / "s.pt", state)
    back = read_state(tmp_path / "s.pt")
    for one, other in zip(state["arrays"], back["arrays"], strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert back["nested"] == state["nested"]
    assert torch.equal(back["tensor"], torch.arange(4, dtype=torch.uint8))
    one, other = np.random.RandomState(1), np.random.RandomState(0)
    one.set_state(back["legacy"])
    assert one.random() == other.random()


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not PosixPath"):
        write_state(tmp_path / "s.pt", {"x": tmp_path})


@pytest.mark.parametrize("content", [b"", b"no archive", pickle.dumps(Path("code"))])
def test_a_damaged_or_foreign_file_is_a_user_error_and_runs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.pt").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_state(tmp_path / "s.pt")


def test_a_state_is_asked_for_only_when_it_is_time(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    Checkpoint(path, JOB, every_seconds=1e9).offer(never)
    assert not path.exists()
    Checkpoint(path, JOB, every_seconds=0.0).offer(lambda: STATE)
    saved = Checkpoint(path, JOB).saved()
    assert saved is not None
    assert saved["count"] == 7


def test_an_interrupt_writes_the_state_and_the_curve_first(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    report = Checkpoint(path, JOB, wanted=lambda: True)
    report(Point(0.5, 10, 1.0, {"value": 2.0}))
    with pytest.raises(Interrupted):
        report.offer(lambda: STATE)
    told: list[Point] = []
    again = Checkpoint(path, JOB, told.append)
    assert again.saved() is not None
    assert again.curve == told == [Point(0.5, 10, 1.0, {"value": 2.0})]
    assert again.seconds > report.seconds - 10.0
    assert again.began == report.began


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda job: Identity("other", *list(vars(job).values())[1:]), "another run hash"),
        (lambda job: Identity("run", "other", *list(vars(job).values())[2:]), "another scenario hash"),
    ],
)
def test_a_checkpoint_of_another_job_is_refused(
    tmp_path: Path, change: Callable[[Identity], Identity], words: str
) -> None:
    Checkpoint(tmp_path / "c.pt", JOB, every_seconds=0.0).offer(lambda: STATE)
    with pytest.raises(ConfigError, match=words):
        Checkpoint(tmp_path / "c.pt", change(JOB)).saved()


def test_another_number_of_threads_is_refused(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    Checkpoint(tmp_path / "c.pt", JOB, every_seconds=0.0).offer(lambda: STATE)
    try:
        torch.set_num_threads(before + 1)
        with pytest.raises(ConfigError, match="another threads"):
            Checkpoint(tmp_path / "c.pt", JOB).saved()
    finally:
        torch.set_num_threads(before)


def test_a_kill_while_writing_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(tmp_path / "s.pt", {"n": 1})

    def killed(value: Any, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_state(tmp_path / "s.pt", {"n": 2})
    assert read_state(tmp_path / "s.pt") == {"n": 1}


def test_a_run_that_keeps_nothing_asks_for_no_state() -> None:
    report = Unsaved()
    report(Point(1.0, 0, 0.0))
    report.offer(never)
    assert report.saved() is None
