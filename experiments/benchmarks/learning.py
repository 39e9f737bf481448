"""Samples a second of learning, end to end, beside sb3-contrib on 16 single environments.

    python -m experiments.benchmarks.learning

Simulation, masks, rollouts and updates under the recipe of configs/training/ppo.yaml; planning the
potential and judging are not counted. Two threads are two clusters at a time, a process each, as
`journey train` runs them. The peer is the library's MaskablePPO with the same network, batch and
epochs on Gymnasium environments. All rows in the same run.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sb3_contrib import MaskablePPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.cli.output import table
from envs.simulate.gym_env import CustomerJourneyEnv
from envs.simulate.opening import open_journey
from training.learner import Problem
from training.learners import ppo
from training.threads import single_threaded

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "omnichannel_retail.yaml"
CLUSTERS = ("high_spender", "loyal")
SAMPLES, PEER_SAMPLES = 500_000, 40_000


# A barrier at which all processes begin together; it reaches a spawned process by its initializer only.
_ready: Any = None
READY_SECONDS = 600.0  # should one fail before it, the others do not wait for ever


def _begin(ready: Any) -> None:
    global _ready
    _ready = ready


@single_threaded()
def ours(cluster: str) -> tuple[int, float, float]:
    """Samples learned from, and when this began and ended."""
    settings = ppo.Settings()
    problem = Problem(open_journey(SCENARIO, cluster), "lifetime_value", 0)
    model = ppo.agent(problem, settings, ppo.own_prior(problem, settings))
    model.learn(2 * settings.customers * settings.steps)  # compiled and warm
    _ready.wait(READY_SECONDS)
    before, began = model.num_timesteps, time.time()
    model.learn(SAMPLES, reset_num_timesteps=False)
    return model.num_timesteps - before, began, time.time()


def together(clusters: tuple[str, ...]) -> float:
    """Samples a second of clusters learned side by side, from the first's begin to the last's end."""
    context, count = mp.get_context("spawn"), len(clusters)
    with ProcessPoolExecutor(count, context, _begin, (context.Barrier(count),)) as pool:
        found = list(pool.map(ours, clusters))
    samples = sum(count for count, _, _ in found)
    return samples / (max(end for _, _, end in found) - min(begin for _, begin, _ in found))


def peer() -> float:
    """Samples a second of the library on sixteen single environments, two torch threads."""
    torch.set_num_threads(2)
    settings = ppo.Settings()
    envs = DummyVecEnv([_single for _ in range(16)])
    model = MaskablePPO(
        "MlpPolicy", envs, n_steps=1024, batch_size=settings.batch, n_epochs=settings.epochs,
        policy_kwargs={"net_arch": settings.hidden}, seed=0, device="cpu",
    )  # fmt: skip
    began = time.perf_counter()
    model.learn(PEER_SAMPLES)
    return model.num_timesteps / (time.perf_counter() - began)


def _single() -> ActionMasker:
    env = CustomerJourneyEnv(SCENARIO, CLUSTERS[0])
    return ActionMasker(env, lambda one: one.action_masks())  # type: ignore[attr-defined]


def main() -> None:
    """Measure and print."""
    rows = [
        ("PPO, recipe, two threads (two clusters at a time)", together(CLUSTERS), "80,000"),
        ("PPO, recipe, one thread", together(CLUSTERS[:1]), ""),
        ("sb3-contrib MaskablePPO, 16 single environments, two threads", peer(), ""),
    ]
    cells = [(name, f"{value:,.0f}", target) for name, value, target in rows]
    Console().print(table("Learning", ("what", "samples a second", "target"), cells))


if __name__ == "__main__":
    main()
