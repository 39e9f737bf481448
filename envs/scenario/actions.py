"""The action list of a scenario: wait first, then every (touchpoint, channel) pair in file order."""

from __future__ import annotations

from dataclasses import dataclass

from envs.scenario.schema import Scenario


@dataclass(frozen=True, slots=True)
class Action:
    """Wait (empty names), or what to say and where to say it."""

    touchpoint: str = ""
    channel: str = ""
    service: bool = False
    stages: tuple[str, ...] | None = None

    @property
    def is_wait(self) -> bool:
        """True for the action that contacts nobody."""
        return not self.touchpoint

    @property
    def key(self) -> str:
        """`wait` or `touchpoint:channel`, as logs and bundles write it."""
        return "wait" if self.is_wait else f"{self.touchpoint}:{self.channel}"


def actions_of(scenario: Scenario) -> tuple[Action, ...]:
    """All actions, (A,) with wait at 0: the order of masks, Q, probabilities and bundles."""
    pairs = [
        Action(t.name, channel, t.service, tuple(t.stages) if t.stages is not None else None)
        for t in scenario.touchpoints
        for channel in t.channels
    ]
    return (Action(), *pairs)
