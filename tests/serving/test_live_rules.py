"""Rules that need a clock or a second view: quiet hours, caps, gaps, expiry."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from envs.day.masks import legal_bits
from envs.journey.journey import Journey, compile_journey
from envs.scenario.events import Event
from envs.scenario.schema import Scenario
from envs.timeline.customer import Fold
from envs.timeline.occasion import LIVE_RULES, Occasion, live_mask, valid_until
from serving.decide.standing import Evidence, stand

BERLIN = dt.timezone(dt.timedelta(hours=1))


def changed(tiny: Scenario, **memory: Any) -> Journey:
    """`tiny` with other rules."""
    body = tiny.model_dump(mode="json")
    body["memory"] |= memory
    return compile_journey(Scenario.model_validate(body), "keen")


def moment(hour: int, minute: int = 0, day: int = 2) -> dt.datetime:
    """A local time in March 2026."""
    return dt.datetime(2026, 3, day, hour, minute, tzinfo=BERLIN)


def consented(journey: Journey, day: int = 2) -> Any:
    """A prospect with every consent and an open request."""
    fold = Fold(journey)
    live = fold.start(dt.date(2026, 3, day), consent=3)
    asked = Event("1", "c", moment(0, day=day), "inbound", channel="phone")
    return fold.step(live, asked)


def opt_ins() -> list[Event]:
    """Consent to both channels on the first of March."""
    return [Event(c, "c", moment(0, day=1), "opt_in", channel=c) for c in ("email", "phone")]


def marketing(journey: Journey, bits: int) -> bool:
    """Whether any marketing action is legal."""
    return bool(bits & journey.rules.marketing)


def test_without_an_occasions_rules_the_live_mask_is_the_states_mask(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    live = consented(journey)
    mask = live_mask(journey, live, Occasion(moment(9)))
    assert mask.bits == legal_bits(journey.machine, live.state)


@pytest.mark.parametrize(
    ("start", "end", "hour", "minute", "quiet"),
    [
        (20, 8, 7, 59, True),
        (20, 8, 8, 0, False),
        (20, 8, 19, 59, False),
        (20, 8, 20, 0, True),
        (12, 14, 13, 0, True),
        (12, 14, 14, 0, False),
        (0, 0, 0, 0, False),
    ],
)
def test_quiet_hours_forbid_marketing_and_never_replies(
    tiny: Scenario, start: int, end: int, hour: int, minute: int, quiet: bool
) -> None:
    journey = changed(tiny, quiet_hours={"start": start, "end": end})
    mask = live_mask(journey, consented(journey), Occasion(moment(hour, minute)))
    assert marketing(journey, mask.bits) is not quiet
    replies = [n for n, a in enumerate(journey.actions) if a.service]
    assert all(mask.bits >> n & 1 for n in replies)
    assert (mask.not_before is not None) is quiet


def test_not_before_is_the_end_of_quiet_hours_and_after_midnight_where_the_day_is_used(
    tiny: Scenario,
) -> None:
    journey = changed(tiny, quiet_hours={"start": 20, "end": 8})
    live = consented(journey)
    evening = live_mask(journey, live, Occasion(moment(21))).not_before
    night = live_mask(journey, live, Occasion(moment(3))).not_before
    used = live_mask(journey, live, Occasion(moment(10), day_used=True)).not_before
    assert (evening, night, used) == (moment(8, day=3), moment(8, day=2), moment(8, day=3))


def test_not_before_is_silent_where_waiting_would_not_help(tiny: Scenario) -> None:
    journey = changed(tiny, quiet_hours={"start": 20, "end": 8})
    stranger = Fold(journey).start(dt.date(2026, 3, 2))
    assert live_mask(journey, stranger, Occasion(moment(21))).not_before is None


def test_a_marketing_decision_expires_before_quiet_hours_and_a_reply_at_the_days_end(tiny: Scenario) -> None:
    journey = changed(tiny, quiet_hours={"start": 20, "end": 8})
    assert valid_until(journey, moment(9), marketing=True) == moment(20)
    assert valid_until(journey, moment(9), marketing=False) == moment(0, day=3)


def test_the_days_end_is_right_when_the_clock_changes(tiny: Scenario) -> None:
    journey = compile_journey(tiny, "keen")
    long_day = dt.datetime(2026, 10, 24, 22, 30, tzinfo=dt.UTC)  # 25 October has 25 hours in Berlin
    end = valid_until(journey, long_day, marketing=False)
    assert end - long_day == dt.timedelta(hours=24, minutes=30)


def test_a_reserved_contact_uses_up_a_cap_until_it_is_released(tiny: Scenario) -> None:
    journey = changed(tiny, caps=[{"contacts": 1, "days": 7}])
    fold = Fold(journey)
    granted = [
        Event(str(n), "c", moment(0, day=1), "opt_in", channel=c) for n, c in enumerate(("email", "phone"))
    ]
    contact = Event("9", "c", moment(9, day=3), "contact", channel="email", touchpoint="offer")
    free = stand(fold, Evidence(granted), moment(9, day=5))
    bound = stand(fold, Evidence(granted, reserved=[contact]), moment(9, day=5))
    assert marketing(journey, live_mask(journey, free.live, Occasion(moment(9, day=5))).bits)
    mask = live_mask(journey, bound.live, Occasion(moment(9, day=5), elsewhere=bound.elsewhere))
    assert not marketing(journey, mask.bits)
    assert {rule for _, rule in mask.blocked} == {"cap", "capability"}
    assert free.live == bound.live


def test_stored_caps_bind_a_timeline_sent_along(tiny: Scenario) -> None:
    journey = changed(tiny, caps=[{"contacts": 1, "days": 7}])
    fold = Fold(journey)
    granted = [
        Event(str(n), "c", moment(0, day=1), "opt_in", channel=c) for n, c in enumerate(("email", "phone"))
    ]
    stored = [*granted, Event("9", "c", moment(9, day=3), "contact", channel="email", touchpoint="offer")]
    standing = stand(fold, Evidence(stored, given=granted), moment(9, day=5))
    occasion = Occasion(moment(9, day=5), elsewhere=standing.elsewhere, day_used=standing.day_used)
    assert not marketing(journey, live_mask(journey, standing.live, occasion).bits)


def test_a_minimum_gap_is_called_calendar(tiny: Scenario) -> None:
    journey = changed(tiny, opportunities={"every": "gap", "gap_days": 3})
    fold = Fold(journey)
    live = fold.start(dt.date(2026, 3, 1), consent=3)
    live = fold.step(live, Event("1", "c", moment(9, day=1), "contact", channel="email", touchpoint="offer"))
    rules = {}
    for day in (2, 3, 4):
        mask = live_mask(journey, fold.to_date(live, dt.date(2026, 3, day)), Occasion(moment(9, day=day)))
        rules[day] = {rule for action, rule in mask.blocked if not journey.actions[action].service}
    assert rules == {2: {"calendar"}, 3: {"calendar"}, 4: set()}


def test_every_rule_of_the_mask_is_a_word_of_the_contract() -> None:
    from typing import get_args

    from serving.contract.words import Rule

    assert set(LIVE_RULES) <= set(get_args(Rule))
