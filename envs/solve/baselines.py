"""What anybody would do without learning: the simple baselines every policy is compared with.

Each is a policy over all states: int8 actions (M, S), or probabilities (M, S, A) where it
rolls dice. The marketing ones answer open requests as J0 (`service_only`) does.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.journey.state import COLUMN
from envs.scenario.schema import BusinessRule
from envs.solve.evaluation import policy_values
from envs.solve.kernel import Kernel, legal_masks, start_distribution
from envs.solve.sweeps import q_values


def levels(kernel: Kernel, component: str) -> Ints:
    """(S,) level of one kernel component in every state."""
    rules, position = kernel.journey.rules, getattr(COLUMN, component)
    return np.arange(kernel.states) // rules.strides[position] % rules.sizes[position]


def baselines(kernel: Kernel, weights: Floats) -> dict[str, Array]:
    """All model-only baselines by name."""
    replies = service_only(kernel)
    return {
        "service_only": replies,
        "never": np.zeros_like(replies),
        "round_robin": round_robin(kernel, replies),
        "business_rules": business_rules(kernel, replies),
        "random_legal": random_legal(kernel),
        "myopic": myopic(kernel, weights, replies),
        "best_single_action": best_single_action(kernel, weights, replies),
    }


def service_only(kernel: Kernel) -> Ints:
    """J0: no marketing; every open request answered on its inbound channel where legal."""
    rules = kernel.journey.rules
    asked = np.asarray(rules.inbox_channel)[levels(kernel, "inbox")]
    out = np.zeros((len(kernel.consents), kernel.states), dtype=np.int8)
    for m in range(len(kernel.consents)):
        legal = legal_masks(kernel, m)
        for number in reversed(range(1, kernel.actions)):
            touchpoint = int(rules.action_touchpoint[number])
            if rules.is_service[touchpoint]:
                fits = legal[:, number] & (asked == int(rules.action_channel[number]))
                out[m, fits] = number
    return out


def _marketing(kernel: Kernel) -> Mask:
    """(A,) true for marketing actions."""
    return (kernel.journey.rules.marketing >> np.arange(kernel.actions) & 1).astype(bool)


def random_legal(kernel: Kernel) -> Floats:
    """Uniform over every legal action, wait included."""
    blocks = [legal_masks(kernel, m) for m in range(len(kernel.consents))]
    return np.array([legal / legal.sum(1, keepdims=True) for legal in blocks])


def round_robin(kernel: Kernel, replies: Ints) -> Floats:
    """Contact whenever rested (fatigue 0), every legal marketing action in equal turns."""
    rested = levels(kernel, "fatigue") == 0
    out = np.eye(kernel.actions)[replies]
    for m in range(len(out)):
        legal = legal_masks(kernel, m) & _marketing(kernel)
        turn = rested & legal.any(1) & (replies[m] == 0)
        out[m, turn] = legal[turn] / legal[turn].sum(1, keepdims=True)
    return out


def myopic(kernel: Kernel, weights: Floats, replies: Ints) -> Ints:
    """The largest immediate reward, as if the day were the last."""
    nothing = np.zeros((len(kernel.consents), kernel.states))
    blocks = [q_values(kernel, nothing, weights, m).argmax(1) for m in range(len(nothing))]
    return np.where(replies > 0, replies, np.array(blocks, dtype=np.int8))


def best_single_action(kernel: Kernel, weights: Floats, replies: Ints) -> Ints:
    """The marketing action that is best when sent on every day it is legal."""
    candidates = [_single(kernel, int(number), replies) for number in np.flatnonzero(_marketing(kernel))]
    if not candidates:
        return replies
    start = start_distribution(kernel)
    values = [float((start * policy_values(kernel, policy, weights)).sum()) for policy in candidates]
    return candidates[int(np.argmax(values))]


def _single(kernel: Kernel, number: int, replies: Ints) -> Ints:
    out = replies.copy()
    for m in range(len(out)):
        out[m, legal_masks(kernel, m)[:, number] & (replies[m] == 0)] = number
    return out


def business_rules(kernel: Kernel, replies: Ints) -> Ints:
    """The scenario's ordered rules; requests no rule answers are answered as J0 does."""
    states = {name: levels(kernel, name) for name in ("stage", "engagement", "fatigue", "inbox", "offer")}
    out = np.zeros_like(replies)
    for m in range(len(out)):
        legal, decided = legal_masks(kernel, m), np.zeros(kernel.states, dtype=bool)
        for rule in kernel.journey.scenario.business_rules:
            applies = _applies(kernel, rule, states) & ~decided
            for channel in rule.channels:
                number = _numbers(kernel, rule.touchpoint, channel, states["inbox"])
                fits = applies & ~decided & (number > 0) & legal[np.arange(kernel.states), number]
                out[m, fits] = number[fits]
                decided |= fits
        unanswered = ~decided & (replies[m] > 0)
        out[m, unanswered] = replies[m, unanswered]
    return out


def _applies(kernel: Kernel, rule: BusinessRule, states: dict[str, Ints]) -> Mask:
    names = [s.name for s in kernel.journey.scenario.stages]
    holds = (states["inbox"] > 0) == rule.open_request
    if rule.stages is not None:
        holds &= np.isin(states["stage"], [names.index(s) for s in rule.stages])
    if rule.max_fatigue is not None:
        holds &= states["fatigue"] <= rule.max_fatigue
    if rule.min_engagement is not None:
        holds &= states["engagement"] >= rule.min_engagement
    if rule.without_offer:
        holds &= states["offer"] == 0
    return holds


def _numbers(kernel: Kernel, touchpoint: str, channel: str, inbox: Ints) -> Ints:
    """(S,) action number of a rule's touchpoint; channel `inbound` follows the open request."""
    rules, scenario = kernel.journey.rules, kernel.journey.scenario
    row = np.asarray(rules.action_of)[[t.name for t in scenario.touchpoints].index(touchpoint)]
    if channel == "inbound":
        asked = np.asarray(rules.inbox_channel)[inbox]
        return np.where(asked >= 0, row[np.maximum(asked, 0)], -1)
    return np.full(len(inbox), row[[c.name for c in scenario.channels].index(channel)])
