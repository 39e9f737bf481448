"""Consent patterns a policy was made for, and the nearest of them to any other.

A cluster's model starts from the consents its customers have; a real customer may hold another
pattern. The policy then answers as for the nearest pattern it knows, and the masks, which read
the true consents, remove what is forbidden.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats, Ints


def nearest_patterns(consents: Ints, patterns: int) -> Ints:
    """(2**C,) index into `consents` (M,) of the pattern with the fewest differing channels.

    Ties go to the pattern with fewer consents that the customer has not given, then to the
    earlier one.
    """
    known = [int(c) for c in consents]

    def distance(pattern: int, index: int) -> tuple[int, int, int]:
        other = known[index]
        return (pattern ^ other).bit_count(), (other & ~pattern).bit_count(), index

    return np.array(
        [min(range(len(known)), key=lambda m: distance(p, m)) for p in range(patterns)], dtype=np.int64
    )


def project(observations: Floats, source: Ints, known: Ints) -> Floats:
    """Observations (N, F) with their consent entries moved to a known pattern.

    `source` is the encoder's (−1 − channel on consent entries), `known` (2**C,) maps a pattern
    to the one to be answered for.
    """
    entries = {int(-1 - s): f for f, s in enumerate(source) if s < 0}
    pattern = np.zeros(len(observations), dtype=np.int64)
    for channel, f in entries.items():
        pattern |= observations[:, f].astype(np.int64) << channel
    answered = known[pattern]
    if np.array_equal(answered, pattern):
        return observations
    out = observations.copy()
    for channel, f in entries.items():
        out[:, f] = answered >> channel & 1
    return out
