"""One network for all clusters, then fine-tuned for the clusters where its score falls short.

The pooled network is trained once a run, by the first job that needs it, and shared in the run's
folder; a job without a folder trains its own, which is the same. Fine-tuning begins at the pooled
weights. With `compare` a network of the cluster alone is learned from as many samples, the best
of the three is exported, and the run's document says which won. PPO itself is `ppo.py`.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from pydantic import Field
from torch import Tensor

from envs.arrays import Floats, Ints
from envs.journey.journey import compile_journey
from envs.scenario.schema import Strict
from training.checkpoint import read_state, write_state
from training.judging.judge import bounds
from training.learner import Learned, Point, Problem, Report, Table
from training.learners.ppo import (
    Positive,
    Watcher,
    agent_in,
    finished,
    logits_of,
    own_prior,
    served_network,
    training_env,
)
from training.learners.ppo import Settings as Recipe
from training.learners.ppo import learn as learn_alone
from training.network import PolicyNetwork
from training.parts.masked_ppo import CutPPO
from training.parts.pooled_env import PooledEnv, fold_cluster, load_layers, pooled_sizes
from training.threads import single_threaded

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Settings(Strict):
    """How a cluster's samples are spent; `ppo` is the recipe of every stage."""

    ppo: Recipe = Recipe()  # its `samples` are a cluster's in all
    pooled_share: Share = 0.6  # of the samples; the rest fine-tunes the clusters that fall short
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.99  # of the exact score
    fine_tune_rate: Positive = 1e-3  # first learning rate, falls linearly to 0
    fine_tune_entropy: Annotated[float, Field(ge=0.0)] = 0.02
    compare: bool = True  # also learn from the cluster alone, and take the best


class Trunks(TypedDict):
    """Layers of a policy and its values, heads last."""

    policy: list[dict[str, Tensor]]
    value: list[dict[str, Tensor]]


class Part(Trunks):
    """A cluster's part of the pooled network, and what it was learned on."""

    scale: float  # of rewards
    samples: int


class Stage:
    """A part of a job: its progress is a part of the job's, and it begins anew when interrupted.

    Every stage is deterministic, so the result is the same; only time is lost.
    """

    def __init__(self, report: Report, first: float, last: float, before: int = 0) -> None:
        self._report, self._first, self._last, self._before = report, first, last, before

    def __call__(self, point: Point) -> None:
        """Pass it on, on the job's scale."""
        share = self._first + (self._last - self._first) * point.share
        self._report(Point(share, self._before + point.samples, point.seconds, point.metrics))

    def saved(self) -> dict[str, Any] | None:
        """Never."""
        return None

    def offer(self, state: Callable[[], Mapping[str, object]]) -> None:
        """An occasion to stop, with nothing to keep."""
        self._report.offer(dict)


@single_threaded()
def learn(problem: Problem, settings: Settings, report: Report) -> Learned:
    """Pool, fine-tune where needed, compare, keep the best."""
    stages = [0.0, 0.5, 0.7, 1.0] if settings.compare else [0.0, 0.7, 1.0, 1.0]
    weights = pooled_weights(problem, settings, Stage(report, stages[0], stages[1]))
    prior = own_prior(problem, settings.ppo)
    pooled = network_of(problem, settings, weights["policy"])
    found = {"pooled": finished(problem, settings.ppo, pooled, prior, int(weights["samples"]))}
    if score_of(problem, found["pooled"]) < settings.floor and settings.pooled_share < 1.0:
        stage = Stage(report, stages[1], stages[2], found["pooled"].samples)
        network, samples = fine_tuned(problem, settings, weights, stage)
        found["fine_tuned"] = finished(problem, settings.ppo, network, prior, samples)
    if settings.compare:
        spent = sum(each.samples for each in found.values())
        found["per_cluster"] = learn_alone(problem, settings.ppo, Stage(report, stages[2], stages[3], spent))
    return best_of(problem, settings, found)


def best_of(problem: Problem, settings: Settings, found: dict[str, Learned]) -> Learned:
    """The best of the candidates by exact value, and why."""
    scores = {name: score_of(problem, learned) for name, learned in found.items()}
    won = max(scores, key=lambda name: scores[name])
    beside = {name: greedy_actions(problem, learned) for name, learned in found.items()}
    why = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    spent = {name: learned.samples for name, learned in found.items()}
    notes = {"won": won, "why": f"exact scores: {why}; fine-tuned below {settings.floor:g}", "samples": spent}
    best = found[won]
    return Learned(
        best.policy, sum(spent.values()), best.correction, best.shown_beside | beside, best.notes | notes
    )


def score_of(problem: Problem, learned: Learned) -> float:
    """Exact score of a candidate's greedy policy; a value where the score is undefined."""
    value = problem.value_of(greedy_actions(problem, learned))
    score = bounds(problem).score(value)
    return value if score is None else score


def greedy_actions(problem: Problem, learned: Learned) -> Ints:
    """(M, S) int8."""
    if isinstance(learned.policy, Table):
        return learned.policy.actions
    logits = logits_of(problem, learned.policy)
    greedy = np.where(problem.legal, logits, -np.inf).argmax(axis=1)
    out: Ints = greedy.astype(np.int8).reshape(problem.blocks, -1)
    return out


def pooled_weights(problem: Problem, settings: Settings, report: Stage) -> Part:
    """This cluster's part of the pooled network: folded trunks, the reward scale, its samples."""
    name = problem.journey.cluster.name
    if problem.shared is None:
        own: Part = train_pooled(problem, settings, report)[name]
        return own
    scenario = problem.journey.scenario.digest()
    key = f"{scenario} {problem.objective} {problem.seed} {settings.model_dump_json()}"
    path = problem.shared / f"pooled-{sha256(key.encode()).hexdigest()[:16]}.pt"
    with _alone(path.with_suffix(".lock"), report):
        if not path.exists():
            write_state(path, train_pooled(problem, settings, report))
        found: Part = read_state(path)[name]
    return found


@contextmanager
def _alone(path: Path, report: Stage) -> Iterator[None]:
    """One job at a time; the others wait, and may be stopped while they do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                report.offer(dict)
                time.sleep(0.5)
        yield


def train_pooled(problem: Problem, settings: Settings, report: Stage) -> dict[str, Part]:
    """Train one network on all clusters of the scenario; by cluster what `pooled_weights` gives."""
    scenario = problem.journey.scenario
    problems = [
        Problem(compile_journey(scenario, c.name), problem.objective, problem.seed) for c in scenario.clusters
    ]
    sizes, clusters = pooled_sizes(problems), len(problems)
    each = round(settings.ppo.samples * settings.pooled_share)
    customers = max(settings.ppo.customers // clusters, 1)
    recipe = settings.ppo.model_copy(update={"samples": each * clusters, "customers": customers})
    members = [training_env(p, recipe, own_prior(p, recipe)) for p in problems]
    model = agent_in(PooledEnv(members), recipe, sizes, scenario.discount, problem.seed)
    own = [c.name for c in scenario.clusters].index(problem.journey.cluster.name)
    model.learn(recipe.samples, PooledWatcher(problem, recipe, report, sizes, own, members[own].prior))
    samples = model.num_timesteps // clusters
    return {
        p.journey.cluster.name: Part(**trunks(model, sizes, number), scale=env.scale, samples=samples)
        for number, (p, env) in enumerate(zip(problems, members, strict=True))
    }


def trunks(model: CutPPO, sizes: list[int], cluster: int) -> Trunks:
    """Layers of the cluster's policy and value trunks, heads last."""
    extractor, heads = model.policy.mlp_extractor, (model.policy.action_net, model.policy.value_net)
    folded = [fold_cluster(trunk, sizes, cluster) for trunk in (extractor.policy_net, extractor.value_net)]
    policy, value = (
        [*layers, {k: v.clone() for k, v in head.state_dict().items()}]
        for layers, head in zip(folded, heads, strict=True)
    )
    return {"policy": policy, "value": value}


class PooledWatcher(Watcher):
    """Reports the score of the job's own cluster."""

    def __init__(
        self,
        problem: Problem,
        settings: Recipe,
        report: Report,
        sizes: list[int],
        cluster: int,
        prior: Floats | None,
    ) -> None:
        super().__init__(problem, settings, report, prior)
        self._sizes, self._cluster = sizes, cluster

    def network(self, model: CutPPO) -> PolicyNetwork:
        """The cluster's part of the pooled network."""
        layers = trunks(model, self._sizes, self._cluster)["policy"]
        return _network(self._problem, self._settings, layers)


def network_of(problem: Problem, settings: Settings, layers: list[dict[str, Tensor]]) -> PolicyNetwork:
    """The served network with these policy layers."""
    return _network(problem, settings.ppo, layers)


def _network(problem: Problem, settings: Recipe, layers: list[dict[str, Tensor]]) -> PolicyNetwork:
    encoding = problem.journey.encoding
    network = PolicyNetwork(encoding.sizes, len(problem.journey.actions), settings.hidden)
    load_layers(network.policy, layers)
    return network


def fine_tuned(
    problem: Problem, settings: Settings, weights: Part, report: Stage
) -> tuple[PolicyNetwork, int]:
    """Go on from the pooled weights on this cluster alone; the network and its samples."""
    samples = max(round(settings.ppo.samples * (1.0 - settings.pooled_share)), 1)
    changes = {
        "samples": samples,
        "learning_rate": settings.fine_tune_rate,
        "entropy": settings.fine_tune_entropy,
    }
    recipe = settings.ppo.model_copy(update=changes)
    env = training_env(problem, recipe, own_prior(problem, recipe))
    env.scale = weights["scale"]  # the value trunk was learned on it
    model = agent_in(
        env, recipe, problem.journey.encoding.sizes, problem.journey.scenario.discount, problem.seed
    )
    extractor = model.policy.mlp_extractor
    load_layers([*extractor.policy_net, model.policy.action_net], weights["policy"])
    load_layers([*extractor.value_net, model.policy.value_net], weights["value"])
    model.learn(samples, Watcher(problem, recipe, report, env.prior))
    return served_network(problem, model, recipe), int(model.num_timesteps)
