"""The library's door: a scenario opened, and what people ask of it in a notebook.

`envs.load` gives a `Study`; its `journey(cluster)` is solved, asked what a policy is worth and
simulated, with states and actions by name. Thin over the wings below: no rule of a journey stands
here. `states` names the solver's states, `policies` reads what a user calls a policy.
"""

from __future__ import annotations

from envs.study.study import JourneyStudy, Optimum, Study, Worth, load

__all__ = ["JourneyStudy", "Optimum", "Study", "Worth", "load"]
