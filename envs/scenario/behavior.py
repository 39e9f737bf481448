"""How people behave: the event probabilities of one cluster or persona, as people write them.

Rates hold at the reference point; everything else multiplies the odds. Logits are computed
in `journey/logits.py` only.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from envs.scenario.fields import Name, OddsRatio, Rate, Strict

ByStage = dict[Name, OddsRatio]


class Response(Strict):
    """A click, a view, a call taken: the odds are a product of these ratios."""

    rate: dict[Name, Rate]  # by channel
    touchpoint: dict[Name, OddsRatio | ByStage] = {}  # 1 for the reference touchpoint
    pair: dict[Name, dict[Name, OddsRatio]] = {}  # touchpoint -> channel
    engagement: OddsRatio = 1.0  # a point
    fatigue: OddsRatio = 1.0  # a point
    goodwill: OddsRatio = 1.0  # a level above neutral
    offer_in_hand: dict[Name, OddsRatio] = {}  # by the touchpoint that left it
    day_open: OddsRatio = 1.0  # a day since the contact, where the window is longer than a day


class OptOut(Strict):
    """Leaving a channel, on a contact over it."""

    rate: dict[Name, Rate] = {}
    fatigue: OddsRatio = 1.0
    reply: OddsRatio = 1.0  # on a reply instead of a marketing contact


class Resolution(Strict):
    """A reply settles the request; depends on the pair of inbound and reply channel."""

    rate: dict[Name, Rate] = {}  # by reply channel
    inbound: dict[Name, dict[Name, OddsRatio]] = {}  # inbound channel -> reply channel


class Purchase(Strict):
    """One purchase a day at most; several in a log are one of the summed value."""

    rate: dict[Name, Rate]  # by stage
    engagement: OddsRatio = 1.0
    response: dict[Name, OddsRatio] = {}  # by the touchpoint responded to today
    offer_in_hand: dict[Name, OddsRatio] = {}
    value: dict[Name, Annotated[float, Field(ge=0.0)]] = {}  # mean by stage
    value_with_offer: dict[Name, Annotated[float, Field(gt=0.0)]] = {}  # multiplier by touchpoint
    value_cv: Annotated[float, Field(ge=0.0, le=5.0)] = 0.5  # coefficient of variation, log-normal


class Churn(Strict):
    """Leaving for good; first of the competing stage moves."""

    rate: dict[Name, Rate] = {}
    goodwill: OddsRatio = 1.0  # a level above neutral
    fatigue: OddsRatio = 1.0


class Advance(Strict):
    """The exogenous move forward, second of the competing moves."""

    rate: dict[Name, Rate] = {}
    engagement: OddsRatio = 1.0
    response: dict[Name, OddsRatio | ByStage] = {}
    offer_in_hand: dict[Name, OddsRatio] = {}


class Lapse(Strict):
    """The exogenous move back, third of the competing moves."""

    rate: dict[Name, Rate] = {}


class Inbound(Strict):
    """A new request at the close of a day; `repeat` while one is open already."""

    rate: dict[Name, Rate] = {}
    goodwill: OddsRatio = 1.0
    repeat: OddsRatio = 1.0
    channels: dict[Name, Annotated[float, Field(ge=0.0)]] = {}  # preference, normalised


class Behavior(Strict):
    """Every event probability of one cluster or persona."""

    response: Response
    opt_out: OptOut = OptOut()
    resolution: Resolution = Resolution()
    purchase: Purchase
    churn: Churn = Churn()
    advance: Advance = Advance()
    lapse: Lapse = Lapse()
    inbound: Inbound = Inbound()
