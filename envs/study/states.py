"""The solver's states by name: a row a state, a column a component that the scenario uses.

Words and numbers are `timeline.description`'s, so a table here and a state on the service's page say
the same. Rows are consent pattern by consent pattern, M × S of them; churned customers have none.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from envs.arrays import Array, Ints
from envs.day.start import start_state
from envs.journey.journey import Journey
from envs.journey.state import COLUMN, KERNEL_COMPONENTS
from envs.solve.kernel import Kernel
from envs.timeline.description import describe


def named_states(kernel: Kernel) -> pd.DataFrame:
    """(M × S) rows; `stage`, levels, `consent_CHANNEL`, and e.g. `inbox_channel`, `inbox_days_open`."""
    journey, blocks = kernel.journey, len(kernel.consents)
    rules, place = journey.rules, np.arange(kernel.states)
    columns: dict[str, Array] = {}
    for name in KERNEL_COMPONENTS:
        position = getattr(COLUMN, name)
        if rules.sizes[position] == 1 and name != "stage":
            continue
        level = place // rules.strides[position] % rules.sizes[position]
        for column, words in _words(journey, name, int(rules.sizes[position])).items():
            columns[column] = np.tile(words[level], blocks)
        if name == "inbox" or (name == "goodwill" and rules.sizes[COLUMN.inbox] == 1):
            columns |= _consents(kernel)
    return pd.DataFrame(columns)


def _consents(kernel: Kernel) -> dict[str, Array]:
    channels = kernel.journey.scenario.channels
    patterns: Ints = np.repeat(kernel.consents, kernel.states)
    return {f"consent_{c.name}": patterns >> bit & 1 == 1 for bit, c in enumerate(channels)}


def _words(journey: Journey, name: str, size: int) -> dict[str, Array]:
    """By column: the word or number of every level (size,); None or 0 where there is nothing."""
    plain = start_state.py_func(journey.scalar_machine, 0, 0)
    told = [describe(journey, plain._replace(**{name: level}))[name] for level in range(size)]
    parts = [one for one in told if isinstance(one, dict)]
    if not parts:
        return {name: np.array(told, dtype=object if isinstance(told[0], str) else np.int64)}
    out: dict[str, Array] = {}
    for part, example in parts[0].items():
        values = [one[part] if isinstance(one, dict) else _nothing(example) for one in told]
        out[f"{name}_{part}"] = np.array(values, dtype=object if isinstance(example, str) else None)
    return out


def _nothing(example: object) -> object:
    return "" if isinstance(example, str) else type(example)()
