"""A customer whose consents no model customer has is answered as for the nearest known pattern."""

from __future__ import annotations

import numpy as np

from envs.policy.consents import nearest_patterns, project


def test_a_known_pattern_is_answered_as_itself() -> None:
    consents = np.array([0b00, 0b01, 0b11])
    assert [int(consents[m]) for m in nearest_patterns(consents, 4)][:2] == [0b00, 0b01]
    assert int(consents[nearest_patterns(consents, 4)[0b11]]) == 0b11


def test_an_unknown_pattern_goes_to_the_fewest_differences_then_to_the_fewest_ungiven_consents() -> None:
    consents = np.array([0b1000, 0b1011])
    nearest = nearest_patterns(consents, 16)
    assert consents[nearest[0b0011]] == 0b1011
    assert consents[nearest[0b0000]] == 0b1000
    ties = np.array([0b01, 0b10])
    assert ties[nearest_patterns(ties, 4)[0b11]] == 0b01


def test_only_consent_entries_of_the_observation_move() -> None:
    source = np.array([0, 1, -1, -2])  # stage, engagement, consent of channels 0 and 1
    known = np.array([0b00, 0b01, 0b00, 0b11])  # pattern 0b10 is answered as 0b00
    seen = np.array([[2, 3, 0, 1], [1, 0, 1, 1]], dtype=np.float32)
    np.testing.assert_array_equal(project(seen, source, known), [[2, 3, 0, 0], [1, 0, 1, 1]])
    np.testing.assert_array_equal(seen[0], [2, 3, 0, 1])
