"""Random and enumerated states of a journey, and what the judges read of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from envs.day.masks import legal_bits, unpack
from envs.day.states import decode, encode
from envs.journey.journey import Journey
from envs.journey.size import kernel_states
from envs.journey.state import State
from envs.solve.kernel import Kernel
from envs.solve.sweeps import consent_positions

_decode: Any = decode.py_func
_encode: Any = encode.py_func
_legal: Any = legal_bits.py_func


def state_at(journey: Journey, index: int, consent: int) -> State:
    """A living state by its kernel index and consent pattern."""
    return State(*(int(level) for level in _decode(journey.scalar_machine, index, consent)))


def index_of(journey: Journey, state: State) -> int:
    """Its kernel index; S when churned."""
    return int(_encode(journey.scalar_machine, state))


def legal_in(journey: Journey, state: State) -> Any:
    """(A,) legal actions."""
    return unpack(_legal(journey.scalar_machine, state), len(journey.actions))


def random_cells(
    journey: Journey, consents: Any, count: int, rng: np.random.Generator
) -> Iterator[tuple[State, int]]:
    """Random (state, legal action) cells, every action as often as the others."""
    actions = len(journey.actions)
    for number in range(count):
        while True:
            index = int(rng.integers(kernel_states(journey)))
            state = state_at(journey, index, int(rng.choice(consents)))
            if legal_in(journey, state)[number % actions]:
                yield state, number % actions
                break


def next_states(kernel: Kernel, state: State, action: int) -> dict[tuple[int, int], float]:
    """The solver's own next-state law: (kernel index, consent) → probability; S is churned."""
    x, actions = index_of(kernel.journey, state), kernel.actions
    channel = int(kernel.journey.rules.action_channel[action])
    leaves = float(kernel.opt_out[x, action]) if channel >= 0 and state.consent >> channel & 1 else 0.0
    m = kernel.consents.tolist().index(state.consent)
    left = consent_positions(kernel)[m, channel] if leaves > 0.0 else m
    out: dict[tuple[int, int], float] = {}
    cell = x * actions + action
    for k in range(int(kernel.indptr[cell]), int(kernel.indptr[cell + 1])):
        after, p = int(kernel.indices[k]), float(kernel.data[k])
        arrivals = [(after, 1.0)]
        if after < kernel.states:
            targets, shares = kernel.arrive_to[after].tolist(), kernel.arrive_p[after].tolist()
            arrivals = list(zip(targets, shares, strict=True))
        for target, q in arrivals:
            for pattern, share in ((m, 1.0 - leaves), (left, leaves)):
                key = (int(target), int(kernel.consents[pattern]))
                out[key] = out.get(key, 0.0) + p * q * share
    return {key: p for key, p in out.items() if p > 0.0}


def expected_reward(kernel: Kernel, state: State, action: int) -> Any:
    """(R,) the solver's expected components, opt-outs included."""
    x = index_of(kernel.journey, state)
    reward = kernel.reward[x, action].copy()
    channel = int(kernel.journey.rules.action_channel[action])
    if channel >= 0 and state.consent >> channel & 1:
        reward[7] -= kernel.opt_out[x, action] * kernel.opt_out_cost[action]
    return reward
