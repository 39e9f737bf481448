"""Importing this module registers the Gymnasium ids.

`gym.make("envs.registration:journey/CustomerJourney-v0", scenario=PATH)` imports it by itself.
"""

from __future__ import annotations

import gymnasium

ENVIRONMENT = "journey/CustomerJourney-v0"

if ENVIRONMENT not in gymnasium.registry:
    gymnasium.register(
        id=ENVIRONMENT,
        entry_point="envs.simulate.gym_env:CustomerJourneyEnv",
        vector_entry_point="envs.simulate.vector_env:CustomerJourneyVectorEnv",
    )
