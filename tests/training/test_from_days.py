"""Learners of days: sampled days are counted as they were lived, nothing is planned on, runs resume."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training.dynamics.sampler as day_sampler
import training.learner
import training.learners.ppo as ppo_module
from envs.day.day import OUT_INBOUND, ask, play_day
from envs.day.states import GONE, state_of
from envs.errors import Interrupted
from envs.solve.sweeps import q_values
from training.checkpoint import Checkpoint, Identity, Unsaved
from training.dynamics.counts import Days
from training.dynamics.sampler import CHUNK_DAYS, DaySampler
from training.judging.judge import bounds
from training.learner import Learned, Point, Problem
from training.learners import from_log, from_samples, ppo
from training.learners.ppo import greedy_value
from training.network import PolicyNetwork

JOB = Identity("run", "scenario", "keen", "lifetime_value", 0)
STAGES = [from_samples.Stage(days=400_000, explore=0.5), from_samples.Stage(days=600_000, explore=0.3)]
SMALL = from_samples.Settings(stages=STAGES, customers=256, steps=40)
SMALL_LOG = from_log.Settings(customers=1_000, days=20, steps=40)


@pytest.fixture(scope="module")
def uninterrupted(keen: Problem) -> list[Any]:
    return weights(from_samples.learn(keen, SMALL, Unsaved()))


def lived(
    problem: Problem, chunks: int, explore: float = 0.5, sampler: DaySampler | None = None
) -> DaySampler:
    """The sampler after so many chunks of waiting and exploring."""
    sampler = sampler or DaySampler(problem.journey, 512, 13, problem.seed)
    for _ in range(chunks):
        sampler.live(np.zeros(sampler.rows, dtype=np.int8), explore)
    return sampler


def same(one: Days, other: Days) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Days))


def score(problem: Problem, learned: Learned) -> float:
    assert isinstance(learned.policy, PolicyNetwork)
    reached = bounds(problem).score(greedy_value(problem, learned.policy))
    assert reached is not None
    return reached


def weights(learned: Learned) -> list[Any]:
    assert isinstance(learned.policy, PolicyNetwork)
    return [p.detach().numpy().copy() for p in learned.policy.policy.parameters()]


def test_every_legal_action_of_a_visited_state_is_tried_at_every_visit_and_no_other(keen: Problem) -> None:
    sampler = lived(keen, 20, explore=1.0)
    days = sampler.days()
    tried = np.zeros((sampler.rows, len(keen.journey.actions)))
    np.add.at(tried, (days.row, days.action), days.count)
    met = np.unique(days.row)
    assert len(met) > 100
    legal = sampler.space.describe(met)[1]
    np.testing.assert_array_equal(tried[met], legal * tried[met][:, :1])
    assert tried[:, 0].sum() == 20 * CHUNK_DAYS * 512
    assert sampler.tried == days.lived


def test_what_is_counted_of_a_state_is_what_the_model_expects_of_it(keen: Problem) -> None:
    days, machine, price = lived(keen, 60).days(), keen.journey.machine, keen.journey.packed[0].price
    states = keen.kernel.states
    zeros = np.zeros((keen.blocks, states))
    expected = np.concatenate([q_values(keen.kernel, zeros, keen.weights, m) for m in range(keen.blocks)])
    row = int(np.argmax(np.bincount(days.row, days.count)))  # the state most often visited
    earned, often = np.zeros((2, len(keen.journey.actions)))
    for n in np.flatnonzero(days.row == row):
        reward, action = np.zeros(len(keen.weights)), int(days.action[n])
        outcome, state = days.outcome[n].astype(np.int64), state_of(machine, states, row)
        closed = play_day(machine, price, state, action, outcome, days.value[n] / days.count[n], reward)
        ask(machine, price, closed, int(outcome[OUT_INBOUND]), reward)
        earned[action] += days.count[n] * float(reward @ keen.weights)
        often[action] += days.count[n]
    assert often.max() > 50_000
    at = int(np.searchsorted(keen.kernel.consents, row // states)) * states + row % states
    tried = often > 0
    np.testing.assert_allclose(earned[tried] / often[tried], expected[at][tried], atol=0.05)


def test_a_table_that_grows_forgets_nothing(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lived(keen, 5).days()
    monkeypatch.setattr(day_sampler, "CAPACITY", 8)
    assert same(lived(keen, 5).days(), whole)


def test_shards_count_the_same_one_after_the_other(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lived(keen, 5).days()
    monkeypatch.setattr(day_sampler, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
    assert same(lived(keen, 5).days(), whole)


def test_a_sampler_goes_on_from_what_it_kept(keen: Problem) -> None:
    other = DaySampler(keen.journey, 512, 13, keen.seed)
    other.restore(lived(keen, 3).state())
    assert same(lived(keen, 2, sampler=other).days(), lived(keen, 5).days())


def test_journeys_begin_as_the_scenario_says(keen: Problem) -> None:
    days = lived(keen, 60).days()
    stage = days.starts % keen.kernel.states // int(keen.journey.rules.strides[0])
    often = np.bincount(stage, days.started, minlength=len(keen.journey.start_stages))
    assert days.started.sum() > 10_000
    np.testing.assert_allclose(often / often.sum(), keen.journey.start_stages[: len(often)], atol=0.02)
    assert GONE not in days.row


def test_samples_alone_lead_to_the_optimum(keen: Problem) -> None:
    stages = [from_samples.Stage(days=3_000_000, explore=0.5)] * 2
    points: list[Point] = []
    settings = from_samples.Settings(stages=stages, customers=512)
    learned = from_samples.learn(keen, settings, Unsaved(points.append))
    assert score(keen, learned) >= 0.98
    assert learned.samples >= 6_000_000
    assert points[-1].share == 1.0


def test_a_log_alone_leads_near_the_optimum(keen: Problem) -> None:
    learned = from_log.learn(keen, from_log.Settings(customers=4_000, days=30), Unsaved())
    assert score(keen, learned) >= 0.9


def test_what_a_log_never_shows_is_dear(keen: Problem) -> None:
    settings = from_log.Settings(customers=1_000, days=20, behavior="business_rules")
    days, legal = from_log.lived(keen, settings), keen.legal
    charge = from_log.Penalty(keen, days, 1e-3)(keen.observations, legal, np.ones(legal.shape))
    stage = keen.observations[:, 0].astype(np.int64)
    shown = np.zeros((2, legal.shape[1]), dtype=bool)
    shown[stage[np.searchsorted(_rows(keen), days.row)], days.action] = True
    assert (legal & ~shown[stage]).any()
    assert charge[legal & ~shown[stage]].min() > 10 * np.median(charge[legal & shown[stage]])
    double = from_log.Penalty(keen, days, 2e-3)(keen.observations, legal, np.ones(legal.shape))
    np.testing.assert_allclose(double[legal], 2.0 * charge[legal])


def _rows(problem: Problem) -> Any:
    kernel = problem.kernel
    return (kernel.consents[:, None] * kernel.states + np.arange(kernel.states)).ravel()


def test_nothing_is_asked_of_the_solver(keen: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("planned")

    monkeypatch.setattr(training.learner, "solve", refuse)
    monkeypatch.setattr(ppo_module, "expected_rewards", refuse)
    monkeypatch.setattr(ppo_module, "potential", refuse)
    fresh = Problem(keen.journey, "lifetime_value", 0)
    from_samples.learn(fresh, SMALL, Unsaved())
    from_log.learn(fresh, SMALL_LOG, Unsaved())
    samples = {"rewards": "sampled", "shaping": "none", "prior": "none"}
    settings = {"samples": 4_096, "customers": 64, "steps": 16, "batch": 256}
    ppo.learn(fresh, ppo.Settings.model_validate(samples | settings), Unsaved())


@pytest.mark.parametrize("stop", [1, 9, 20, 30, 45])
def test_resumed_the_network_is_the_one_never_interrupted(
    keen: Problem, uninterrupted: list[Any], tmp_path: Path, stop: int
) -> None:
    offers = iter(range(1_000))
    stopped = Checkpoint(tmp_path / "c.pt", JOB, wanted=lambda: next(offers) == stop)
    with pytest.raises(Interrupted):
        from_samples.learn(keen, SMALL, stopped)
    again = weights(from_samples.learn(keen, SMALL, Checkpoint(tmp_path / "c.pt", JOB)))
    for one, other in zip(uninterrupted, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_interrupted_learner_from_a_log_ends_with_the_same_weights(keen: Problem, tmp_path: Path) -> None:
    whole = weights(from_log.learn(keen, SMALL_LOG, Unsaved()))
    offers = iter(range(1_000))
    stopped = Checkpoint(tmp_path / "c.pt", JOB, wanted=lambda: next(offers) == 7)
    with pytest.raises(Interrupted):
        from_log.learn(keen, SMALL_LOG, stopped)
    again = weights(from_log.learn(keen, SMALL_LOG, Checkpoint(tmp_path / "c.pt", JOB)))
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
