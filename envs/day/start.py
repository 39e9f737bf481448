"""Where a journey starts: a stage and the consents are drawn, all else is empty or neutral.

Drawn for the simulated, spread for the solver, and told by a log. C channels, L stages, S kernel
states.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from envs.arrays import Floats, Ints
from envs.compiled import compiled
from envs.day.rng import START_CONSENT, START_STAGE, uniform
from envs.day.states import encode
from envs.journey.journey import Journey
from envs.journey.packed import GAP_DAYS, GOODWILL_NEUTRAL
from envs.journey.state import State


@compiled
def start_state(m: Any, stage: int, consent: int) -> State:
    """Where a journey starts: everything but stage and consent empty or neutral."""
    return State(stage, 0, 0, m[GOODWILL_NEUTRAL], 0, consent, 0, 0, 0, 0, m[GAP_DAYS], 0)


class Shares(NamedTuple):
    """Cumulative shares that `newcomer` draws from."""

    stages: Floats  # (L,)
    consents: Floats  # (2**C,) of consent bit patterns


def start_shares(journey: Journey) -> Shares:
    """Those of a cluster."""
    return Shares(np.cumsum(journey.start_stages), np.cumsum(journey.start_consents))


@compiled
def newcomer(m: Any, shares: Shares, key: int) -> State:
    """A customer's first day: stage and consents drawn from cumulative shares."""
    stage = np.searchsorted(shares.stages, uniform(key, START_STAGE), side="right")
    consent = np.searchsorted(shares.consents, uniform(key, START_CONSENT), side="right")
    state: State = start_state(m, min(stage, len(shares.stages) - 1), min(consent, len(shares.consents) - 1))
    return state


def start_places(journey: Journey) -> Ints:
    """(L - 1,) kernel states in which journeys of each living stage start."""
    machine, living = journey.machine, len(journey.start_stages) - 1
    return np.array([encode(machine, start_state(machine, stage, 0)) for stage in range(living)])
