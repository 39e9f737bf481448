"""Whoever makes an environment wrongly is told once, clearly, what and what else there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.errors import JourneyError

TINY = str(Path(__file__).parents[2] / "configs" / "scenarios" / "tiny.yaml")
ID = "envs.registration:journey/CustomerJourney-v0"

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"scenario": "absent.yaml"}, "absent.yaml: no such file"),
    ({"scenario": 7}, "scenario: not a scenario"),
    ({"scenario": None}, "expected a file or a Scenario"),
    ({"cluster": "kene"}, "did you mean 'keen'"),
    ({"cluster": ""}, "unknown cluster"),
    ({"cluster": 3}, "unknown cluster"),
    ({"objective": "nope"}, "lifetime_value"),
    ({"episode_days": 0}, "episode_days: not a length"),
    ({"episode_days": -5}, "1 or more, got -5"),
    ({"episode_days": 2.5}, "a whole number"),
    ({"episode_days": True}, "got True"),
    ({"episode_days": float("nan")}, "a whole number"),
    ({"episode_days": "30"}, "got '30'"),
    ({"episode_day": 30}, "did you mean 'episode_days'"),
]
WRONG_OF_MANY: list[tuple[dict[str, Any], str]] = [
    ({"num_envs": 0}, "num_envs: not a count"),
    ({"num_envs": -2}, "num_envs: not a count"),
    ({"num_envs": 2.0}, "a whole number"),
    ({"max_episode_steps": 0}, "max_episode_steps: not a length"),
    ({"max_episode_steps": 5, "episode_days": 6}, "two lengths of an episode"),
    ({"autoreset_mode": "sometimes"}, "NextStep, SameStep, Disabled"),
    ({"render_mode": "ansi"}, "a batch is not told in words"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("many", [False, True], ids=["make", "make_vec"])
def test_a_wrong_argument_is_one_clear_message(wrong: dict[str, Any], told: str, many: bool) -> None:
    options: dict[str, Any] = {"scenario": TINY, **wrong}
    with pytest.raises(JourneyError) as error:
        gymnasium.make_vec(ID, num_envs=2, **options) if many else gymnasium.make(ID, **options)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("wrong", "told"), WRONG_OF_MANY, ids=lambda value: str(value)[:40])
def test_a_wrong_argument_of_a_batch_is_one_clear_message(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(JourneyError) as error:
        gymnasium.make_vec(ID, **{"scenario": TINY, "num_envs": 2, **wrong})
    assert told in str(error.value)


@pytest.mark.parametrize("many", [False, True], ids=["make", "make_vec"])
@pytest.mark.parametrize("seed", [-1, 1.5, 2**70, True], ids=repr)
def test_what_is_no_seed_is_told(seed: Any, many: bool) -> None:
    env: Any = (
        gymnasium.make_vec(ID, num_envs=2, scenario=TINY) if many else gymnasium.make(ID, scenario=TINY)
    )
    with pytest.raises(JourneyError, match="seed: not a seed"):
        env.reset(seed=seed)


@pytest.mark.parametrize("action", [0, np.int8(0), np.array(0), np.array([0])], ids=repr)
def test_one_whole_number_is_an_action_in_any_wrapping(action: Any) -> None:
    env: Any = gymnasium.make(ID, scenario=TINY).unwrapped
    env.reset(seed=1)
    assert not env.step(action)[4]["illegal"]


@pytest.mark.parametrize("action", [-1, 99, np.array([-7]), 2**40])
def test_an_action_that_does_not_exist_passes_as_wait(action: Any) -> None:
    env: Any = gymnasium.make(ID, scenario=TINY).unwrapped
    waiting: Any = gymnasium.make(ID, scenario=TINY).unwrapped
    env.reset(seed=3)
    waiting.reset(seed=3)
    observation, reward, _, _, info = env.step(action)
    same, paid, *_ = waiting.step(0)
    assert info["illegal"]
    assert reward == paid
    np.testing.assert_array_equal(observation, same)


@pytest.mark.parametrize(
    "action", [0.0, float("nan"), "wait", None, True, [0, 1], [], [[0], [1, 2]]], ids=repr
)
def test_what_is_no_action_is_told(action: Any) -> None:
    env: Any = gymnasium.make(ID, scenario=TINY).unwrapped
    env.reset(seed=1)
    with pytest.raises(JourneyError, match="step: "):
        env.step(action)


@pytest.mark.parametrize("actions", [[0, 0], [0.5, 0.0, 1.0], "abc", None, [[0, 0, 0], [0, 0, 0]]], ids=repr)
def test_what_are_no_actions_of_a_batch_is_told(actions: Any) -> None:
    env: Any = gymnasium.make_vec(ID, num_envs=3, scenario=TINY)
    env.reset(seed=1)
    with pytest.raises(JourneyError, match="expected 3 whole numbers"):
        env.step(actions)


def test_actions_of_a_batch_that_do_not_exist_pass_as_wait() -> None:
    env, waiting = (gymnasium.make_vec(ID, num_envs=3, scenario=TINY) for _ in range(2))
    env.reset(seed=3)
    waiting.reset(seed=3)
    observations, *_, infos = env.step(np.array([-1, 99, 0]))
    assert infos["illegal"].tolist() == [True, True, False]
    np.testing.assert_array_equal(observations, waiting.step(np.zeros(3, dtype=int))[0])


def test_masks_are_what_sampling_takes() -> None:
    env: Any = gymnasium.make(ID, scenario=TINY).unwrapped
    _, info = env.reset(seed=1)
    assert info["action_mask"][env.action_space.sample(mask=info["action_mask"])] == 1
    assert env.action_space.sample(mask=env.action_masks()) in range(env.action_space.n)
    many: Any = gymnasium.make_vec(ID, num_envs=5, scenario=TINY)
    _, infos = many.reset(seed=1)
    chosen = many.action_space.sample(mask=tuple(infos["action_mask"]))
    assert (infos["action_mask"][np.arange(5), chosen] == 1).all()


def test_the_day_is_told_in_words() -> None:
    env: Any = gymnasium.make(ID, scenario=TINY, cluster="keen", render_mode="ansi")
    _, info = env.reset(seed=3)
    assert env.render().startswith("customer 0 of keen, before the first day\n  now: stage ")
    action = int(np.flatnonzero(info["action_mask"])[-1])
    env.step(action)
    key = env.unwrapped.journey.actions[action].key
    assert env.render().startswith(f"day 1: {key}\n")
    forbidden = int(np.flatnonzero(env.unwrapped.action_masks() == 0)[0])
    env.step(forbidden)
    assert (
        f"day 2: wait ({env.unwrapped.journey.actions[forbidden].key} is not allowed today)" in env.render()
    )
    assert "  may: wait" in env.render()


def test_purchases_requests_and_moves_are_in_the_words() -> None:
    env: Any = gymnasium.make(ID, scenario=TINY, cluster="keen", render_mode="ansi")
    said = ""
    for seed in range(30):
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(0)
            said += env.render()
            over = terminated or truncated
    for words in ("buys for ", "asks on ", "moves to churned", "nothing happened"):
        assert words in said
