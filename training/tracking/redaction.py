"""What never reaches a record: passwords, tokens and keys, in settings and in addresses.

Applied where a record is made, so the spool on disk is as clean as the tracking store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LIMIT = 500  # characters of a parameter; MLflow cuts at 6,000
HIDDEN = "redacted"
_WORDS = r"pass(?:word|wd)?|secret|token|api_?key|credential"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(rf"(?<=[?&])([^=&\s]*(?:{_WORDS})[^=&\s]*)=[^&\s]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without user names, passwords and tokens in addresses."""
    return _QUERY.sub(rf"\1={HIDDEN}", _USERINFO.sub("…@", text))


def without_password(uri: str) -> str:
    """The address as it is used by who has the password from elsewhere, e.g. the environment."""
    return _USERINFO.sub("", uri)


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys; secrets are replaced, long values cut."""
    out: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out |= flatten(value, f"{name}.")
        elif _SECRET.search(str(key)):
            out[name] = HIDDEN
        else:
            out[name] = redact(str(value))[:LIMIT]
    return out
