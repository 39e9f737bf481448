"""Claims about an offer that only expiry clears: a redemption uses it up, its effect stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.day.fold import CONTACT, PURCHASE, REDEMPTION, apply, close_day
from envs.day.start import start_state
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey

SKELETON = Path(__file__).resolve().parents[2] / "configs" / "mappings" / "starbucks_scenario.yaml"
OFFER_3, OFFER_7 = 3, 7


@pytest.fixture(scope="module")
def journey() -> Journey:
    """Ten offers, `offer_cleared_by: expiry`."""
    return compile_journey(load_scenario(SKELETON), "everyone")


def test_a_used_offer_keeps_its_effect_and_cannot_be_redeemed_again(journey: Journey) -> None:
    m, rules = journey.machine, journey.rules
    state = apply(m, start_state(m, 0, 15), CONTACT, OFFER_7, 3, -1)
    fresh = state.offer
    state = apply(m, apply(m, state, PURCHASE, -1, -1, -1), REDEMPTION, OFFER_7, -1, -1)
    assert state.offer != fresh
    assert rules.offer_kind[state.offer] == rules.offer_kind[fresh]
    assert rules.offer_touchpoint[state.offer] == -1
    assert apply(m, state, REDEMPTION, OFFER_7, -1, -1) == state


def test_a_used_offer_expires_on_the_same_day_as_an_unused_one(journey: Journey) -> None:
    m = journey.machine
    kept = apply(m, start_state(m, 0, 15), CONTACT, OFFER_7, 3, -1)
    used = apply(m, kept, REDEMPTION, OFFER_7, -1, -1)
    for _ in range(9):
        kept, used = close_day(m, kept), close_day(m, used)
    assert kept.offer > 0
    assert used.offer > 0
    assert close_day(m, kept).offer == 0
    assert close_day(m, used).offer == 0


def test_redeeming_an_offer_that_was_replaced_leaves_the_newest_in_hand(journey: Journey) -> None:
    m = journey.machine
    state = apply(m, start_state(m, 0, 15), CONTACT, OFFER_7, 3, -1)
    state = apply(m, state, CONTACT, OFFER_3, 3, -1)
    assert apply(m, state, REDEMPTION, OFFER_7, -1, -1).offer == state.offer


def test_a_new_offer_replaces_a_used_one(journey: Journey) -> None:
    m, rules = journey.machine, journey.rules
    state = apply(m, start_state(m, 0, 15), CONTACT, OFFER_7, 3, -1)
    state = apply(m, apply(m, state, REDEMPTION, OFFER_7, -1, -1), CONTACT, OFFER_7, 3, -1)
    assert rules.offer_touchpoint[state.offer] == OFFER_7
