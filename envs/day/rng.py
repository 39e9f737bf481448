"""Counter-based randomness: one number per (seed, customer, day, event kind).

A change of action shifts no other draw (common random numbers), and the result does not
depend on batch size or thread count. The mixer is the 64-bit finaliser of SplitMix64
(Steele, Lea and Flood, 2014), applied twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled

# purposes of a draw beyond the event kinds (which use their own numbers)
START_STAGE, START_CONSENT, PERSONA, BEHAVIOR = 16, 17, 18, 19
MOVE, VALUE_1, VALUE_2, INBOUND_CHANNEL = 20, 21, 22, 23

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_CUSTOMER = np.uint64(0xD1342543DE82EF95)
_DAY = np.uint64(0xA0761D6478BD642F)


@compiled
def _mix(z: Any) -> Any:
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@compiled
def day_key(seed: int, customer: int, day: int) -> int:
    """The stream of one customer's day."""
    z = np.uint64(seed) * _GOLDEN + np.uint64(customer) * _CUSTOMER + np.uint64(day) * _DAY
    return _mix(z + _GOLDEN)


@compiled
def uniform(key: int, kind: int) -> float:
    """Uniform in [0, 1) for one event kind of that day."""
    z = _mix(np.uint64(key) + np.uint64(kind + 1) * _GOLDEN)
    return (z >> _S11) * (1.0 / 9007199254740992.0)
