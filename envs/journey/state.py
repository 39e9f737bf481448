"""The state of a journey: a dozen small integers, all readable off a customer's timeline.

Components that a scenario does not use stay 0 and have size 1. Combined components
(inbox, offer, open contact, caps) are levels into the small tables of `rules.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class State(NamedTuple):
    """Integer levels, in the order of design and observation."""

    stage: int
    engagement: int  # points, one drains a day
    fatigue: int  # points, one drains a day
    goodwill: int  # levels
    inbox: int  # 0 none, else 1 + inbound channel × ages + days open
    consent: int  # bit c: may contact on channel c
    offer: int  # 0 none, else an (offer touchpoint, days left) level
    open_contact: int  # 0 none, else a (marketing action, days since contact) level
    caps: int  # level of the recent-contact history, 0 none
    idle: int  # days without activity, capped
    gap: int  # days since the last marketing contact, capped
    day: int  # day of the season, capped


COLUMN = State(*range(len(State._fields)))
"""Columns by name: `states[:, COLUMN.consent]`, `rules.sizes[COLUMN.consent]`."""

KERNEL_COMPONENTS = tuple(name for name in State._fields if name != "consent")
"""All components but consent: consent only falls, so it is an outer index of the solver."""
