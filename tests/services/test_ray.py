"""The Ray engine: the same outcomes as processes, the same way to stop, the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.errors import Interrupted, ScenarioError
from envs.scenario.schema import Scenario
from training.learner import Point
from training.run_config import RunConfig
from training.runs.cluster_run import Job, Key, Outcome, train_cluster
from training.runs.engine import engine_module

pytestmark = [
    pytest.mark.services,
    # the library leaves its sockets and log files to the interpreter
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
SETTINGS = {"samples": 6_400, "customers": 100, "steps": 16, "batch": 400, "epochs": 1, "judged_every": 2}
RUN = RunConfig(learner="ppo", settings=SETTINGS, scenario="tiny", checkpoint_seconds=0.0)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster for all tests."""
    import ray  # an extra: these tests are collected, not run, without it

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def jobs(tiny: Scenario) -> list[Job]:
    """Two clusters, and a second seed of one of them."""
    cells = [("keen", 0), ("wary", 0), ("keen", 1)]
    runs = {seed: RUN.model_copy(update={"seed": seed}) for _, seed in cells}
    return [Job(runs[seed], tiny, name, "lifetime_value") for name, seed in cells]


def facts(outcome: Outcome) -> dict[str, object]:
    """What must be the same wherever it ran: all but the time it took."""
    record = {k: v for k, v in outcome.record.items() if k != "train_seconds"}
    curve = [(p.samples, p.metrics) for p in outcome.curve]
    return {"content": outcome.content, "entry": outcome.entry, "record": record, "curve": curve}


def test_ray_gives_the_outcomes_of_processes(tiny: Scenario) -> None:
    told: list[Key] = []
    found = engine_module("ray").run(jobs(tiny), 2, lambda key, point: told.append(key), lambda: False)
    expected = [train_cluster(job) for job in jobs(tiny)]  # what a process does
    assert [facts(o) for o in found] == [facts(o) for o in expected]
    assert set(told) == {job.key for job in jobs(tiny)}


def test_a_wish_to_stop_leaves_a_checkpoint(tiny: Scenario, tmp_path: Path) -> None:
    long = RUN.model_copy(update={"settings": SETTINGS | {"samples": 160_000}})
    job = Job(long, tiny, "keen", "lifetime_value", folder=tmp_path)
    told: list[Point] = []
    with pytest.raises(Interrupted):
        engine_module("ray").run([job], 1, lambda key, point: told.append(point), lambda: bool(told))
    assert (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "outcome.pt").exists()


def test_a_job_that_fails_raises_its_own_error(tiny: Scenario) -> None:
    body = tiny.model_dump(mode="json")
    body["prices"]["goodwill_level"] = 1e200
    sampled = RUN.model_copy(update={"settings": SETTINGS | {"rewards": "sampled", "shaping": "none"}})
    job = Job(sampled, Scenario.model_validate(body), "keen", "lifetime_value")
    with pytest.raises(ScenarioError, match=r"tick \d+, customer \d+: a reward is not finite"):
        engine_module("ray").run([job], 1, lambda key, point: None, lambda: False)
