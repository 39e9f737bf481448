"""What the service refuses beyond the journey's own errors; `problems.py` maps them to HTTP codes."""

from __future__ import annotations

from envs.errors import UserError


class NotFoundError(UserError):
    """What the path names does not exist here."""


class ConflictError(UserError):
    """The request contradicts what is already on record."""


class KeyReusedError(UserError):
    """An Idempotency-Key came a second time with another request."""
