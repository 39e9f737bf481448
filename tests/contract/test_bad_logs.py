"""Bad logs get one clear line and an exit code: 2 for what a person can mend, 3 for a gate."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.cli import main
from envs.files.log import log_of, write_log
from envs.scenario.events import Event

HEADER = "event_id,customer_id,occurred_at,kind,channel,touchpoint,value\n"
START = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)


@pytest.fixture
def mapping(tmp_path: Path, tiny_path: Path) -> Path:
    """A mapping onto the scenario a person can check; e-mail was allowed, the phone was not."""
    path = tmp_path / "map.yaml"
    path.write_text(
        "name: small\ntimezone: Europe/Berlin\ncurrency: EUR\n"
        f"scenario: {tiny_path}\n"
        "initial_consent: {email: {state: granted, legal_basis: contract}}\n"
        "decisions: {source: contacts}\n"
    )
    return path


def good(customers: int = 40) -> list[Event]:
    """A tidy log: a newsletter every few days, some answers, some purchases."""
    events = []
    for c in range(customers):
        for day in range(0, 20, 4):
            at = START + dt.timedelta(days=day + c % 3)
            both = {"channel": "email", "touchpoint": "inform"}
            events.append(Event(f"s{c}-{day}", f"c{c}", at, "contact", **both))  # type: ignore[arg-type]
            if (c + day) % 3 == 0:
                later = at + dt.timedelta(hours=1)
                events.append(Event(f"r{c}-{day}", f"c{c}", later, "response", **both))  # type: ignore[arg-type]
            if (c + day) % 5 == 0:
                events.append(
                    Event(f"p{c}-{day}", f"c{c}", at + dt.timedelta(hours=2), "purchase", value=20.0 + c % 7)
                )
    return events


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    out, error = capsys.readouterr()
    assert "Traceback" not in error
    return code, out, error


BAD_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "empty": ("", (":1: empty file", "header")),
    "header only": (HEADER, ("empty log", "at least one event")),
    "too few fields": (
        HEADER + "1,a,2026-01-01T00:00:00Z,contact,email,inform,\n2,a,2026-01-02T00:00:00Z\n",
        (":3, column 4", "ragged", "expected 7 fields", "got 3"),
    ),
    "too many fields": (
        HEADER + "1,a,2026-01-01T00:00:00Z,contact,email,inform,,,\n",
        (":2, column 8", "ragged", "got 9"),
    ),
    "unknown channel": (
        HEADER + "1,a,2026-01-01T00:00:00Z,contact,emial,inform,\n",
        ("unknown channel", "got 'emial'", "expected email, phone", "row 1"),
    ),
    "unknown kind": (
        HEADER + "1,a,2026-01-01T00:00:00Z,contcat,email,inform,\n",
        ("unknown kind", "got 'contcat'", "event 1"),
    ),
    "naive time": (
        HEADER + "1,a,2026-01-01T00:00:00,contact,email,inform,\n",
        ("time without a zone", "got '2026-01-01T00:00:00'", "zone: Europe/Berlin"),
    ),
    "no such time": (
        HEADER + "1,a,2026-02-30T00:00:00Z,contact,email,inform,\n",
        ("cannot read occurred_at", "2026-02-30", "event 1"),
    ),
    "not a number": (
        HEADER + "1,a,2026-01-01T00:00:00Z,purchase,,,12;50\n",
        ("cannot read value", "got '12;50'", "event 1"),
    ),
    "missing column": ("event_id,customer_id,kind\n1,a,contact\n", ("missing column", "occurred_at")),
    "doubled column": ("event_id,kind,kind\n1,a,b\n", ("column named twice", "column 3", "kind")),
    "stage nobody knows": (
        "event_id,customer_id,occurred_at,kind,outcome\n1,a,2026-01-01T00:00:00Z,stage,vip\n",
        ("unknown stage", "got 'vip'", "prospect"),
    ),
    "contact nowhere": (
        HEADER + "1,a,2026-01-01T00:00:00Z,contact,,inform,\n",
        ("contact without its name", "expected a channel"),
    ),
    "impossible propensity": (
        "event_id,customer_id,occurred_at,kind,propensity\n1,a,2026-01-01T00:00:00Z,decision,1.2\n",
        ("propensity out of range", "got 1.2"),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_exits_2_with_its_line(
    name: str, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = BAD_FILES[name]
    path = tmp_path / "log.csv"
    path.write_text(text)
    for verb in (["check"], ["fit", "--out", tmp_path / "out"]):
        code, _, error = run(capsys, verb[0], path, "--mapping", mapping, *verb[1:])
        assert code == 2
        assert len(error.strip().splitlines()) == 1, error
        for word in words:
            assert word in error, error
    assert not (tmp_path / "out").exists(), "nothing is written from a bad log"


def test_a_file_that_is_not_there_exits_2(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(capsys, "check", tmp_path / "nowhere.csv", "--mapping", mapping)
    assert code == 2
    assert "no such file" in error
    code, _, error = run(capsys, "check", tmp_path / "nowhere.csv", "--mapping", tmp_path / "no.yaml")
    assert code == 2
    assert "no.yaml" in error


def test_a_parquet_that_is_none_exits_2(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(b"PAR0 not at all")
    code, _, error = run(capsys, "check", path, "--mapping", mapping)
    assert code == 2
    assert "not a Parquet file" in error


def test_a_log_without_a_mapping_says_how_to_get_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEADER)
    code, _, error = run(capsys, "check", path)
    assert code == 2
    assert "journey map" in error


def _without_consent(events: list[Event]) -> list[Event]:
    both = {"channel": "phone", "touchpoint": "offer"}
    calls = [
        Event(f"x{i}", f"c{i}", START + dt.timedelta(days=i % 20, hours=6), "contact", **both)  # type: ignore[arg-type]
        for i in range(40)
    ]
    return events + calls


def _strangers_answer(events: list[Event]) -> list[Event]:
    return events + [
        Event(f"x{i}", f"z{i}", START + dt.timedelta(days=i % 20), "response", channel="email")
        for i in range(40)
    ]


def _doubled(events: list[Event]) -> list[Event]:
    return events + events[:60]


def _refunds_of_nothing(events: list[Event]) -> list[Event]:
    return events + [
        Event(f"x{i}", f"z{i}", START + dt.timedelta(days=i % 20), "purchase", value=-5.0) for i in range(40)
    ]


GATES: dict[str, Callable[[list[Event]], list[Event]]] = {
    "contacts_without_consent": _without_consent,
    "responses_without_contact": _strangers_answer,
    "duplicate_ids": _doubled,
    "refunds_without_purchase": _refunds_of_nothing,
}


@pytest.mark.parametrize("fault", GATES)
def test_a_fault_is_counted_by_check_and_refused_by_fit_above_max_share(
    fault: str, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.parquet"
    write_log(log_of(GATES[fault](good())), path)
    code, out, _ = run(capsys, "check", path, "--mapping", mapping, "--json")
    assert code == 0
    report = json.loads(out)
    found = {f["name"]: f for f in report["findings"]}[fault]
    assert found["count"] == (60 if fault == "duplicate_ids" else 40)
    assert found["refused"]
    assert report["would_fit"] is False
    code, _, error = run(capsys, "fit", path, "--mapping", mapping, "--out", tmp_path / "out")
    assert code == 3
    assert fault in error
    assert "max_share" in error
    mapping.write_text(mapping.read_text() + "max_share: 0.9\n")
    code, out, _ = run(capsys, "fit", path, "--mapping", mapping, "--out", tmp_path / "out", "--json")
    assert code == 0, "a person may accept the fault"


def test_a_log_without_propensities_is_fitted_and_its_effects_are_called_non_causal(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.csv"
    write_log(log_of(good()), path)
    code, out, _ = run(capsys, "fit", path, "--mapping", mapping, "--out", tmp_path / "out", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["channel_effects"] == "non-causal"
    assert "NOT causal" in document["warning"]
    assert "NOT causal" in (tmp_path / "out" / "fit_report.md").read_text()
    assert "NOT causal" in (tmp_path / "out" / "fit_report.html").read_text()
    assert "NOT causal" in (tmp_path / "out" / "scenario.yaml").read_text()
