"""The judge's scenarios: `everything`, cut into variants small enough to enumerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envs.files.scenario_file import load_scenario
from envs.scenario.schema import Cap, Opportunities, Scenario

EVERYTHING = Path(__file__).parent / "everything.yaml"


def everything() -> Scenario:
    """Caps, a gap, open contacts, lasting offers, idle moves and personas in one."""
    return load_scenario(EVERYTHING)


def with_memory(scenario: Scenario, **changes: Any) -> Scenario:
    """The scenario with other fold constants."""
    memory = scenario.memory.model_copy(update=changes)
    return scenario.model_copy(update={"memory": memory})


def capped() -> Scenario:
    """Two rolling caps every day, lasting offers, no open contacts: 78,624 states."""
    caps = [Cap(channels=["email"], contacts=1, days=2), Cap(contacts=2, days=3)]
    return with_memory(everything(), caps=caps, opportunities=Opportunities(), response_window_days=1)


def gapped() -> Scenario:
    """A minimum gap, open contacts of two days, an offer that a purchase uses up: 87,480 states."""
    return with_memory(everything(), caps=[], offer_cleared_by="purchase")


def seasonal() -> Scenario:
    """Three opportunities in a season, replies need consent, an offer lasts to its redemption."""
    return with_memory(
        everything(),
        caps=[],
        response_window_days=1,
        offer_cleared_by="redemption",
        reply_needs_consent=True,
        opportunities=Opportunities(every="calendar", season_days=5, days=[0, 2, 3]),
    )


VARIANTS = {"capped": capped, "gapped": gapped, "seasonal": seasonal}
