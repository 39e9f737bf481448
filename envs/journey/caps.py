"""Rolling contact caps as state: the history of capped contacts inside each window.

A bare rolling count is not Markov, so the state carries on which of the last days a capped
contact went out: one bit a day, newest first, at most `contacts` bits set. Several caps are
one combined level.
"""

from __future__ import annotations

from itertools import combinations, product
from math import comb, prod

import numpy as np

from envs.arrays import Ints
from envs.scenario.actions import Action
from envs.scenario.schema import Cap


def cap_tables(caps: list[Cap], channels: list[str], actions: tuple[Action, ...]) -> dict[str, Ints]:
    """Level tables `caps_on_contact` (levels, C), `caps_close` (levels,), `caps_permit` (levels,)."""
    histories = list(product(*(_histories(cap) for cap in caps)))
    level = {history: number for number, history in enumerate(histories)}
    covered = [set(cap.channels or channels) for cap in caps]
    on_contact = np.zeros((len(histories), len(channels)), np.int64)
    close = np.zeros(len(histories), np.int64)
    permit = np.zeros(len(histories), np.int64)
    every = (1 << len(actions)) - 1
    for number, history in enumerate(histories):
        for c, channel in enumerate(channels):
            after = tuple(
                _newest(bits | 1, cap.contacts) if channel in covered[k] else bits
                for k, (cap, bits) in enumerate(zip(caps, history, strict=True))
            )
            on_contact[number, c] = level[after]
        close[number] = level[
            tuple((bits << 1) & ((1 << cap.days) - 1) for cap, bits in zip(caps, history, strict=True))
        ]
        permit[number] = every & ~_exhausted(caps, covered, history, actions)
    return {"caps_on_contact": on_contact, "caps_close": close, "caps_permit": permit}


def _histories(cap: Cap) -> list[int]:
    """All day patterns with at most `contacts` bits; bit 0 is today."""
    days = range(cap.days)
    return sorted(
        sum(1 << day for day in chosen)
        for count in range(min(cap.contacts, cap.days) + 1)
        for chosen in combinations(days, count)
    )


def cap_levels(caps: list[Cap]) -> int:
    """How many levels `cap_tables` would make, without making them."""
    return prod(sum(comb(cap.days, k) for k in range(cap.contacts + 1)) for cap in caps)


def _newest(bits: int, count: int) -> int:
    """Keep the `count` newest days: other systems may have sent more than the cap."""
    while bits.bit_count() > count:
        bits &= ~(1 << (bits.bit_length() - 1))
    return bits


def _exhausted(
    caps: list[Cap], covered: list[set[str]], history: tuple[int, ...], actions: tuple[Action, ...]
) -> int:
    """Bits of marketing actions whose cap is used up."""
    blocked = 0
    for cap, channels, bits in zip(caps, covered, history, strict=True):
        if bits.bit_count() >= cap.contacts:
            for number, action in enumerate(actions):
                if not action.is_wait and not action.service and action.channel in channels:
                    blocked |= 1 << number
    return blocked
