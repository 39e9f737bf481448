"""Legality: which actions the rules permit in a state. Masks, never penalties.

Every rule is one bit table; an action is legal where all of them have its bit. Training,
evaluation and service read the same bits; the service adds what only it can know (quiet
hours, availability, suppression, a contact made earlier today) by clearing further bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.arrays import Ints, Mask
from envs.compiled import compiled
from envs.journey.packed import (
    CAPS_PERMIT,
    CONSENT_PERMITS,
    DAY_PERMITS,
    GAP_PERMITS,
    INBOX_PERMITS,
    STAGE_PERMITS,
)
from envs.journey.state import State

STATE_RULES = ("consent", "stage", "cap", "calendar", "capability")
"""Rule names in the order of `permitted`; `capability`: a reply needs an open request."""


@compiled
def permitted(m: Any, state: State) -> tuple[int, int, int, int, int]:
    """Bits each rule of `STATE_RULES` permits in this state."""
    return (
        m[m[CONSENT_PERMITS] + state.consent],
        m[m[STAGE_PERMITS] + state.stage],
        m[m[CAPS_PERMIT] + state.caps],
        m[m[GAP_PERMITS] + state.gap] & m[m[DAY_PERMITS] + state.day],
        m[m[INBOX_PERMITS] + state.inbox],
    )


@compiled
def legal_bits(m: Any, state: State) -> int:
    """Bit a is set where action a is legal; wait (bit 0) always is."""
    return (
        m[m[CONSENT_PERMITS] + state.consent]
        & m[m[STAGE_PERMITS] + state.stage]
        & m[m[CAPS_PERMIT] + state.caps]
        & m[m[GAP_PERMITS] + state.gap]
        & m[m[DAY_PERMITS] + state.day]
        & m[m[INBOX_PERMITS] + state.inbox]
    )


def unpack(bits: Ints | int, actions: int) -> Mask:
    """Bits (...,) as a boolean mask (..., A)."""
    return (np.asarray(bits)[..., None] >> np.arange(actions) & 1).astype(bool)
