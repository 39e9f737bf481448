"""The service's random numbers: a secret stream, one number a decision, recorded with it.

Nobody outside can foresee a draw, and anybody with the store can check one. Exploration and
the holdout are drawn here; nothing else in the service is random.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

_TO_UNIT = 2.0**-53


def fresh_secret(seed: int | None) -> str:
    """A new store's secret (hex): from a seed where a run must be repeatable."""
    return secrets.token_hex(32) if seed is None else sha256(f"seed:{seed}".encode()).hexdigest()


def uniform(secret: bytes, purpose: str, what: str) -> float:
    """Uniform in [0, 1), fixed by the secret and its purpose."""
    digest = hmac.new(secret, f"{purpose}:{what}".encode(), sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * _TO_UNIT


def token(secret: bytes, purpose: str, what: str) -> str:
    """An id that does not give its number away."""
    return hmac.new(secret, f"{purpose}:{what}".encode(), sha256).hexdigest()[:24]
