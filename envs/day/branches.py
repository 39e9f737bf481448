"""Every event branch of one day, enumerated: the solver's exact twin of `day.py`.

What can happen is `outcomes.py`'s. Branches that end in the same afterstate (after the close, before
the inbound draw) are merged. Leaves out opt-outs, which only touch consent: a kernel state holds none.
"""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.day.day import OUT_STAGE, play_close, play_contact, play_events
from envs.day.outcomes import Listed, begins, day_chances, outcomes_of
from envs.day.states import encode
from envs.journey.state import State

BRANCHES = 96  # distinct afterstates of one (state, action) never reach this
BUFFERS = 3  # of rewards: after the contact, before the move, after the close


@compiled
def _emit(index: int, p: float, found: Any, mass: Any, count: int) -> int:
    """Add probability to an afterstate of the current row; returns the number found."""
    for n in range(count):
        if found[n] == index:
            mass[n] += p
            return count
    found[count], mass[count] = index, p
    return count + 1


@compiled
def enumerate_day(
    m: Any, chance: Any, price: Any, before: State, action: int,
    found: Any, mass: Any, out: Any, buffers: Any, listed: Listed,
) -> int:  # fmt: skip
    """All afterstates of (state, action): fills `found`, `mass` and the expected `out` (R,).

    `buffers` (BUFFERS, R) and `listed` are scratch.
    """
    contact, events, branch = buffers[0], buffers[1], buffers[2]
    likely = day_chances(m, chance, before, action, listed)
    outcomes = outcomes_of(m, before, action, likely, listed)
    contact[:] = 0.0
    touched = play_contact(m, price, before, action, contact)
    rows, chances, state, count = listed.rows, listed.chance, touched, 0
    for n in range(outcomes):
        if begins(rows, n):
            events[:] = contact
            state = play_events(m, price, touched, rows[n], likely.value, events)
        p = chances[n]
        if p <= 0.0:
            continue
        for r in range(len(out)):
            branch[r] = events[r]
        after = play_close(m, price, state, rows[n, OUT_STAGE], branch)
        for r in range(len(out)):
            out[r] += p * branch[r]
        count = _emit(encode(m, after), p, found, mass, count)
    return count
