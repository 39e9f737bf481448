"""A mapping's small vocabulary on a raw log, what it states, and how its mistakes are told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import ConfigError, LogError
from envs.files.log import events_of
from envs.timeline.columns import day_number
from envs.timeline.replay import replay
from training.logs.log_check import inspect
from training.logs.mapping import load_mapping
from training.logs.prepare import Prepared, prepare

RAW = """who,hour,what,campaign,money
1.0,0,sent,7.0,
2.0,0,sent,8.0,
1.0,5,seen,7.0,
1.0,30,paid,,12.5
1.0,31,paid,,-2.5
2.0,40,paid,,9.0
9.0,50,noise,,
"""
CAMPAIGNS = "id,kind,mail,app\n7,inform,1,0\n8,offer,0,1\n"
PEOPLE = """who,income,born,sex,sms_ok,seen
1.0,50000,19800229,F,yes,2025-12-01
2.0,,19900101,M,no,2026-03-01
3.0,70000,,F,,
"""
MAP = """
name: raw_log
timezone: Europe/Berlin
currency: EUR
layout: raw
scenario:
  discount: 0.95
  stages: [{name: prospect, purchase_to: buyer}, {name: buyer, customer: true}, {name: gone}]
  channels: [{name: email, fatigue_points: 2}, {name: phone, fatigue_points: 2}]
  touchpoints:
    - {name: inform, channels: [email]}
    - {name: offer, channels: [phone], offer_days: 3}
  memory: {engagement: {capacity: 2, points: 2}, fatigue_capacity: 4, goodwill: {capacity: 1, neutral: 1}
    OPPORTUNITIES}
  prices: {}
customer: {column: who, as: integer}
time: {column: hour, format: hours_since, origin: 2026-01-05T00:00:00, zone: Europe/Berlin}
tables:
  campaigns:
    file: campaigns.csv
    key: id
    derive:
      way:
        concat:
          - {column: mail, values: {"1": email, "0": null}}
          - {column: app, values: {"1": phone, "0": null}}
events:
  - when: {what: sent}
    kind: contact
    columns:
      touchpoint: {table: campaigns, key: {column: campaign, as: integer}, take: kind}
      channel: {table: campaigns, key: {column: campaign, as: integer}, take: way}
  - {when: {what: [seen, clicked]}, kind: response}
  - {when: {what: paid}, kind: purchase, columns: {value: money}}
customers:
  file: people.csv
  id: who
  attributes:
    income: {column: income}
    born: {column: born, kind: year}
    female: {column: sex, equals: F}
initial_consent:
  email: {state: granted, legal_basis: contract}
  phone: {state: column, column: sms_ok, legal_basis: asked at the till}
decisions: {source: contacts, at: "00:00"}
"""


def write(folder: Path, text: str = MAP, opportunities: str = "") -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    raw = RAW.replace("1.0,", "1,").replace("2.0,", "2,").replace("9.0,50", "9,50")
    (folder / "events.csv").write_text(raw)
    (folder / "campaigns.csv").write_text(CAMPAIGNS)
    (folder / "people.csv").write_text(PEOPLE.replace(".0,", ","))
    (folder / "map.yaml").write_text(text.replace("    OPPORTUNITIES", opportunities))
    return folder / "events.csv", folder / "map.yaml"


def prepared(folder: Path, text: str = MAP, opportunities: str = "") -> Prepared:
    log, mapping = write(folder, text, opportunities)
    return prepare([log], load_mapping(mapping))


def test_columns_are_renamed_looked_up_joined_and_dated(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    events = sorted(events_of(made.log), key=lambda e: e.occurred_at)
    assert [e.kind for e in events] == ["contact", "contact", "response", "purchase", "purchase"]
    assert {(e.customer_id, e.touchpoint, e.channel) for e in events if e.kind == "contact"} == {
        ("1", "inform", "email"),
        ("2", "offer", "phone"),
    }
    # hour 30 of a Berlin origin in winter
    assert events[3].occurred_at == dt.datetime(2026, 1, 6, 5, tzinfo=dt.UTC)
    assert made.unmatched == 1, "the row of noise matched no rule"
    assert all(e.currency == "EUR" for e in events)


def test_a_refund_is_taken_off_the_customers_last_purchase(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    assert made.refunds == 1
    assert made.refunds_without_purchase == 0
    mine = [e.value for e in events_of(made.log) if e.kind == "purchase" and e.customer_id == "1"]
    assert mine == [10.0]
    ignoring = prepared(tmp_path / "b", MAP + "refund: ignore\n")
    assert [e.value for e in events_of(ignoring.log) if e.customer_id == "1" and e.value] == [12.5]


def test_consent_and_attributes_come_from_the_customers_table(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    names = made.columns.customers.to_pylist()
    assert {name: int(bits) for name, bits in zip(names, made.starts.consent, strict=True)} == {
        "1": 3,
        "2": 1,
    }
    assert made.attributes.loc["1"].to_dict() == {"income": 50000.0, "born": 1980.0, "female": 1.0}
    assert made.attributes["income"].isna().tolist() == [False, True]


def test_an_attribute_known_after_the_first_modelled_day_is_not_used(tmp_path: Path) -> None:
    made = prepared(tmp_path, MAP.replace("  id: who\n", "  id: who\n  as_of: seen\n"))
    assert made.attributes.loc["1", "income"] == 50000.0
    assert made.attributes.loc["2"].isna().all()
    assert made.late_attributes == 1
    assert {f.name for f in inspect(made).findings} >= {"attributes_known_too_late"}


def test_several_ids_of_one_person_are_merged_along_the_chain(tmp_path: Path) -> None:
    log, mapping = write(tmp_path, MAP + "identity: {file: merge.csv, from_column: old, to_column: new}\n")
    (tmp_path / "merge.csv").write_text("old,new\n2,5\n5,1\n")
    made = prepare([log], load_mapping(mapping))
    assert made.columns.customers.to_pylist() == ["1"]
    (tmp_path / "merge.csv").write_text("old,new\n2,5\n5,2\n")
    with pytest.raises(LogError, match="circle"):
        prepare([log], load_mapping(mapping))


CALENDAR = ",\n    opportunities: {every: calendar, season_start: 2026-01-05, season_days: 7, days: [0, 2]}"


def test_a_calendar_writes_a_decision_for_everybody_with_its_propensity(tmp_path: Path) -> None:
    text = MAP.replace(
        'decisions: {source: contacts, at: "00:00"}',
        'decisions: {source: calendar, at: "00:00", propensity: {wait: 0.4, "*": 0.3}}\n'
        "window: {first_day: 2026-01-05, last_day: 2026-01-11, start: window}",
    )
    made = prepared(tmp_path, text, CALENDAR)
    assert made.columns.customers.to_pylist() == ["1", "2", "3"], "the silent customer counts too"
    decisions = [e for e in events_of(made.log) if e.kind == "decision"]
    assert len(decisions) == 3 * 2
    assert {(e.touchpoint, e.propensity) for e in decisions} == {("inform", 0.3), ("offer", 0.3), (None, 0.4)}
    assert decisions[0].eligible == ("wait", "inform:email", "offer:phone")
    (block,) = replay(made.columns, made.loaded.scenario, made.plan, made.starts)
    rows = block.rows
    assert len(rows.day) == 3 * 7
    first = rows.day == day_number(dt.date(2026, 1, 5))
    assert rows.assigned[first].tolist() == [1, 2, 0]
    assert np.isfinite(rows.propensity).sum() == 6
    assert (rows.state[:, 11] == rows.day - day_number(dt.date(2026, 1, 5))).all(), "the season's day"


MORE = """events:
  - file: "more*"
    kind: purchase
    time: {column: day, format: "%d-%m-%Y", zone: Europe/Berlin}
    columns: {value: sum}
"""


def test_events_of_several_files_follow_their_own_rules(tmp_path: Path) -> None:
    text = MAP.replace("  - when: {what: sent}", '  - file: "events*"\n    when: {what: sent}')
    text = text.replace("  - {when:", '  - {file: "events*", when:').replace("events:\n", MORE)
    log, mapping = write(tmp_path, text)
    (tmp_path / "more.csv").write_text("who,day,sum\n1,07-01-2026,4\n")
    made = prepare([log, tmp_path / "more.csv"], load_mapping(mapping))
    late = [e for e in events_of(made.log) if e.source == "more.csv"]
    assert [(e.kind, e.value, e.occurred_at) for e in late] == [
        ("purchase", 4.0, dt.datetime(2026, 1, 6, 23, tzinfo=dt.UTC))
    ]


MISTAKES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown key": ("currency: EUR", "curency: EUR", ("curency", "did you mean 'currency'", "map.yaml:4")),
    "unknown kind": ("kind: contact", "kind: contakt", ("events[0].kind", "contakt")),
    "unknown log column": (
        "columns: {value: money}",
        "columns: {valeu: money}",
        ("valeu", "did you mean 'value'"),
    ),
    "unknown table": (
        "table: campaigns, key: {column: campaign, as: integer}, take: kind",
        "table: camp, key: who, take: kind",
        ("unknown table", "campaigns"),
    ),
    "two sources": (
        "customer: {column: who, as: integer}",
        "customer: {column: who, constant: 1}",
        ("one of column, constant",),
    ),
    "unknown zone": ("timezone: Europe/Berlin", "timezone: Europe/Berlino", ("Berlino",)),
    "no legal basis": (
        "{state: granted, legal_basis: contract}",
        "{state: granted}",
        ("legal_basis", "email"),
    ),
    "unknown channel": ("  email: {state", "  mail: {state", ("initial_consent", "mail")),
    "calendar without one": ("source: contacts", "source: calendar", ("calendar",)),
    "no origin": (", origin: 2026-01-05T00:00:00", "", ("time.origin",)),
    "unknown attribute": (
        "decisions:",
        "clusters: {find: {attributes: [wealth]}}\ndecisions:",
        ("wealth", "income"),
    ),
    "unknown constant": (
        "decisions:",
        "estimation: {grid: {memory.engagement.point: [2]}}\ndecisions:",
        ("memory.engagement.point", "did you mean"),
    ),
    "share out of range": ("decisions:", "max_share: 7\ndecisions:", ("max_share", "0..1")),
    "currency of another scenario": (
        "  discount: 0.95",
        "  discount: 0.95\n  currency: USD",
        ("currency", "USD"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_mapping_is_told_with_its_key(name: str, tmp_path: Path) -> None:
    old, new, words = MISTAKES[name]
    assert old in MAP
    _, mapping = write(tmp_path, MAP.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_mapping(mapping)
    for word in words:
        assert word in str(caught.value), str(caught.value)


RAW_MISTAKES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "campaign nobody declared": (("8.0,", "77.0,"), ("not in table campaigns", "77", "7, 8")),
    "hour that is none": (("2,40", "2,late"), ("cannot read hour", "hours_since")),
    "column gone": (("money", "cash"), ("missing column", "money")),
}


@pytest.mark.parametrize("name", RAW_MISTAKES)
def test_a_raw_log_that_does_not_fit_its_mapping_is_told(name: str, tmp_path: Path) -> None:
    (old, new), words = RAW_MISTAKES[name]
    log, mapping = write(tmp_path)
    log.write_text(log.read_text().replace(old, new, 1))
    with pytest.raises(LogError) as caught:
        prepare([log], load_mapping(mapping))
    for word in words:
        assert word in str(caught.value), str(caught.value)
