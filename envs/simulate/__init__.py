"""Customers drawn from the model: thousands a call, as event logs, or as a Gymnasium environment.

`simulator` steps a batch a day at a time; `log` writes what happened as an event log, under one of
the `logging_policy` mixtures; `gym_env` and `vector_env` wrap it for Gymnasium (the only modules of
`envs` that import it).
"""

from __future__ import annotations

from envs.simulate.simulator import Outcomes, Simulator

__all__ = ["Outcomes", "Simulator"]
