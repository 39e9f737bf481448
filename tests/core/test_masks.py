"""Rules that no journey may break, judged by a diary kept beside the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.day.masks import unpack
from envs.errors import ScenarioError
from envs.journey.journey import compile_journey
from envs.journey.state import COLUMN, State
from envs.scenario.schema import Cap, Opportunities, Scenario
from envs.simulate.simulator import Simulator
from tests.core.worlds import VARIANTS, everything, with_memory

CUSTOMERS, DAYS = 400, 60
STAGE, INBOX, CONSENT = COLUMN.stage, COLUMN.inbox, COLUMN.consent


class Diary:
    """What was done to whom on which day: (DAYS, N) channels and touchpoints, −1 for wait."""

    def __init__(self, scenario: Scenario, cluster: str, seed: int) -> None:
        journey = compile_journey(scenario, cluster)
        simulator, rng = Simulator(journey, CUSTOMERS, seed), np.random.default_rng(seed)
        shape = (DAYS, CUSTOMERS)
        self.scenario, self.actions = scenario, journey.actions
        self.action = np.zeros(shape, dtype=np.int64)
        self.before = np.zeros((*shape, len(State._fields)), dtype=np.int64)
        self.opted_out = np.full(shape, -1)
        self.legal = np.zeros((*shape, len(journey.actions)), dtype=bool)
        for day in range(DAYS):
            self.before[day] = simulator.states
            self.legal[day] = unpack(simulator.legal, len(journey.actions))
            # contact whoever may be contacted: the rules must hold at full pressure
            keys = np.where(self.legal[day], rng.random(self.legal[day].shape), -1.0)
            keys[:, 0] *= 0.1
            self.action[day] = keys.argmax(1)
            self.opted_out[day] = simulator.step(self.action[day]).outcomes[:, 1]

    def on(self, number: int) -> Any:
        """(DAYS, N) where that action was taken."""
        return self.action == number

    def marketing(self, channels: list[str] | None = None) -> Any:
        """(DAYS, N) where a marketing contact went out on one of the channels."""
        out = np.zeros(self.action.shape, dtype=bool)
        for number, action in enumerate(self.actions):
            if not action.is_wait and not action.service and (channels is None or action.channel in channels):
                out |= self.on(number)
        return out

    def most_in(self, contacts: Any, days: int) -> int:
        """The most contacts of one customer in any window of so many days."""
        total = np.cumsum(np.concatenate([np.zeros((1, CUSTOMERS)), contacts]), axis=0)
        return int((total[days:] - total[:-days]).max())


@pytest.fixture(scope="module", params=["everything", *sorted(VARIANTS)])
def diary(request: pytest.FixtureRequest) -> Diary:
    """Two months of full pressure on each variant."""
    name: str = request.param
    return Diary(everything() if name == "everything" else VARIANTS[name](), "plain", 99)


def test_customer_who_opted_out_is_never_contacted(diary: Diary) -> None:
    """By marketing on that channel; nor by a reply where replies need consent."""
    refused = 0
    for channel, spec in enumerate(diary.scenario.channels):
        left = np.cumsum(diary.opted_out == channel, axis=0) > 0
        left = np.concatenate([np.zeros((1, CUSTOMERS), dtype=bool), left[:-1]])  # from the next day on
        never = diary.before[0, :, CONSENT] >> channel & 1 == 0
        closed = left | never
        for number, action in enumerate(diary.actions):
            if action.channel != spec.name:
                continue
            if action.service and not diary.scenario.memory.reply_needs_consent:
                continue
            assert not (diary.on(number) & closed).any(), action.key
            assert not diary.legal[..., number][closed].any(), action.key
        refused += int(left.sum())
    assert refused > 1_000, "the test needs customers who opted out"


def test_wait_is_always_legal_and_churned_customers_are_left_alone(diary: Diary) -> None:
    assert diary.legal[..., 0].all()
    gone = diary.before[..., STAGE] == len(diary.scenario.stages) - 1
    assert gone.any()
    assert (diary.action[gone] == 0).all()


def test_replies_need_an_open_request(diary: Diary) -> None:
    for number, action in enumerate(diary.actions):
        if action.service:
            assert (diary.before[diary.on(number)][:, INBOX] > 0).all()
            assert diary.on(number).sum() > 100


def test_no_window_ever_holds_more_contacts_than_its_cap(diary: Diary) -> None:
    for cap in diary.scenario.memory.caps:
        assert diary.most_in(diary.marketing(cap.channels), cap.days) <= cap.contacts


def test_every_contact_waits_for_the_minimum_gap(diary: Diary) -> None:
    gap = diary.scenario.memory.opportunities.gap_days
    if gap is not None:
        assert diary.most_in(diary.marketing(), gap) == 1


def test_marketing_keeps_to_the_calendar(diary: Diary) -> None:
    opportunities = diary.scenario.memory.opportunities
    days = np.flatnonzero(diary.marketing().any(1)).tolist()
    if opportunities.every == "calendar":
        assert days == opportunities.days
    else:
        assert max(days) > DAYS - 5, "without a calendar marketing goes on"


def test_a_touchpoint_keeps_to_its_stages(diary: Diary) -> None:
    names = [s.name for s in diary.scenario.stages]
    for number, action in enumerate(diary.actions):
        if action.stages is not None:
            seen = {names[s] for s in np.unique(diary.before[diary.on(number)][:, STAGE])}
            assert seen <= set(action.stages)
            assert diary.on(number).any()


@pytest.mark.parametrize(
    "caps",
    [
        [Cap(contacts=1, days=2)],
        [Cap(contacts=3, days=7)],
        [Cap(channels=["phone"], contacts=1, days=5), Cap(channels=["email"], contacts=2, days=3)],
        [Cap(channels=["email", "phone"], contacts=2, days=6), Cap(channels=["phone"], contacts=1, days=3)],
    ],
    ids=["one_in_two", "three_in_a_week", "a_channel_each", "overlapping"],
)
def test_caps_bind_exactly(caps: list[Cap]) -> None:
    """Under full pressure a cap is reached, and never passed."""
    scenario = with_memory(everything(), caps=caps, opportunities=Opportunities(), response_window_days=1)
    diary = Diary(scenario, "plain", 5)
    for cap in caps:
        assert diary.most_in(diary.marketing(cap.channels), cap.days) == cap.contacts


def test_caps_beyond_what_a_state_can_store_are_refused() -> None:
    """44,464 levels: a 16-bit level would wrap and the cap would be forgotten."""
    caps = [Cap(contacts=4, days=12), Cap(channels=["email"], contacts=2, days=10)]
    scenario = with_memory(everything(), caps=caps, opportunities=Opportunities())
    with pytest.raises(ScenarioError, match="44464"):
        compile_journey(scenario, "plain")
