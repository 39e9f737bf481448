"""Gymnasium's stock wrappers, autoreset modes and vectorisers: each works, or is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector

from envs.errors import JourneyError

TINY = str(Path(__file__).parents[2] / "configs" / "scenarios" / "tiny.yaml")
ID = "envs.registration:journey/CustomerJourney-v0"
MODES = {mode.value: mode for mode in AutoresetMode}

SINGLE: dict[str, Callable[[Any], Any]] = {
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 3),
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "NormalizeObservation": wrappers.NormalizeObservation,
    "NormalizeReward": wrappers.NormalizeReward,
    "FlattenObservation": wrappers.FlattenObservation,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 2),
    "RescaleObservation": lambda env: wrappers.RescaleObservation(
        env,
        np.zeros(env.observation_space.shape, np.float32),
        np.ones(env.observation_space.shape, np.float32),
    ),
    "DtypeObservation": lambda env: wrappers.DtypeObservation(env, np.float32),
    "TimeAwareObservation": lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 4)),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 1),
    "TransformObservation": lambda env: wrappers.TransformObservation(
        env, lambda x: x, env.observation_space
    ),
    "TransformReward": lambda env: wrappers.TransformReward(env, float),
    "ClipReward": lambda env: wrappers.ClipReward(env, -1.0, 1.0),
    "TransformAction": lambda env: wrappers.TransformAction(env, lambda a: a, env.action_space),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.5),
    "Autoreset": wrappers.Autoreset,
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
}
REFUSED_SINGLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ClipAction": (wrappers.ClipAction, "Box"),
    "RescaleAction": (lambda env: wrappers.RescaleAction(env, np.zeros(1), np.ones(1)), "Box"),
    "HumanRendering": (wrappers.HumanRendering, "render_mode"),
}
NEXT_STEP_ONLY = ("FlattenObservation", "DtypeObservation", "NormalizeObservation")  # Gymnasium says so
MANY: dict[str, Callable[[Any], Any]] = {
    "RecordEpisodeStatistics": vector.RecordEpisodeStatistics,
    "NormalizeObservation": vector.NormalizeObservation,
    "NormalizeReward": vector.NormalizeReward,
    "TransformReward": lambda env: vector.TransformReward(env, lambda r: -r),
    "ClipReward": lambda env: vector.ClipReward(env, -1.0, 1.0),
    "FlattenObservation": vector.FlattenObservation,
    "DtypeObservation": lambda env: vector.DtypeObservation(env, np.float32),
    "TransformAction": lambda env: vector.TransformAction(env, lambda a: a, env.action_space),
    "DictInfoToList": vector.DictInfoToList,
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_stock_wrapper_of_one_customer_works(name: str) -> None:
    env: Any = SINGLE[name](gymnasium.make(ID, scenario=TINY, episode_days=4))
    env.reset(seed=1)
    for _ in range(9):
        _, reward, terminated, truncated, _ = env.step(0)
        assert np.isfinite(reward)
        if (terminated or truncated) and name != "Autoreset":
            env.reset()


@pytest.mark.parametrize("name", REFUSED_SINGLE)
def test_a_wrapper_that_cannot_work_is_refused_when_it_is_made(name: str) -> None:
    wrap, reason = REFUSED_SINGLE[name]
    with pytest.raises((AssertionError, TypeError, ValueError), match=reason):
        wrap(gymnasium.make(ID, scenario=TINY))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("name", MANY)
def test_a_stock_wrapper_of_a_batch_works_or_is_refused(name: str, mode: str) -> None:
    if mode == "SameStep" and name in NEXT_STEP_ONLY:
        with pytest.raises(ValueError, match="NEXT_STEP"):
            MANY[name](gymnasium.make_vec(ID, num_envs=6, scenario=TINY, autoreset_mode=mode))
        return
    env: Any = MANY[name](
        gymnasium.make_vec(ID, num_envs=6, scenario=TINY, episode_days=3, autoreset_mode=mode)
    )
    env.reset(seed=1)
    for _ in range(10):
        env.step(np.zeros(6, dtype=np.int64))


def test_observations_are_normalised_with_the_arguments_as_they_come() -> None:
    env: Any = vector.NormalizeObservation(
        gymnasium.make_vec(ID, num_envs=4, scenario=TINY, max_episode_steps=3)
    )
    env.reset(seed=1)
    for _ in range(8):
        observations, *_ = env.step(np.zeros(4, dtype=np.int64))
        assert np.isfinite(observations).all()


def test_episode_statistics_are_those_of_the_days_themselves() -> None:
    env: Any = vector.RecordEpisodeStatistics(
        gymnasium.make_vec(ID, num_envs=32, scenario=TINY, episode_days=5)
    )
    env.reset(seed=1)
    lengths = []
    for _ in range(40):
        *_, infos = env.step(np.zeros(32, dtype=np.int64))
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert lengths
    assert max(lengths) == 5


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_walks_as_gymnasiums_own_vectoriser_does(mode: str) -> None:
    """The shape of an episode's end: who is over, when the next one begins, what is paid then."""
    ours: Any = gymnasium.make_vec(ID, num_envs=5, scenario=TINY, episode_days=4, autoreset_mode=mode)
    theirs: Any = gymnasium.make_vec(
        ID, num_envs=5, scenario=TINY, episode_days=4, vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
    )  # fmt: skip
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is MODES[mode]
    cuts: dict[str, list[int]] = {"ours": [], "theirs": []}
    for name, env in (("ours", ours), ("theirs", theirs)):
        env.reset(seed=2)
        for _ in range(13):
            _, _, terminated, truncated, infos = env.step(np.zeros(5, dtype=np.int64))
            cuts[name].append(int(truncated.sum()))
            over = terminated | truncated
            assert ("final_obs" in infos) == (mode == "SameStep" and bool(over.any()))
            if mode == "Disabled" and over.any():
                env.reset(options={"reset_mask": over})
    # churns differ, as populations do; those who stay are cut on the same days
    days = {name: {day for day, count in enumerate(found) if count} for name, found in cuts.items()}
    assert days["ours"]
    assert days["theirs"]
    first = 3
    assert min(days["ours"]) == min(days["theirs"]) == first


def test_in_the_next_step_a_new_customer_is_paid_nothing() -> None:
    env: Any = gymnasium.make_vec(ID, num_envs=50, scenario=TINY, episode_days=2)
    env.reset(seed=1)
    env.step(np.zeros(50, dtype=np.int64))
    _, _, terminated, truncated, _ = env.step(np.zeros(50, dtype=np.int64))
    over = terminated | truncated
    _, rewards, terminated, truncated, infos = env.step(np.zeros(50, dtype=np.int64))
    assert over.any()
    assert (rewards[over] == 0.0).all()
    assert not (terminated | truncated)[over].any()
    assert not infos["illegal"][over].any()
    assert (infos["components"][over] == 0.0).all()


def test_disabled_journeys_must_be_reset_by_their_owner() -> None:
    env: Any = gymnasium.make_vec(ID, num_envs=6, scenario=TINY, episode_days=1, autoreset_mode="Disabled")
    env.reset(seed=1)
    env.step(np.zeros(6, dtype=np.int64))
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset_mask"):
        env.step(np.zeros(6, dtype=np.int64))
    before = env.unwrapped._running().customers.copy()
    env.reset(options={"reset_mask": np.array([True] * 5 + [False])})
    assert (env.unwrapped._running().customers != before).tolist() == [True] * 5 + [False]
    with pytest.raises(gymnasium.error.ResetNeeded, match="1 journeys"):
        env.step(np.zeros(6, dtype=np.int64))


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.zeros(4, bool), np.ones(4, int), "all"], ids=repr)
def test_a_wrong_reset_mask_is_told(mask: Any) -> None:
    env: Any = gymnasium.make_vec(ID, num_envs=4, scenario=TINY)
    env.reset(seed=1)
    with pytest.raises(JourneyError, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


def test_a_list_of_seeds_is_refused_with_the_reason() -> None:
    env: Any = gymnasium.make_vec(ID, num_envs=2, scenario=TINY)
    with pytest.raises(JourneyError, match="one seed rules all customers"):
        env.reset(seed=[1, 2])


def test_processes_are_forked_after_single_environments_were_used() -> None:
    code = f"""
import gymnasium as g, numpy as np, warnings
ID, S = {ID!r}, {TINY!r}
if __name__ == "__main__":
    for scenario in (S, {str(Path(TINY).with_name("personas.yaml"))!r}):
        one = g.make(ID, scenario=scenario)
        one.reset(seed=1); one.step(0); one.reset(); one.step(0)
        few = g.make_vec(ID, num_envs=4, scenario=scenario)
        few.reset(seed=1); few.step(np.zeros(4, int))
        many = g.make_vec(ID, num_envs=2, vectorization_mode="async", scenario=scenario)
        many.reset(seed=1); many.step(np.zeros(2, int)); many.close()
    print("fine")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "fine", done.stderr[-2000:]
