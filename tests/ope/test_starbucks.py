"""Claims about the Starbucks log and its split; the numbers are counted from the raw files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.journey.journey import compile_journey
from envs.timeline.columns import day_number
from experiments.support.data import STARBUCKS_FILES, starbucks_file
from experiments.support.starbucks import MAPPING, half_of, split
from tests.ope.conftest import needs_data
from training.logs.logged import read_logged
from training.logs.mapping import LoadedMapping, load_mapping
from training.logs.prepare import prepare
from training.ope.log_panel import LoggedJourneys, logged_journeys
from training.ope.targets import best_single_action

pytestmark = needs_data


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both halves' files, outside the project."""
    folder = tmp_path_factory.mktemp("starbucks")
    split(folder)
    return folder


@pytest.fixture(scope="module")
def loaded() -> LoadedMapping:
    """The shipped mapping."""
    return load_mapping(MAPPING)


@pytest.fixture(scope="module")
def journeys(halves: Path, loaded: LoadedMapping) -> LoggedJourneys:
    """Half A cut into its six waves."""
    prepared = prepare([halves / "half_a" / STARBUCKS_FILES[0]], loaded)
    clusters = np.zeros(len(prepared.columns.customers), np.int64)
    weights = compile_journey(loaded.scenario, "everyone").weights()
    return logged_journeys(
        prepared.columns, loaded.scenario, prepared.plan, prepared.starts, clusters, weights
    )


def raw_half_a() -> tuple[Any, Any]:
    events, portfolio = starbucks_file(STARBUCKS_FILES[0]), starbucks_file(STARBUCKS_FILES[2])
    return events[events["cust"].map(half_of) == "a"], portfolio


def test_split_keeps_every_customer_whole_and_once(halves: Path) -> None:
    profile = starbucks_file(STARBUCKS_FILES[1])
    found = [_customers(halves / f"half_{half}" / STARBUCKS_FILES[1]) for half in "ab"]
    assert found[0].isdisjoint(found[1])
    assert found[0] | found[1] == set(profile["cust"])
    assert 0.48 < len(found[0]) / len(profile) < 0.52


def _customers(path: Path) -> set[str]:
    with gzip.open(path, "rt") as text:
        return {line.split(",")[0] for line in text.read().splitlines()[1:]}


def test_panel_has_six_waves_with_the_known_propensities(journeys: LoggedJourneys) -> None:
    panel = journeys.panel
    assert panel.actions.shape[1] == 6
    assert panel.present.all()
    start = journeys.days[0, 0]
    np.testing.assert_array_equal(journeys.days[0] - start, [0, 7, 14, 17, 21, 24])
    expected = np.where(panel.actions == 0, 0.25, 0.075)
    np.testing.assert_allclose(panel.propensity, expected, rtol=1e-6)
    # 35,496 decisions: the share sent is within 3.3 standard errors of 0.75
    error = np.sqrt(0.75 * 0.25 / panel.actions.size)
    assert np.mean(panel.actions > 0) == pytest.approx(0.75, abs=3.3 * error)


def test_rewards_are_spend_minus_the_rewards_of_completed_offers(journeys: LoggedJourneys) -> None:
    events, portfolio = raw_half_a()
    spent = events.loc[events["event"] == "transaction", "amount"].astype(float).sum()
    reward_of = dict(zip(portfolio["offer"].astype(float), portfolio["reward"].astype(float), strict=True))
    completed = events.loc[events["event"] == "offer-completed", "offer"].astype(float).map(reward_of).sum()
    assert journeys.unpriced == 0.0
    assert journeys.panel.rewards.sum() == pytest.approx(spent - completed)


def test_an_offer_stays_in_hand_until_it_expires(journeys: LoggedJourneys, loaded: LoadedMapping) -> None:
    scenario = loaded.scenario
    rules = compile_journey(scenario, "everyone").rules
    names = ["wait"] + [t.name for t in scenario.touchpoints]
    sent = journeys.panel.actions[:, 0] == names.index("offer_7")
    nothing_since = sent & (journeys.panel.actions[:, 1] == 0)
    held = journeys.states[nothing_since, 1, 6]
    # ten days, seven gone: three left, redeemed or not
    assert set(np.asarray(rules.offer_kind)[held]) == {8}
    later = journeys.states[nothing_since, 2, 6]
    assert set(later) == {0}


def test_best_single_offer_of_half_a_is_offer_7(journeys: LoggedJourneys, loaded: LoadedMapping) -> None:
    assert best_single_action(journeys, loaded.scenario) == "offer_7:email_mobile_social_web"


def test_bundle_reads_the_same_panel_as_the_mapping(halves: Path, loaded: LoadedMapping) -> None:
    logged = read_logged([halves / "half_b" / STARBUCKS_FILES[0]], loaded.scenario, MAPPING, None)
    assert set(logged.clusters) == {0}
    assert logged.plan.last_day - logged.plan.first_day == 29
    assert logged.plan.first_day == day_number(loaded.scenario.memory.opportunities.season_start)  # type: ignore[arg-type]
