"""The terms of design §5 as columns of a regression: one small model an event.

Each model says which term a cell of its table carries, how strongly a term is held at its
centre, and how coefficients become fields of `Parameters`. Estimation is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Array, Floats, Ints
from envs.day.chances import contact_in_play
from envs.journey.journey import Journey

LOOSE, PLAIN, TIGHT = 0.05, 1.0, 4.0
"""Ridge weights (1 / variance of a log odds ratio): levels, effects, interactions."""


@dataclass(frozen=True)
class Block:
    """One term: an index a cell (dummy columns, -1 none) or a number a cell (one column)."""

    name: str
    labels: tuple[str, ...]
    index: Ints | None = None  # (M,) column of the block, -1: the term is absent there
    number: Array | None = None  # (M,)
    penalty: float = PLAIN
    interaction: bool = False  # held at 0 as strongly as the held-out customers ask for


@dataclass(frozen=True)
class EventModel:
    """The design of one event over the cells with trials."""

    event: str
    cells: Ints  # (M,) flat positions in the table
    blocks: tuple[Block, ...]

    @property
    def starts(self) -> dict[str, slice]:
        """Columns of each block."""
        out, at = {}, 0
        for block in self.blocks:
            out[block.name] = slice(at, at + len(block.labels))
            at += len(block.labels)
        return out

    @property
    def columns(self) -> int:
        """P."""
        return sum(len(block.labels) for block in self.blocks)

    def design(self) -> Floats:
        """X (M, P)."""
        out = np.zeros((len(self.cells), self.columns))
        for block, where in zip(self.blocks, self.starts.values(), strict=True):
            if block.number is not None:
                out[:, where.start] = block.number
            elif block.index is not None:
                held = np.flatnonzero(block.index >= 0)
                out[held, where.start + block.index[held]] = 1.0
        return out

    def penalty(self, interactions: float = 1.0) -> Floats:
        """(P,) ridge weights, those of interactions multiplied."""
        weights = [b.penalty * (interactions if b.interaction else 1.0) for b in self.blocks]
        return np.repeat(weights, [len(b.labels) for b in self.blocks])

    @property
    def interacts(self) -> bool:
        """Whether any term is an interaction."""
        return any(block.interaction for block in self.blocks)


class _Grid:
    """Level numbers of the cells of a table, and the names of what they count."""

    def __init__(self, journey: Journey) -> None:
        t, scenario = journey.personas[0], journey.scenario
        self.rules, self.tables = journey.rules, t
        self.stages = tuple(s.name for s in scenario.stages)
        self.channels = tuple(c.name for c in scenario.channels)
        self.touchpoints = tuple(p.name for p in scenario.touchpoints)
        kinds, holders = np.asarray(self.rules.offer_kind), np.asarray(self.rules.offer_touchpoint)
        self.offers = tuple(
            self.touchpoints[int(holders[(kinds == k) & (holders >= 0)][0])] for k in range(1, t.offers)
        )
        self.touchpoint = np.asarray(self.rules.action_touchpoint)
        self.channel = np.asarray(self.rules.action_channel)
        self.pairs = tuple(f"{a}:{b}" for a in self.touchpoints for b in self.channels)
        self.by_stage = tuple(f"{a} in {b}" for a in self.touchpoints for b in self.stages)

    def column(self, k: Ints) -> tuple[Ints, Ints, Ints]:
        """(stage, engagement, offer) of column k of purchase and advance."""
        offer, rest = k % self.tables.offers, k // self.tables.offers
        return rest // self.tables.engagements, rest % self.tables.engagements, offer


def _level(name: str, cells: Ints) -> Block:
    return Block(name, (name,), number=np.ones(len(cells)), penalty=1e-6)


def response_model(journey: Journey, cells: Ints) -> EventModel:
    """ᾱ_c + κ + β_{t,stage} + β_e e − β_f f + β_g g + offer + γ_{t,c} + age."""
    g = _Grid(journey)
    shape = g.tables.response.shape
    row, j = cells // shape[1], cells % shape[1]
    action, age = contact_in_play.py_func(journey.machine, row)
    goodwill, rest = j % g.tables.goodwills, j // g.tables.goodwills
    fatigue, k = rest % g.tables.fatigues, rest // g.tables.fatigues
    stage, engagement, offer = g.column(k)
    t, c = g.touchpoint[action], g.channel[action]
    return EventModel("response", cells, (
        _level("level", cells),
        Block("channel", g.channels, index=c, penalty=LOOSE),
        Block("touchpoint", g.touchpoints, index=t),
        Block("stage", g.stages, index=stage),
        Block("touchpoint_stage", g.by_stage, t * len(g.stages) + stage, penalty=TIGHT, interaction=True),
        Block("pair", g.pairs, index=t * len(g.channels) + c, penalty=TIGHT, interaction=True),
        Block("engagement", ("engagement",), number=engagement),
        Block("fatigue", ("fatigue",), number=fatigue),
        Block("goodwill", ("goodwill",), number=goodwill - g.rules.goodwill_neutral),
        Block("offer", g.offers, index=offer - 1),
        Block("age", ("age",), number=age),
    ))  # fmt: skip


def opt_out_model(journey: Journey, cells: Ints) -> EventModel:
    """u_c + θ·fatigue, shifted on replies."""
    g = _Grid(journey)
    action, fatigue = cells // g.tables.fatigues, cells % g.tables.fatigues
    reply = np.asarray(g.rules.is_service)[g.touchpoint[action]]
    return EventModel("opt_out", cells, (
        _level("level", cells),
        Block("channel", g.channels, index=g.channel[action], penalty=LOOSE),
        Block("fatigue", ("fatigue",), number=fatigue),
        Block("reply", ("reply",), number=reply),
    ))  # fmt: skip


def resolution_model(journey: Journey, cells: Ints) -> EventModel:
    """ρ_c + μ_{inbound channel, c}."""
    g = _Grid(journey)
    channels = len(g.channels)
    action, asked = cells // channels, cells % channels
    reply = g.channel[action]
    labels = tuple(f"{b} after {a}" for a in g.channels for b in g.channels)
    return EventModel("resolution", cells, (
        _level("level", cells),
        Block("channel", g.channels, index=reply, penalty=LOOSE),
        Block("pair", labels, index=asked * channels + reply, interaction=True),
    ))  # fmt: skip


def purchase_model(journey: Journey, cells: Ints) -> EventModel:
    """π_stage + π_e·engagement + π_t·response + offer."""
    g = _Grid(journey)
    width = g.tables.purchase.shape[1]
    responded = cells // width - 1
    stage, engagement, offer = g.column(cells % width)
    return EventModel("purchase", cells, (
        _level("level", cells),
        Block("stage", g.stages, index=stage, penalty=LOOSE),
        Block("engagement", ("engagement",), number=engagement),
        Block("answered", ("answered",), number=(responded >= 0).astype(float)),
        Block("response", g.touchpoints, index=responded),
        Block("offer", g.offers, index=offer - 1),
    ))  # fmt: skip


def churn_model(journey: Journey, cells: Ints) -> EventModel:
    """χ_stage − χ_g·goodwill + χ_f·fatigue."""
    g = _Grid(journey)
    width = g.tables.churn.shape[1]
    stage, column = cells // width, cells % width
    return EventModel("churn", cells, (
        _level("level", cells),
        Block("stage", g.stages, index=stage, penalty=LOOSE),
        Block("goodwill", ("goodwill",), number=column % g.tables.goodwills - g.rules.goodwill_neutral),
        Block("fatigue", ("fatigue",), number=column // g.tables.goodwills),
    ))  # fmt: skip


def advance_model(journey: Journey, cells: Ints) -> EventModel:
    """a_stage + b_{t,stage}·response + b_e·engagement + offer."""
    g = _Grid(journey)
    width = g.tables.advance.shape[1]
    responded = cells // width - 1
    stage, engagement, offer = g.column(cells % width)
    both = np.where(responded >= 0, responded * len(g.stages) + stage, -1)
    return EventModel("advance", cells, (
        _level("level", cells),
        Block("stage", g.stages, index=stage, penalty=LOOSE),
        Block("engagement", ("engagement",), number=engagement),
        Block("answered", ("answered",), number=(responded >= 0).astype(float)),
        Block("response", g.touchpoints, index=responded),
        Block("response_stage", g.by_stage, index=both, penalty=TIGHT, interaction=True),
        Block("offer", g.offers, index=offer - 1),
    ))  # fmt: skip


def lapse_model(journey: Journey, cells: Ints) -> EventModel:
    """The move back, by stage."""
    g = _Grid(journey)
    return EventModel(
        "lapse", cells, (_level("level", cells), Block("stage", g.stages, index=cells, penalty=LOOSE))
    )


def inbound_model(journey: Journey, cells: Ints) -> EventModel:
    """By stage and goodwill, shifted while a request is open."""
    g = _Grid(journey)
    width = g.tables.inbound.shape[1]
    waiting, column = cells // width, cells % width
    return EventModel("inbound", cells, (
        _level("level", cells),
        Block("stage", g.stages, index=column // g.tables.goodwills, penalty=LOOSE),
        Block("goodwill", ("goodwill",), number=column % g.tables.goodwills - g.rules.goodwill_neutral),
        Block("repeat", ("repeat",), number=waiting),
    ))  # fmt: skip


MODELS = {
    "response": response_model,
    "opt_out": opt_out_model,
    "resolution": resolution_model,
    "purchase": purchase_model,
    "churn": churn_model,
    "advance": advance_model,
    "lapse": lapse_model,
    "inbound": inbound_model,
}
