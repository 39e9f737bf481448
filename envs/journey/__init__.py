"""A scenario compiled for one cluster: rules, probabilities and prices as tables of numbers.

`Journey` is what simulator, solver, fit, learners and service all receive. It knows the layout of a
state and of an observation, which bits a rule sets, and the logits behind the rates; `packed` lays
all of it out as three flat arrays for compiled code. What a day *does* with them is `day`'s.
"""

from __future__ import annotations

from envs.journey.journey import Journey, compile_journey
from envs.journey.state import COLUMN, State

__all__ = ["COLUMN", "Journey", "State", "compile_journey"]
