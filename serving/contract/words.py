"""The contract's basic types: identifiers, times, numbers and the words of design §9.

Shared by every request and answer; strict, so that what is not documented is refused.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictStr,
    StringConstraints,
)

from envs.scenario.events import KINDS

Mode = Literal["live", "shadow", "holdout"]
Purpose = Literal["marketing", "service"]
Rule = Literal[
    "consent",
    "capability",
    "stage",
    "cap",
    "calendar",
    "daily_limit",
    "quiet_hours",
    "blackout",
    "wished_channel",
    "availability",
    "suppression",
    "excluded",
]
if TYPE_CHECKING:
    EventKind = str
else:
    EventKind = Literal[tuple(KINDS)]  # the one list of kinds

# free of control characters (no database takes them all) and of the path's own separator
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_ID = r"^[^\x00-\x1f\x7f/]+$"

Text = Annotated[StrictStr, StringConstraints(max_length=200, pattern=_PRINTABLE)]
Label = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
ActionKey = Annotated[StrictStr, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f|]+$")]
EventId = Annotated[StrictStr, StringConstraints(min_length=1, max_length=300, pattern=_PRINTABLE)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Probability = Annotated[float, Strict(), Field(ge=0.0, le=1.0)]
Currency = Annotated[StrictStr, StringConstraints(pattern=r"^[A-Z]{3}$")]


def _no_dots(customer_id: str) -> str:
    if customer_id in (".", ".."):
        raise ValueError("'.' and '..' are not customer ids")
    return customer_id


CustomerId = Annotated[
    StrictStr,
    StringConstraints(min_length=1, max_length=200, pattern=_ID),
    AfterValidator(_no_dots),
]
Attribute = StrictBool | Annotated[int, Strict(), Field(ge=-(2**53), le=2**53)] | Number | Text | None
Attributes = Annotated[dict[Label, Attribute], Field(max_length=200)]


def _text_only(value: object) -> object:
    if not isinstance(value, str | dt.datetime):
        raise ValueError("a time is text in ISO 8601")
    return value


def _in_range(moment: dt.datetime) -> dt.datetime:
    if not 1971 <= moment.year <= 2199:
        raise ValueError("a time between 1971 and 2199")
    return moment.astimezone(dt.UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_range)]
"""An ISO 8601 time with its zone; naive times are refused."""


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
