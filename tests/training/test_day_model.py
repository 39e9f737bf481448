"""What a day brings is learned from the days it could happen on, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import training.dynamics.model as day_model
from envs.day.day import NONE, OUT_PURCHASE, OUT_REDEMPTION, OUT_RESPONSE, OUTCOMES, possible
from envs.day.states import StateRows, state_of
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import COLUMN
from envs.simulate.simulator import Simulator
from training.dynamics.counts import Days, simulated
from training.dynamics.model import fit_days
from training.dynamics.regression import Cells, Odds, _logistic, _newton, fit_chances, fit_means
from training.dynamics.terms import Terms, fill_design
from training.fit.logistic import fit_logistic
from training.learner import Problem

MIXTURE = "business_rules:0.5+random_legal:0.5"


@pytest.fixture(scope="module")
def young(root: Path) -> Journey:
    """Contacts stay open for two days here."""
    return compile_journey(load_scenario(root / "configs" / "scenarios" / "retail_bank.yaml"), "young")


@pytest.fixture(scope="module")
def early_adopter(root: Path) -> Journey:
    """Offers are redeemed here."""
    scenario = load_scenario(root / "configs" / "scenarios" / "omnichannel_retail.yaml")
    return compile_journey(scenario, "early_adopter")


def test_chances_are_those_that_newton_finds_under_the_same_ridges(keen: Problem, log: Days) -> None:
    terms, space = Terms(keen.journey), StateRows(keen.journey)
    met, at = np.unique(log.row, return_inverse=True)
    observations = space.describe(met)[0]
    bought = (log.outcome[:, OUT_PURCHASE] > 0).astype(float)
    no = np.zeros(len(at), np.int64)
    cells = Cells(at, log.action, no, no, log.count, bought * log.count)
    design = (
        np.zeros((len(at), terms.columns), np.int64), np.zeros((len(at), terms.columns)),
        np.zeros(len(at), np.int64),
    )  # fmt: skip
    fill_design(terms.packed, observations, at, log.action, no, no, *design)
    X = np.zeros((len(at), len(terms.group)))
    for i, count in enumerate(design[2]):
        assert (np.diff(design[0][i, :count]) > 0).all()
        X[i, design[0][i, :count]] = design[1][i, :count]
    ridges, used = np.full(len(terms.group), 3.0), np.asarray(X.any(axis=0))
    ours, inverse = _newton(design, cells, np.zeros(len(ridges)), ridges, used, _logistic, 50)
    dense = fit_logistic(X, cells.trials, cells.total, ridges, np.zeros(len(ridges)), 1e-12)
    np.testing.assert_allclose(ours, dense.beta, atol=1e-6)
    np.testing.assert_allclose(inverse[used], np.diag(dense.covariance)[used], rtol=1e-5)


def test_what_does_not_matter_is_shrunk_away_and_what_does_is_found(keen: Problem, every_row: Any) -> None:
    terms, space = Terms(keen.journey), StateRows(keen.journey)
    observations, random = space.describe(every_row)[0], np.random.default_rng(0)
    state = np.repeat(np.arange(len(every_row)), 3)
    action = random.integers(0, len(keen.journey.actions), len(state))
    stage = observations[state, 0]
    truth = 1.0 / (1.0 + np.exp(3.0 - 1.5 * (stage == 1)))
    trials = np.full(len(state), 200.0)
    total = random.binomial(200, truth).astype(float)
    no = np.zeros_like(state)
    asked = observations[state], action[:, None], no[:, None], no[:, None]
    found = fit_chances(terms, observations, Cells(state, action, no, no, trials, total))
    got = found.chances(*asked)[:, 0]
    np.testing.assert_allclose(got, truth, rtol=0.12)
    raw = total / trials
    assert np.abs(got - truth).mean() < 0.15 * np.abs(raw - truth).mean()
    amounts = random.gamma(2.0, 10.0 * (1.0 + (stage == 1)) / 2.0, len(state))
    ones = np.ones(len(state))
    means = fit_means(terms, observations, Cells(state, action, no, no, ones, amounts), 0.5)
    got = means.means(*asked)[:, 0]
    np.testing.assert_allclose(got, 10.0 * (1.0 + (stage == 1)), rtol=0.25)


def test_what_one_number_says_is_not_said_again_by_levels_or_pairs(keen: Problem, every_row: Any) -> None:
    terms, space, random = Terms(keen.journey), StateRows(keen.journey), np.random.default_rng(1)
    observations = space.describe(every_row)[0]
    state = np.repeat(np.arange(len(every_row)), 8)
    action, no = random.integers(0, len(keen.journey.actions), len(state)), np.zeros_like(state)
    component = keen.journey.encoding.source.tolist().index(COLUMN.fatigue)
    most = keen.journey.encoding.sizes[component] - 1
    truth = 1.0 / (1.0 + np.exp(4.0 - 1.2 * observations[state, component] / most))
    trials = np.full(len(state), 300.0)
    cells = Cells(state, action, no, no, trials, random.binomial(300, truth).astype(float))
    theta = fit_chances(terms, observations, cells).theta
    (number,) = np.flatnonzero((terms.entry == component) & (terms.scale > 0.0))
    assert theta[terms.at[number, 0]] == pytest.approx(1.2, abs=0.15)
    others = np.delete(theta, [0, terms.at[number, 0]])
    assert np.abs(others).max() < 0.12
    assert (others == 0.0).mean() > 0.8, "groups that explain nothing are left out"


def test_what_follows_a_response_counts_by_the_contact_answered(young: Journey) -> None:
    terms, observation = Terms(young), Simulator(young, 1, 0).observations[:1]
    contacts = [a for a in range(1, len(young.actions)) if not young.actions[a].service]

    def acting(action: int, answered: int) -> set[int]:
        column, value = np.zeros((1, terms.columns), np.int64), np.zeros((1, terms.columns))
        count = np.zeros(1, np.int64)
        where = (np.zeros(1, np.int64), np.array([action]), np.array([answered]), np.ones(1, np.int64))
        fill_design(terms.packed, observation, *where, column, value, count)
        return set(column[0, : count[0]].tolist())

    first, other = contacts[0], contacts[-1]
    fresh, waiting = acting(first, first), acting(0, first)
    pairs = {int(terms.own[4] + terms.touchpoint[first]), int(terms.own[5] + terms.channel[first])}
    assert pairs <= fresh & waiting
    assert not pairs <= acting(0, other)
    assert len({frozenset(some) for some in (acting(0, 0), waiting, fresh)}) == 3


def test_a_response_is_asked_about_as_one_to_the_open_contact(young: Journey) -> None:
    days = simulated(young, MIXTURE, customers=6_000, days=15, seed=4)
    model, space = fit_days(young, days), StateRows(young)
    rows = np.unique(days.row)
    observations = space.describe(rows)[0]
    source = young.encoding.source.tolist().index(COLUMN.open_contact)
    response = model.chances(rows, observations).response
    odds = cast(Odds, model.events["response"])
    opened = np.asarray(young.rules.open_action)[observations[:, source].astype(np.int64)]
    some = np.flatnonzero(observations[:, source] > 0)[:50]
    assert len(some) == 50
    late = np.ones((len(some), 1), np.int64)
    asked = odds.chances(observations[some], opened[some, None], opened[some, None], late)[:, 0]
    np.testing.assert_array_equal(response[some, 0], asked)
    no = np.zeros((len(some), 1), np.int64)
    asked = odds.chances(observations[some], no + 1, no + 1, no)[:, 0]
    np.testing.assert_array_equal(response[some, 1], asked)
    at = np.searchsorted(rows, days.row)
    late = (days.action == 0) & (opened[at] > 0)
    expected = days.count * response[at, days.action]
    answers = days.count * (days.outcome[:, OUT_RESPONSE] >= 0)
    assert expected[late].sum() == pytest.approx(answers[late].sum(), rel=0.1)


def test_a_redemption_is_learned_from_purchases_with_an_offer_in_hand(
    early_adopter: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, space = early_adopter.machine, StateRows(early_adopter)
    days = simulated(early_adopter, MIXTURE, customers=2_000, days=20, seed=4)
    learned_from = []

    def told(terms: Terms, observations: Any, cells: Cells) -> Any:
        learned_from.append((cells.trials.sum(), cells.total.sum()))
        return fit_chances(terms, observations, cells)

    monkeypatch.setattr(day_model, "fit_chances", told)
    fit_days(early_adopter, days)
    bought = days.outcome[:, OUT_PURCHASE] >= 0
    held = np.array([
        possible(machine, state_of(machine, space.states, row), action)[3] >= 0
        for row, action in zip(days.row[bought].tolist(), days.action[bought].tolist(), strict=True)
    ])  # fmt: skip
    count, redeemed = days.count[bought], days.outcome[bought, OUT_REDEMPTION] >= 0
    assert count[~held].sum() > 100
    assert (count[held].sum(), count[redeemed].sum()) in learned_from


@pytest.mark.parametrize("free", ["all", "one stage"])
def test_purchases_without_an_amount_are_worth_next_to_nothing(
    keen: Problem, every_row: Any, log: Days, free: str
) -> None:
    stage = StateRows(keen.journey).describe(log.row)[0][:, 0]
    value = np.where((stage == 0) | (free == "all"), 0.0, log.value)
    model = fit_days(keen.journey, replace(log, value=value))
    means = model.chances(every_row, keen.observations).value
    paid = log.value.sum() / log.count[log.outcome[:, OUT_PURCHASE] > 0].sum()
    assert means[keen.observations[:, 0] == 0].max() < 0.01 * paid
    assert (means[keen.observations[:, 0] == 1].min() > 0.5 * paid) == (free != "all")


def test_an_offer_counts_as_held_from_the_contact_that_makes_it(early_adopter: Journey) -> None:
    """A log that never made an offer, of customers of whom some held one: they bought more often."""
    rules, space = early_adopter.rules, StateRows(early_adopter)
    makes = np.asarray(rules.offer_on_contact)[np.asarray(rules.action_touchpoint)] > 0
    makes[0] = False
    source = early_adopter.encoding.source.tolist().index(COLUMN.offer)
    lived = simulated(early_adopter, "random_legal", customers=2_000, days=20, seed=4)
    rows = np.unique(lived.row)
    observations = space.describe(rows)[0]
    held = observations[:, source] > 0
    chosen = np.flatnonzero(~makes)
    at, action = (part.ravel() for part in np.meshgrid(np.arange(len(rows)), chosen, indexing="ij"))
    share = np.where(held[at], 0.3, 0.02)
    outcome = np.full((2, len(at), OUTCOMES), NONE, dtype=np.int8)
    outcome[1, :, OUT_PURCHASE] = 1
    log = replace(
        lived, row=np.tile(rows[at], 2), action=np.tile(action, 2), outcome=outcome.reshape(-1, OUTCOMES),
        count=np.concatenate([100.0 * (1.0 - share), 100.0 * share]), value=np.zeros(2 * len(at)),
    )  # fmt: skip
    purchase = fit_days(early_adopter, log).chances(rows, observations).purchase[..., 0]
    np.testing.assert_allclose(purchase[~held][:, chosen], 0.02, rtol=0.2)
    np.testing.assert_allclose(purchase[held][:, chosen], 0.3, rtol=0.2)
    np.testing.assert_allclose(purchase[:, makes], 0.3, rtol=0.2)


def test_an_answer_to_another_day_s_contact_counts_by_the_offer_still_in_hand(root: Path) -> None:
    """A gift's offer is gone on the next day; who still holds another one answers more often."""
    journey = compile_journey(load_scenario(root / "tests" / "core" / "everything.yaml"), "plain")
    rules, space = journey.rules, StateRows(journey)
    gift = [a.key for a in journey.actions].index("gift:phone")
    (opened,) = np.flatnonzero((np.asarray(rules.open_action) == gift) & (np.asarray(rules.open_age) == 1))
    lived = simulated(journey, "random_legal", customers=500, days=15, seed=4)
    states = np.array([state_of(journey.machine, space.states, row) for row in np.unique(lived.row)])
    states = np.repeat(states[states[:, 0] != rules.churned], 2, axis=0)
    states[:, COLUMN.open_contact] = opened
    states[:, COLUMN.offer] = np.arange(len(states)) % 2 * 2
    rows = np.unique(space.of(states))
    observations = space.describe(rows)[0]
    held = observations[:, journey.encoding.source.tolist().index(COLUMN.offer)] > 0
    assert held.sum() == (~held).sum() > 50
    outcome = np.full((2, len(rows), OUTCOMES), NONE, dtype=np.int8)
    outcome[1, :, OUT_RESPONSE] = rules.action_touchpoint[gift]
    share = np.where(held, 0.3, 0.02)
    log = replace(
        lived, row=np.tile(rows, 2), action=np.zeros(2 * len(rows), np.int64),
        outcome=outcome.reshape(-1, OUTCOMES), count=100.0 * np.concatenate([1.0 - share, share]),
        value=np.zeros(2 * len(rows)),
    )  # fmt: skip
    response = fit_days(journey, log).chances(rows, observations).response[:, 0]
    np.testing.assert_allclose(response, share, rtol=0.2)
