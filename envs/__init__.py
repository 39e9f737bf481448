"""Customer journeys: one model that is simulated, solved, fitted, learned in and served.

    import envs
    keen = envs.load("configs/scenarios/tiny.yaml").journey("keen")
    best = keen.solve()                      # the exact optimum: best.value, best.table(), best.path()
    keen.evaluate("service_only")            # what a policy is worth: a name, a table, a function
    keen.simulate(1000, days=60)             # an event log

| name | what it is |
|---|---|
| `load` | a scenario file opened for study: a `Study` |
| `Study`, `JourneyStudy` | a scenario, and one of its clusters, to be asked |
| `Optimum`, `Worth` | what `solve` and `evaluate` answer |
| `load_bundle`, `Bundle` | a trained policy's folder, verified |
| `load_scenario`, `Scenario` | the problem as people write it |
| `compile_journey`, `Journey` | one cluster, compiled: what everything below works on |
| `build_kernel`, `Kernel`, `Solution` | the exact model, and its optimum |
| `Simulator` | thousands of customers a call |
| `read_log`, `Event` | an event log, and one event of it |
| `COMPONENTS` | the reward components, in the order of every reward vector |
| `JourneyError` | the root of every error raised on purpose |

Names are imported when they are asked for. Folders are wings, each with a page of its own at its door;
this layer imports neither `training` nor `serving`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs.errors import JourneyError
    from envs.files.log import read_log
    from envs.files.scenario_file import load_scenario
    from envs.journey.journey import Journey, compile_journey
    from envs.policy.policy import Bundle, load_bundle
    from envs.scenario.events import Event
    from envs.scenario.schema import COMPONENTS, Scenario
    from envs.simulate.simulator import Simulator
    from envs.solve.kernel import Kernel, build_kernel
    from envs.solve.solver import Solution
    from envs.study.study import JourneyStudy, Optimum, Study, Worth, load

_HOMES = {
    "Bundle": "envs.policy.policy",
    "COMPONENTS": "envs.scenario.schema",
    "Event": "envs.scenario.events",
    "Journey": "envs.journey.journey",
    "JourneyError": "envs.errors",
    "JourneyStudy": "envs.study.study",
    "Kernel": "envs.solve.kernel",
    "Optimum": "envs.study.study",
    "Scenario": "envs.scenario.schema",
    "Simulator": "envs.simulate.simulator",
    "Solution": "envs.solve.solver",
    "Study": "envs.study.study",
    "Worth": "envs.study.study",
    "build_kernel": "envs.solve.kernel",
    "compile_journey": "envs.journey.journey",
    "load": "envs.study.study",
    "load_bundle": "envs.policy.policy",
    "load_scenario": "envs.files.scenario_file",
    "read_log": "envs.files.log",
}

__all__ = [
    "COMPONENTS",
    "Bundle",
    "Event",
    "Journey",
    "JourneyError",
    "JourneyStudy",
    "Kernel",
    "Optimum",
    "Scenario",
    "Simulator",
    "Solution",
    "Study",
    "Worth",
    "build_kernel",
    "compile_journey",
    "load",
    "load_bundle",
    "load_scenario",
    "read_log",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'envs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
