"""From a standing to a next step: mask, evaluate, sample, explain. No storage, no clock.

The probabilities are those of the sampler that is really used, after masking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.day.masks import unpack
from envs.errors import JourneyError
from envs.journey.journey import Journey
from envs.policy.policy import sample, serving_probabilities
from envs.scenario.actions import Action
from envs.timeline.customer import Live
from envs.timeline.occasion import LiveMask
from serving.contract.decisions import Alternative, Blocked, Contact, Reason, Wait
from serving.decide.policies import Held


@dataclass(frozen=True, slots=True)
class Choice:
    """An action and where it came from. Lists are (A,) by action number."""

    action: int
    propensity: float
    values: list[float]
    probabilities: list[float]
    legal: tuple[int, ...]  # action numbers
    observation: list[float]
    degraded: bool  # the policy could not answer: wait


def choose(held: Held, cluster: str, live: Live, mask: LiveMask, u: float) -> Choice:
    """Sample a legal action; a policy that cannot answer means wait, never a guess."""
    journey = held.journey(cluster)
    observation = held.fold_of(cluster).observe(live)[None]  # (1, F)
    legal = unpack(mask.bits, len(journey.actions))[None]  # (1, A)
    manifest = held.bundle.manifest
    numbers = tuple(np.flatnonzero(legal[0]).tolist())
    try:
        greedy, values = held.bundle.policy(cluster).evaluate(observation, legal)
        probabilities = serving_probabilities(
            greedy, values, legal, manifest.exploration, manifest.clusters[cluster].max_regret
        )[0]
        if not (np.isfinite(values).all() and np.isfinite(probabilities).all()):
            raise ArithmeticError("policy gave a number that is not finite")
        action, propensity = sample(probabilities, u)
        degraded = False
    except (JourneyError, ArithmeticError):
        values, probabilities = np.zeros(legal.shape), np.eye(1, legal.shape[1])[0]
        action, propensity, degraded = 0, 1.0, True
    return Choice(
        action,
        min(propensity, 1.0),
        values[0].tolist(),
        np.minimum(probabilities, 1.0).tolist(),
        numbers,
        observation[0].tolist(),
        degraded,
    )


def step_of(action: Action) -> Wait | Contact:
    """An action as the contract writes it."""
    return Wait() if action.is_wait else Contact(touchpoint=action.touchpoint, channel=action.channel)


def alternatives(actions: tuple[Action, ...], choice: Choice) -> list[Alternative]:
    """Every legal step, the likeliest first, then the most valuable."""
    ranked = sorted(choice.legal, key=lambda n: (-choice.probabilities[n], -choice.values[n], n))
    return [
        Alternative(
            touchpoint=actions[n].touchpoint or None,
            channel=actions[n].channel or None,
            value=choice.values[n],
            propensity=choice.probabilities[n],
        )
        for n in ranked
    ]


def blocked(actions: tuple[Action, ...], mask: LiveMask) -> list[Blocked]:
    """Every step that is not legal, with the first rule against it."""
    named: list[Any] = [(actions[number], rule) for number, rule in mask.blocked]
    return [Blocked(touchpoint=a.touchpoint, channel=a.channel, rule=rule) for a, rule in named]


def believed(journey: Journey, choice: Choice) -> dict[str, float] | None:
    """What the decision took the customer's hidden type to be; None where the cluster has none."""
    if not journey.encoding.beliefs:
        return None
    belief = choice.observation[len(journey.encoding.levels) :]
    return dict(zip(journey.persona_names, belief, strict=True))


def reason(journey: Journey, choice: Choice) -> Reason:
    """Why this step: its lead over the best other legal one, in value, and what was believed."""
    why = _lead(journey.actions, choice)
    return why.model_copy(update={"belief": believed(journey, choice)})


def _lead(actions: tuple[Action, ...], choice: Choice) -> Reason:
    key = actions[choice.action].key
    others = [n for n in choice.legal if n != choice.action]
    if choice.degraded:
        return Reason(
            summary="The policy could not answer; waiting is safe.", gap_to_next=None, runner_up=None
        )
    if not others:
        return Reason(summary=f"{key} is the only legal step.", gap_to_next=None, runner_up=None)
    best = max(others, key=lambda n: (choice.values[n], -n))
    gap = choice.values[choice.action] - choice.values[best]
    likeliest = choice.probabilities[choice.action] >= max(choice.probabilities)
    summary = (
        f"{key} is the policy's choice among {len(choice.legal)} legal steps."
        if likeliest
        else f"{key} was drawn to explore; {actions[best].key} is the best other step."
    )
    return Reason(summary=summary, gap_to_next=gap, runner_up=step_of(actions[best]))
