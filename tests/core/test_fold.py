"""The compiled fold against the fold in words, and what holds for any events at all."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.day.fold import apply, close_day
from envs.day.start import start_state
from envs.journey.journey import Journey, compile_journey
from envs.journey.size import kernel_states
from envs.journey.state import State
from envs.scenario.events import KINDS, Event, Kind
from envs.timeline.customer import Fold, Live, order
from tests.core.plain_fold import PlainFold
from tests.core.plain_state import Reading
from tests.core.states import index_of, state_at
from tests.core.worlds import VARIANTS, everything

_apply: Any = apply.py_func
_close: Any = close_day.py_func
JOURNEYS: dict[str, Journey] = {
    "everything": compile_journey(everything(), "plain"),
    **{name: compile_journey(build(), "plain") for name, build in VARIANTS.items()},
}
FOLDS = {name: PlainFold(journey.scenario) for name, journey in JOURNEYS.items()}
FEW = settings(max_examples=150, deadline=None, derandomize=True)
Happening = tuple[str, str | None, str, str]  # kind, touchpoint, channel, level
LOGGED = [k for k in Kind if k not in (Kind.DECISION, Kind.CLOSE)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, State]:
    """A variant and any of its states, churned ones included."""
    name = draw(st.sampled_from(sorted(JOURNEYS)))
    journey = JOURNEYS[name]
    index = draw(st.integers(0, kernel_states(journey) - 1))
    state = state_at(journey, index, draw(st.integers(0, 7)))
    gone = draw(st.integers(0, 9)) == 0
    return name, state._replace(stage=journey.rules.churned) if gone else state


@st.composite
def happenings(draw: st.DrawFn) -> Happening:
    """Any event, likely or not: another system's contact, a survey out of range."""
    kind = draw(st.sampled_from(LOGGED)).name.lower()
    scenario = JOURNEYS["everything"].scenario
    touchpoint = draw(st.sampled_from([None, *(t.name for t in scenario.touchpoints)]))
    channel = draw(st.sampled_from([c.name for c in scenario.channels]))
    level = ""
    if kind == "stage":
        level = draw(st.sampled_from([s.name for s in scenario.stages]))
    elif kind == "survey":
        level = str(draw(st.integers(-1, 3)))
    return kind, touchpoint, channel, level


def applied(journey: Journey, state: State, happening: Happening) -> State:
    """The compiled rules, called as plain Python."""
    kind, touchpoint, channel, level = happening
    scenario = journey.scenario
    number = -1
    if kind == "stage":
        number = [s.name for s in scenario.stages].index(level)
    elif kind == "survey":
        number = int(level)
    touchpoints = [t.name for t in scenario.touchpoints]
    return State(
        *_apply(
            journey.scalar_machine,
            state,
            int(KINDS[kind]),
            touchpoints.index(touchpoint) if touchpoint else -1,
            [c.name for c in scenario.channels].index(channel),
            number,
        )
    )


@FEW
@given(cases(), happenings())
def test_an_event_does_what_the_design_says(case: tuple[str, State], event: Happening) -> None:
    name, state = case
    notation = FOLDS[name].notation
    expected = FOLDS[name].apply(notation.read(state), *event)
    assert applied(JOURNEYS[name], state, event) == notation.write(expected)


@FEW
@given(cases())
def test_the_end_of_a_day_does_what_the_design_says(case: tuple[str, State]) -> None:
    name, state = case
    notation = FOLDS[name].notation
    closed = _close(JOURNEYS[name].scalar_machine, state)
    assert closed == notation.write(FOLDS[name].close(notation.read(state)))


@FEW
@given(cases(), st.lists(happenings() | st.none(), max_size=12))
def test_no_level_ever_leaves_its_range(case: tuple[str, State], events: list[Happening | None]) -> None:
    name, state = case
    journey = JOURNEYS[name]
    sizes = journey.rules.sizes.tolist()
    sizes[0] += 1  # the churned stage
    for event in events:  # None: the day ends
        state = _close(journey.scalar_machine, state) if event is None else applied(journey, state, event)
        assert all(0 <= level < size for level, size in zip(state, sizes, strict=True)), state


@FEW
@given(cases())
def test_quiet_days_come_to_rest_and_rest_is_kept(case: tuple[str, State]) -> None:
    name, state = case
    journey = JOURNEYS[name]
    longest = int(max(journey.rules.sizes[[1, 2, 4, 6, 7, 9, 10, 11]])) + 6  # 6: the caps' longest window
    for _ in range(longest + int(journey.rules.idle_capacity)):
        state = _close(journey.scalar_machine, state)
    rest = _close(journey.scalar_machine, state)
    assert rest == state
    assert state.caps == 0
    assert state.gap == journey.rules.gap_days
    if state.stage != journey.rules.churned:
        assert (state.engagement, state.fatigue, state.inbox, state.offer, state.open_contact) == (0,) * 5


CONSENT = ("opt_in", "opt_out")
APART = {
    frozenset(pair)
    for pair in (
        ("response", "resolution"), ("response", "survey"), ("response", "redemption"),
        ("resolution", "purchase"), ("resolution", "redemption"), ("inbound", "contact"),
        ("inbound", "response"), ("inbound", "purchase"), ("survey", "purchase"), ("survey", "inbound"),
    )
}  # fmt: skip
"""Kinds that touch nothing in common, so that their order within a day cannot matter."""


@FEW
@given(cases(), happenings(), happenings())
def test_events_that_share_nothing_may_come_in_either_order(
    case: tuple[str, State],
    first: Happening,
    second: Happening,
) -> None:
    name, state = case
    journey = JOURNEYS[name]
    consent = (first[0] in CONSENT) + (second[0] in CONSENT)
    other_channel = consent == 2 and first[2] != second[2]
    alive = state.stage != journey.rules.churned
    if not (consent == 1 or other_channel or (alive and frozenset((first[0], second[0])) in APART)):
        return
    one = applied(journey, applied(journey, state, first), second)
    assert one == applied(journey, applied(journey, state, second), first)


@pytest.mark.parametrize("name", sorted(JOURNEYS))
def test_every_state_has_one_number_and_every_number_one_state(name: str) -> None:
    journey = JOURNEYS[name]
    states = kernel_states(journey)
    stride = max(1, states // 997)
    seen = set()
    for index in [*range(0, states, stride), states - 1]:
        state = state_at(journey, index, 5)
        assert index_of(journey, state) == index
        assert FOLDS[name].notation.write(FOLDS[name].notation.read(state)) == state
        seen.add(state)
    assert len(seen) == len({*range(0, states, stride), states - 1})
    assert index_of(journey, state._replace(stage=journey.rules.churned)) == states


@pytest.mark.parametrize("name", sorted(JOURNEYS))
def test_a_journey_starts_empty_neutral_and_rested(name: str) -> None:
    journey, fold = JOURNEYS[name], FOLDS[name]
    expected = fold.notation.write(fold.start("client", frozenset({"email", "chat"})))
    assert State(*start_state.py_func(journey.scalar_machine, 1, 0b101)) == expected


# --- the fold of a dated timeline ------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
FIRST = dt.datetime(2026, 3, 26, tzinfo=dt.UTC)  # three days later the clocks go forward


@st.composite
def timelines(draw: st.DrawFn) -> list[Event]:
    """Up to a dozen events over twelve days, at whole hours, so that ties occur."""
    out = []
    for n in range(draw(st.integers(1, 12))):
        kind, touchpoint, channel, level = draw(happenings())
        at, outcome = FIRST + dt.timedelta(hours=draw(st.integers(0, 12 * 24))), level or None
        out.append(Event(f"e{n:02}", "c", at, kind, touchpoint=touchpoint, channel=channel, outcome=outcome))
    return out


def read_day_by_day(fold: PlainFold, events: list[Event]) -> tuple[Reading, dt.date]:
    """The fold in words: close a day at each local midnight, apply in order."""
    ordered = sorted(events, key=order)
    date = ordered[0].occurred_at.astimezone(BERLIN).date()
    x = fold.start(fold.scenario.new_customer.stage, frozenset())
    for event in ordered:
        while date < event.occurred_at.astimezone(BERLIN).date():
            x, date = fold.close(x), date + dt.timedelta(days=1)
        x = fold.apply(x, event.kind, event.touchpoint, event.channel or "", event.outcome or "")
    return x, date


@FEW
@given(st.sampled_from(["everything", "capped", "gapped"]), timelines(), st.randoms(use_true_random=False))
def test_a_timeline_folds_step_by_step_in_the_order_of_time(
    name: str, events: list[Event], shuffler: Any
) -> None:
    fold = Fold(JOURNEYS[name])
    expected, date = read_day_by_day(FOLDS[name], events)
    shuffled = list(events)
    shuffler.shuffle(shuffled)
    live = fold.run(shuffled)
    assert live is not None
    assert live.date == date
    assert live.state == FOLDS[name].notation.write(expected)
    stepped: Live | None = None
    for event in sorted(events, key=order):
        stepped = fold.step(stepped or fold.start(fold.local_date(event.occurred_at)), event)
    assert stepped == live


@FEW
@given(timelines(), st.integers(0, 40), st.integers(1, 400))
def test_days_close_once_and_an_earlier_date_changes_nothing(
    events: list[Event], ahead: int, back: int
) -> None:
    fold, plain = Fold(JOURNEYS["everything"]), FOLDS["everything"]
    live = fold.run(events)
    assert live is not None
    assert fold.to_date(live, live.date - dt.timedelta(days=back)) == live
    later = fold.to_date(live, live.date + dt.timedelta(days=ahead))
    x = plain.notation.read(live.state)
    for _ in range(ahead):
        x = plain.close(x)
    assert later.state == plain.notation.write(x)
    assert fold.to_date(later, live.date) == later


@pytest.mark.parametrize("day", [-5, 0, 2, 5, 30])
def test_a_new_customer_enters_the_season_on_its_date(day: int) -> None:
    scenario = VARIANTS["seasonal"]()
    begin = dt.date(2026, 9, 1)
    opportunities = scenario.memory.opportunities.model_copy(update={"season_start": begin})
    memory = scenario.memory.model_copy(update={"opportunities": opportunities})
    fold = Fold(compile_journey(scenario.model_copy(update={"memory": memory}), "plain"))
    assert fold.start(begin + dt.timedelta(days=day)).state.day == min(max(day, 0), 5)
