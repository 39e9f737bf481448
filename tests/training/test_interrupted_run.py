"""A run that is stopped, killed or spoiled, as a person meets it at a terminal."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.cli import main
from envs.errors import ConfigError
from envs.files.scenario_file import load_scenario
from envs.scenario.schema import Scenario
from training.interrupt import interruptible
from training.learner import Point
from training.learners import planner
from training.run_config import RunConfig, load_run
from training.runs.cluster_run import Job, train_cluster
from training.runs.engine import names_of, note

MAIN = "import sys; from envs.cli import main; sys.exit(main())"
SETTINGS = "{samples: 64000, customers: 100, steps: 16, batch: 400, epochs: 2, judged_every: 5}"
LONG_SECONDS = 120.0


@pytest.fixture(scope="module")
def config(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the hand-checkable scenario, with a checkpoint after every update."""
    path = tmp_path_factory.mktemp("run") / "run.yaml"
    scenario = root / "configs" / "scenarios" / "tiny.yaml"
    path.write_text(
        f"learner: ppo\nsettings: {SETTINGS}\nscenario: {scenario}\ntracking: 'off'\ncheckpoint_seconds: 0\n"
    )
    return path


@pytest.fixture(scope="module")
def files(config: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the run writes when nobody interrupts it."""
    out = tmp_path_factory.mktemp("whole")
    assert main(["train", str(config), "--out", str(out), "--workers", "1", "--json"]) == 0
    assert not (out / "checkpoints").exists()
    return networks(out)


def networks(out: Path) -> dict[str, bytes]:
    """The bundle's networks."""
    found = {path.name: path.read_bytes() for path in (out / "bundle").glob("*.npz")}
    assert set(found) == {"keen.npz", "wary.npz"}
    return found


def begin(config: Path, out: Path, root: Path, terminal: int) -> subprocess.Popen[bytes]:
    """`journey train` with two workers, its own process group, its stderr a terminal."""
    command = [sys.executable, "-c", MAIN, "train", str(config), "--out", str(out), "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "160"}
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, stderr=terminal, env=environment, start_new_session=True
    )


def watch(process: subprocess.Popen[bytes], screen: int, until: Callable[[str], bool]) -> str:
    """What the terminal showed until something is true of it, or the process has ended."""
    shown, deadline = b"", time.monotonic() + LONG_SECONDS
    while time.monotonic() < deadline:
        if select.select([screen], [], [], 0.1)[0]:
            shown += os.read(screen, 65536)
        elif process.poll() is not None:
            break
        if until(shown.decode(errors="replace")):
            break
    return shown.decode(errors="replace")


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The live children, by id."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in path.read_text().split()]


def test_ctrl_c_leaves_checkpoints_and_the_command_that_goes_on(
    root: Path, tmp_path: Path, config: Path, files: dict[str, bytes]
) -> None:
    screen, terminal = pty.openpty()
    with begin(config, tmp_path, root, terminal) as process:
        shown = watch(process, screen, lambda text: "score 0." in text)
        assert "score" in shown, shown
        os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers, too
        shown = watch(process, screen, lambda text: False)
        assert process.wait(timeout=LONG_SECONDS) == 130, shown
    os.close(screen)
    os.close(terminal)
    assert "Traceback" not in shown
    assert list((tmp_path / "checkpoints").glob("*/checkpoint.pt"))
    said = shown.replace("\r\n", "\n").strip().splitlines()[-1]
    assert "journey: stopped; " in said
    words = shlex.split(said.partition("to go on: ")[2])
    assert words[0] == "journey"
    assert words[-1] == "--resume"
    assert main([*words[1:], "--workers", "1", "--json"]) == 0
    assert networks(tmp_path) == files
    assert not (tmp_path / "checkpoints").exists()
    score = json.loads((tmp_path / "result.json").read_text())["clusters"][0]
    assert score["samples"] == 64_000


def test_a_killed_run_ends_its_workers_and_is_resumed_from_its_last_checkpoint(
    root: Path, tmp_path: Path, config: Path, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(config, tmp_path, root, subprocess.DEVNULL) as process:
        kept = tmp_path / "checkpoints" / "keen" / "checkpoint.pt"
        deadline = time.monotonic() + LONG_SECONDS
        while not kept.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert main(["train", str(config), "--out", str(tmp_path), "--resume"]) == 2
        assert "another run is writing here" in capsys.readouterr().err
        workers = workers_of(process)
        process.kill()
    assert len(workers) >= 2
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)
    assert main(["train", str(config), "--out", str(tmp_path), "--workers", "1", "--resume", "--json"]) == 0
    assert networks(tmp_path) == files


def alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_finished_cluster_is_not_trained_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_run(root / "configs" / "training" / "planner.yaml", tracking="off")
    scenario = load_scenario(root / "configs" / "scenarios" / "tiny.yaml")
    job = Job(config, scenario, "keen", "lifetime_value", folder=tmp_path)
    trained = train_cluster(job)

    def never(*_: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(planner, "learn", never)
    told: list[Point] = []
    kept = train_cluster(job, told.append)
    assert kept == trained
    assert told == trained.curve[-1:]
    other = dataclasses.replace(job, cluster="wary")
    with pytest.raises(ConfigError, match="another cluster"):
        train_cluster(other)


def test_one_wish_to_stop_may_come_twice_a_later_one_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stop:
        assert not stop()
        for number in (signal.SIGTERM, signal.SIGTERM):  # to the process, and to its group
            os.kill(os.getpid(), number)
        assert stop()
        monkeypatch.setattr("training.interrupt.SAME_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_progress_tells_the_score_first_and_jobs_apart(tiny: Scenario) -> None:
    told = note(Point(0.5, 1_000, 1.0, {"value": 2.0, "score": 0.5}))
    assert told == "score 0.5000 value 2 1,000 samples"
    config = RunConfig(learner="planner", scenario="x")
    jobs = [
        Job(config.model_copy(update={"seed": seed}), tiny, "keen", "lifetime_value", label="trial 3")
        for seed in (0, 1)
    ]
    assert list(names_of(jobs).values()) == ["trial 3 keen seed 0", "trial 3 keen seed 1"]
    with pytest.raises(ValueError, match="give them labels"):
        names_of([*jobs, jobs[0]])


def test_only_the_run_that_was_begun_is_resumed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: dict[str, Any] = {"run config": "0" * 64, "scenario": "0" * 64}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run.json").write_text(json.dumps(begun))
    assert main(["train", str(config), "--out", str(tmp_path), "--resume"]) == 2
    error = capsys.readouterr().err.strip()
    assert "the run config is not that of the unfinished run" in error
    assert len(error.splitlines()) == 1


def test_a_reward_that_is_not_finite_stops_the_run_from_any_worker(
    root: Path, tmp_path: Path, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (root / "configs" / "scenarios" / "tiny.yaml").read_text()
    assert "goodwill_level: 2\n" in text
    spoiled = tmp_path / "spoiled.yaml"
    spoiled.write_text(text.replace("goodwill_level: 2\n", "goodwill_level: 1.0e+200\n"))
    run = tmp_path / "run.yaml"
    run.write_text(config.read_text().replace("{samples", "{rewards: sampled, shaping: none, samples"))
    options = ["--scenario", str(spoiled), "--out", str(tmp_path / "out"), "--workers", "2"]
    assert main(["train", str(run), *options]) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert "a reward is not finite" in error
    assert "tick " in error
    assert "customer " in error
