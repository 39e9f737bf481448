"""What a scenario must satisfy beyond its schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envs.document import Key
from envs.scenario import Scenario


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a scenario, at a key."""

    key: Key
    what: str = ""
    expected: str = ""
    got: object = None
    hint: str = ""


def problems(scenario: Scenario) -> Iterator[Problem]:
    """Every problem, those a person should mend first first."""
    return iter(())
