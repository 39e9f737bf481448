"""A trained policy as a folder, and what it answers.

`bundle` reads and writes the folder and checks every byte of it; `policy` answers probabilities and
values for observations from a network or a table; `sampling` adds exploration and draws. Simulator,
judge and service read policies only through here; nothing is trained here.
"""

from __future__ import annotations

from envs.policy.policy import Bundle, Policy, load_bundle
from envs.policy.sampling import sample, serving_probabilities

__all__ = ["Bundle", "Policy", "load_bundle", "sample", "serving_probabilities"]
