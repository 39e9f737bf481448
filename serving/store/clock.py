"""Times at the boundary: aware datetimes outside, microseconds since 1970 UTC in the store."""

from __future__ import annotations

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def now() -> dt.datetime:
    """The present, aware."""
    return dt.datetime.now(dt.UTC)


def to_us(moment: dt.datetime) -> int:
    """An aware time as microseconds, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> dt.datetime:
    """Microseconds as an aware time in UTC."""
    return _EPOCH + microseconds * _MICROSECOND
