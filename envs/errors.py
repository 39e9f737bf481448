"""The exception tree: every error a person can cause or meet, and nothing else.

JourneyError
├── UserError            bad input; the command line exits 2, HTTP answers 4xx
│   ├── ScenarioError    a scenario file that cannot be used
│   ├── ConfigError      a run config or mapping that cannot be used
│   ├── LogError         an event log that cannot be read
│   └── BundleError      a policy bundle that is damaged, foreign or of another layout
├── GateError            refused on the evidence; the command line exits 3
└── Interrupted          stopped by the user, resumable; the command line exits 130
"""

from __future__ import annotations


class JourneyError(Exception):
    """Root of every error raised on purpose by this product."""

    exit_code = 1


class UserError(JourneyError):
    """Input that a person can mend. Says what, where, got, expected, next."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        got: object = None,
        expected: str = "",
        hint: str = "",
    ) -> None:
        self.what, self.where, self.got, self.expected, self.hint = what, where, got, expected, hint
        super().__init__(self.message())

    def message(self) -> str:
        """One line: `where: what: expected …, got … (next)`."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        detail = []
        if self.expected:
            detail.append(f"expected {self.expected}")
        if self.got is not None:
            detail.append(f"got {self.got!r}")
        line = f"{head}: {', '.join(detail)}" if detail else head
        return f"{line} ({self.hint})" if self.hint else line


class ScenarioError(UserError):
    """A scenario file that cannot be read, parsed, validated or solved."""


class ConfigError(UserError):
    """A run config or a mapping that cannot be used."""


class LogError(UserError):
    """An event log that cannot be read: missing, empty, ragged, naive times, unknown names."""


class BundleError(UserError):
    """A policy bundle that is damaged, foreign, or laid out for another observation."""


class GateError(JourneyError):
    """Refused on the evidence: the reason is the message."""

    exit_code = 3


class Interrupted(JourneyError):
    """Stopped by the user after a checkpoint was written; the message says how to resume."""

    exit_code = 130
