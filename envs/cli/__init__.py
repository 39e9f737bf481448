"""The command `journey`: its root, its output, and the verbs that need no learner.

Verbs register through the entry-point group `journey.verbs`, each package its own, and are imported
only when called; exit codes and the one JSON document on stdout are decided here.
"""

from __future__ import annotations

from envs.cli.command import main

__all__ = ["main"]
