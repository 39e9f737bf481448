"""The ideal path: the most likely day-by-day history that leads from the start to the best stage.

The optimum decides; chance takes its most probable way there, found as a shortest path over
−log P (Dijkstra, 1959) through one consent pattern. A picture for people: no value is computed
from it, and most customers take longer.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from envs.arrays import Array, Floats, Ints, Mask
from envs.day.start import start_state
from envs.day.states import decode, encode
from envs.journey.state import COLUMN
from envs.scenario.actions import Action
from envs.solve.kernel import Kernel

LINGER_DAYS = 14  # shown after arrival, along the most likely day
MAX_DAYS = 365


def ideal_path(kernel: Kernel, values: Floats, actions: Ints) -> dict[str, Any]:
    """`{start, target, probability, steps}` for an optimum `values`, `actions` (M, S).

    A step is a run of equal days: day, days, stage, action, touchpoint, channel, value, leads_to.
    """
    journey = kernel.journey
    m = int(np.argmax(journey.start_consents[kernel.consents]))
    policy, worth = np.asarray(actions[m]), np.asarray(values[m])
    stages = np.arange(kernel.states) // int(journey.rules.strides[COLUMN.stage])
    start = _start(kernel, int(kernel.consents[m]))
    target = best_stage(kernel, worth, start)
    states, probability = most_likely_route(kernel, policy, start, stages == target)
    states = states + _linger(kernel, policy, states[-1])
    names = [s.name for s in journey.scenario.stages]
    return {
        "start": names[int(stages[start])],
        "target": names[target],
        "probability": probability,
        "steps": _steps(kernel, states, policy, worth),
    }


def best_stage(kernel: Kernel, worth: Floats, start: int) -> int:
    """The stage whose plain state (everything else as at the start) is worth most."""
    stride = int(kernel.journey.rules.strides[COLUMN.stage])
    plain = np.arange(int(kernel.journey.rules.sizes[COLUMN.stage])) * stride + start % stride
    return int(np.argmax(worth[plain]))


def most_likely_route(kernel: Kernel, policy: Array, start: int, goal: Mask) -> tuple[list[int], float]:
    """States from `start` to the first one in `goal` (S,), and the route's probability."""
    distance = {start: 0.0}
    before: dict[int, int] = {}
    queue = [(0.0, start)]
    done: set[int] = set()
    while queue:
        length, state = heapq.heappop(queue)
        if state in done:
            continue
        if goal[state]:
            return _unwind(before, state), math.exp(-length)
        done.add(state)
        for following, chance in _ways(kernel, state, int(policy[state])).items():
            further = length - math.log(chance)
            if further < distance.get(following, math.inf):
                distance[following], before[following] = further, state
                heapq.heappush(queue, (further, following))
    return [start], 1.0  # the best stage is where the journey starts, or out of reach


def _ways(kernel: Kernel, state: int, action: int) -> dict[int, float]:
    """Next states of (state, action) with their probability, churn left out."""
    row = state * kernel.actions + action
    out: dict[int, float] = {}
    for k in range(int(kernel.indptr[row]), int(kernel.indptr[row + 1])):
        y = int(kernel.indices[k])
        if y == kernel.states:
            continue
        for n in range(kernel.arrive_to.shape[1]):
            chance = float(kernel.data[k] * kernel.arrive_p[y, n])
            if chance > 0.0:
                x = int(kernel.arrive_to[y, n])
                out[x] = out.get(x, 0.0) + chance
    return out


def _unwind(before: dict[int, int], state: int) -> list[int]:
    route = [state]
    while state in before:
        state = before[state]
        route.append(state)
    return route[::-1]


def _linger(kernel: Kernel, policy: Array, state: int) -> list[int]:
    """The most likely days after arrival."""
    route = []
    for _ in range(LINGER_DAYS):
        ways = _ways(kernel, state, int(policy[state]))
        state = max(ways, key=lambda x: (ways[x], -x))
        route.append(state)
    return route


def _start(kernel: Kernel, consent: int) -> int:
    """A new customer's state, else that of the commonest start stage."""
    journey = kernel.journey
    names = [s.name for s in journey.scenario.stages]
    stage = names.index(journey.scenario.new_customer.stage)
    if journey.start_stages[stage] == 0.0:
        stage = int(np.argmax(journey.start_stages))
    return int(encode(journey.machine, start_state(journey.machine, stage, consent)))


def _steps(kernel: Kernel, states: list[int], policy: Array, worth: Floats) -> list[dict[str, Any]]:
    """One entry a run of days with the same action and nothing new between them."""
    journey = kernel.journey
    names = [s.name for s in journey.scenario.stages]
    out: list[dict[str, Any]] = []
    for day, state in enumerate(states):
        here = decode(journey.machine, state, 0)
        action: Action = journey.actions[int(policy[state])]
        leads = _difference(kernel, state, states[day + 1]) if day + 1 < len(states) else []
        step = {
            "day": day,
            "days": 1,
            "stage": names[int(here.stage)],
            "action": "wait" if action.is_wait else "contact",
            "touchpoint": action.touchpoint or None,
            "channel": action.channel or None,
            "value": round(float(worth[state]), 4),
            "leads_to": leads,
        }
        last = out[-1] if out else {}
        same = all(last.get(k) == step[k] for k in ("stage", "action", "touchpoint", "channel"))
        if same and (last["leads_to"] == leads or (action.is_wait and not last["leads_to"])):
            last["days"] += 1
            last["leads_to"] = leads
        else:
            out.append(step)
    return out


def _difference(kernel: Kernel, state: int, following: int) -> list[str]:
    """What happened that day, as far as two states tell."""
    journey = kernel.journey
    before, after = decode(journey.machine, state, 0), decode(journey.machine, following, 0)
    names = [s.name for s in journey.scenario.stages]
    out = []
    if after.engagement > max(before.engagement - 1, 0):
        out.append("response")
    if after.stage != before.stage:
        out.append(f"stage:{names[int(after.stage)]}")
    if after.inbox > 0 and before.inbox == 0:
        channel = int(journey.rules.inbox_channel[after.inbox])
        out.append(f"inbound:{journey.scenario.channels[channel].name}")
    if before.inbox > 0 and after.inbox == 0:
        out.append("resolution" if after.goodwill >= before.goodwill else "expiry")
    return out
