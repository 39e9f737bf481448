"""How many states a cluster has, counted before anything is allocated.

The kernel enumerates the living states without consent; the consent patterns that can
occur are an outer index, since consent only falls.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Ints
from envs.errors import ScenarioError
from envs.journey.journey import Journey
from envs.journey.state import COLUMN, State


def reachable_consents(journey: Journey) -> Ints:
    """(M,) consent patterns that d0 holds or that opt-outs lead to, fewest consents first."""
    falls = np.zeros(len(journey.scenario.channels), dtype=bool)
    for tables in journey.personas:
        for action, channel in enumerate(journey.rules.action_channel):
            if channel >= 0 and tables.opt_out[action].max() > 0.0:
                falls[channel] = True
    pending = [int(c) for c in np.flatnonzero(journey.start_consents > 0)]
    seen = set(pending)
    while pending:
        pattern = pending.pop()
        for channel in np.flatnonzero(falls):
            fewer = pattern & ~(1 << int(channel))
            if fewer not in seen:
                seen.add(fewer)
                pending.append(fewer)
    return np.array(sorted(seen, key=lambda c: (c.bit_count(), c)), dtype=np.int64)


def kernel_states(journey: Journey) -> int:
    """Living states without consent: the size of the kernel."""
    return int(journey.rules.strides[COLUMN.stage] * journey.rules.sizes[COLUMN.stage])


def count_states(journey: Journey) -> int:
    """Living states of the cluster: the kernel's times the reachable consent patterns."""
    return kernel_states(journey) * len(reachable_consents(journey))


def refuse_above_limit(journey: Journey) -> None:
    """Raise `ScenarioError` with the count per component above `max_states`."""
    states, limit = count_states(journey), journey.scenario.max_states
    if states <= limit:
        return
    sizes = dict(zip(State._fields, journey.rules.sizes.tolist(), strict=True))
    sizes["consent"] = len(reachable_consents(journey))
    used = " × ".join(f"{name} {size}" for name, size in sizes.items() if size > 1)
    raise ScenarioError(
        "too many states",
        where=f"cluster {journey.cluster.name}",
        got=states,
        expected=f"at most {limit}",
        hint=f"{used}; drop a component or raise max_states",
    )
