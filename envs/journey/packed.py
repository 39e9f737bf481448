"""The compiled form of a journey: one integer array, one of chances, one of prices.

Compiled functions pass these three instead of tuples of fifty arrays, which costs more than
the arithmetic. The head of `machine` holds scalars and, for a table, its offset: a rule's
table is read `m[m[TABLE] + index]`, a chance `chance[m[TABLE] + index]`. Tables keep the
shapes of `Rules`, `Tables` and `Prices`; two-dimensional ones are rows after each other.
The same code runs on tuples as plain Python.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.arrays import Array, Floats, Packed
from envs.journey.prices import Prices
from envs.journey.rules import Rules
from envs.journey.tables import Tables

_ROWS = ("channels", "response_row", "purchase_row", "churn_row", "inbound_row")
_HEAD = (
    *Rules._fields,
    *(f"chance_{name}" for name in Tables._fields),
    *(f"price_{name}" for name in Prices._fields),
    *_ROWS,
)
_SLOT = {name: number for number, name in enumerate(_HEAD)}

SIZES, STRIDES, CHURNED, RETURNING = (_SLOT[n] for n in ("sizes", "strides", "churned", "returning"))
ENGAGEMENT_CAPACITY, RESPONSE_POINTS = _SLOT["engagement_capacity"], _SLOT["response_points"]
FATIGUE_CAPACITY, FATIGUE_POINTS = _SLOT["fatigue_capacity"], _SLOT["fatigue_points"]
GOODWILL_CAPACITY, GOODWILL_NEUTRAL = _SLOT["goodwill_capacity"], _SLOT["goodwill_neutral"]
IS_SERVICE, ACTION_OF = _SLOT["is_service"], _SLOT["action_of"]
ACTION_TOUCHPOINT, ACTION_CHANNEL = _SLOT["action_touchpoint"], _SLOT["action_channel"]
INBOX_ON_INBOUND, INBOX_CLOSE = _SLOT["inbox_on_inbound"], _SLOT["inbox_close"]
INBOX_IMPATIENT, INBOX_CHANNEL = _SLOT["inbox_impatient"], _SLOT["inbox_channel"]
OFFER_ON_CONTACT, OFFER_CLOSE = _SLOT["offer_on_contact"], _SLOT["offer_close"]
OFFER_KIND, OFFER_TOUCHPOINT = _SLOT["offer_kind"], _SLOT["offer_touchpoint"]
OFFER_CLEARED_BY_PURCHASE = _SLOT["offer_cleared_by_purchase"]
OFFER_ON_REDEMPTION = _SLOT["offer_on_redemption"]
OPEN_ON_CONTACT, OPEN_CLOSE = _SLOT["open_on_contact"], _SLOT["open_close"]
OPEN_ACTION, OPEN_AGE = _SLOT["open_action"], _SLOT["open_age"]
CAPS_ON_CONTACT, CAPS_CLOSE, CAPS_PERMIT = (
    _SLOT[n] for n in ("caps_on_contact", "caps_close", "caps_permit")
)
PURCHASE_TO, IDLE_DAYS, IDLE_TO = (_SLOT[n] for n in ("purchase_to", "idle_days", "idle_to"))
IDLE_CAPACITY, GAP_DAYS, SEASON_DAYS = (_SLOT[n] for n in ("idle_capacity", "gap_days", "season_days"))
STAGE_PERMITS, CONSENT_PERMITS = _SLOT["stage_permits"], _SLOT["consent_permits"]
GAP_PERMITS, DAY_PERMITS, INBOX_PERMITS = (_SLOT[n] for n in ("gap_permits", "day_permits", "inbox_permits"))
CHANCE_RESPONSE, CHANCE_OPT_OUT = _SLOT["chance_response"], _SLOT["chance_opt_out"]
CHANCE_RESOLUTION, CHANCE_PURCHASE = _SLOT["chance_resolution"], _SLOT["chance_purchase"]
CHANCE_REDEMPTION, CHANCE_CHURN = _SLOT["chance_redemption"], _SLOT["chance_churn"]
CHANCE_ADVANCE, CHANCE_LAPSE = _SLOT["chance_advance"], _SLOT["chance_lapse"]
CHANCE_INBOUND, CHANCE_INBOUND_CHANNEL = _SLOT["chance_inbound"], _SLOT["chance_inbound_channel"]
VALUE, VALUE_SIGMA = _SLOT["chance_value"], _SLOT["chance_value_sigma"]
ADVANCE_TO, LAPSE_TO = _SLOT["chance_advance_to"], _SLOT["chance_lapse_to"]
WINDOW, OFFERS = _SLOT["chance_window"], _SLOT["chance_offers"]
ENGAGEMENTS, FATIGUES, GOODWILLS = (
    _SLOT[n] for n in ("chance_engagements", "chance_fatigues", "chance_goodwills")
)
PRICE_MARGIN, PRICE_CUSTOMER, PRICE_DAILY_MARGIN = (
    _SLOT[n] for n in ("price_margin", "price_customer", "price_daily_margin")
)
PRICE_CONTACT, PRICE_INCENTIVE, PRICE_AGENT = (
    _SLOT[n] for n in ("price_contact_cost", "price_incentive_cost", "price_agent_cost")
)
PRICE_GOODWILL, PRICE_EFFORT_DAY, PRICE_EFFORT_REPEAT = (
    _SLOT[n] for n in ("price_goodwill_level", "price_effort_day", "price_effort_repeat")
)
PRICE_OPT_OUT, PRICE_CHURN = _SLOT["price_opt_out"], _SLOT["price_churn"]
PRICE_SERVICE = _SLOT["price_service_cost"]
CHANNELS, RESPONSE_ROW, PURCHASE_ROW, CHURN_ROW, INBOUND_ROW = (_SLOT[n] for n in _ROWS)


class Machine(NamedTuple):
    """The three arrays of one cluster and persona."""

    machine: Packed  # (…,) int64
    chance: Floats  # (…,) float64
    price: Floats  # (…,) float64


class _Packer:
    """Appends tables to a body and notes their offsets in the head."""

    def __init__(self) -> None:
        self.head = np.zeros(len(_HEAD), dtype=np.int64)
        self.bodies: dict[str, list[Array]] = {"machine": [], "chance": [], "price": []}
        self.used = {"machine": len(_HEAD), "chance": 0, "price": 0}

    def add(self, slot: str, value: object, body: str) -> None:
        """Integers of rank 0 go into the head, everything else into its body."""
        array = np.asarray(value)
        integral = array.dtype.kind in "iub"
        if array.ndim == 0 and integral:
            self.head[_SLOT[slot]] = int(array)
            return
        target = "machine" if integral else body
        self.head[_SLOT[slot]] = self.used[target]
        self.bodies[target].append(array.reshape(-1))
        self.used[target] += array.size


def pack(rules: Rules, tables: Tables, prices: Prices) -> Machine:
    """Lay out rules, chances and prices for compiled code."""
    packer = _Packer()
    for name, value in rules._asdict().items():
        packer.add(name, value, "machine")
    for name, value in tables._asdict().items():
        packer.add(f"chance_{name}", value, "chance")
    for name, value in prices._asdict().items():
        packer.add(f"price_{name}", value, "price")
    rows = (
        len(rules.fatigue_points), tables.response.shape[1], tables.purchase.shape[1],
        tables.churn.shape[1], tables.inbound.shape[1],
    )  # fmt: skip
    for name, size in zip(_ROWS, rows, strict=True):
        packer.add(name, size, "machine")
    return Machine(
        machine=np.concatenate([packer.head, *packer.bodies["machine"]]).astype(np.int64),
        chance=np.concatenate(packer.bodies["chance"]).astype(np.float64),
        price=np.concatenate([np.atleast_1d(b) for b in packer.bodies["price"]]).astype(np.float64),
    )
