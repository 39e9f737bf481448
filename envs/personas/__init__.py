"""Clusters that mix hidden types: planning with a belief over who a customer is.

Each persona has its own exact model and the belief moves by Bayes' rule; `models` holds what follows
from knowing the types, `bounds` brackets the value of the best policy from both sides, `branches`
looks one day ahead under every type, `rollouts` judges policies where nothing exact can.
"""

from __future__ import annotations

from envs.personas.models import Hidden

__all__ = ["Hidden"]
