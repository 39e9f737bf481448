"""simulate → map → check → fit through the command line: documents, files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envs.cli import main
from envs.files.scenario_file import load_scenario
from training.logs.mapping import load_mapping


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    code = main([*(str(a) for a in arguments), "--json"])
    out, error = capsys.readouterr()
    assert code == 0, error
    document = json.loads(out)  # exactly one document
    assert isinstance(document, dict)
    return document


def test_a_simulated_log_is_mapped_checked_and_fitted(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.parquet"
    made = run(capsys, "simulate", tiny_path, "--customers", 300, "--days", 30, "--out", log, "--seed", 3)
    assert made["rows"] == sum(made["events"].values())  # type: ignore[attr-defined]
    drafted = run(capsys, "map", log, "--out", tmp_path / "map.yaml")
    text = (tmp_path / "map.yaml").read_text()
    assert "layout: event_log" in str(drafted["text"])
    text = text.replace("timezone: UTC", "timezone: Europe/Berlin").replace("scenario.yaml", str(tiny_path))
    (tmp_path / "map.yaml").write_text(text.replace("source: contacts", "source: log"))
    load_mapping(tmp_path / "map.yaml")
    report = run(capsys, "check", log, "--mapping", tmp_path / "map.yaml")
    assert report["would_fit"] is True
    assert report["channel_effects"] == "randomised"
    assert report["customers"] == 600
    fitted = run(capsys, "fit", log, "--mapping", tmp_path / "map.yaml", "--out", tmp_path / "out")
    assert [Path(p).name for p in fitted["written"]] == [  # type: ignore[attr-defined]
        "scenario.yaml",
        "fit_report.json",
        "fit_report.md",
        "fit_report.html",
    ]
    scenario = load_scenario(tmp_path / "out" / "scenario.yaml")
    assert scenario.digest() == fitted["scenario_hash"]
    stored = json.loads((tmp_path / "out" / "fit_report.json").read_text())
    for cluster in stored["clusters"]:
        for figure in cluster["figures"]:
            assert figure["low"] <= figure["value"] <= figure["high"]
    page = (tmp_path / "out" / "fit_report.html").read_text()
    assert "<svg" in page
    assert "http" not in page, "the report fetches nothing"


def test_map_describes_a_raw_log_and_guesses_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_text(
        "user,timestamp,event,amount\na,2026-01-01T10:00:00,email sent,\na,2026-01-01T11:00:00,clicked,\n"
        "a,2026-01-02T11:00:00,order,12.5\nb,2026-01-02T11:00:00,whatever,\n"
    )
    document = run(capsys, "map", raw)
    assert document["columns"]["customer"] == "user"  # type: ignore[index]
    assert document["columns"]["time"] == "timestamp"  # type: ignore[index]
    text = str(document["text"])
    assert "{when: {event: clicked}, kind: response, columns: {}}" in text
    assert "{when: {event: order}, kind: purchase, columns: {value: amount}}" in text
    assert "when: {event: whatever}, kind: contact, columns: {}}  # TODO" in text
    assert "legal_basis" in text


def test_map_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, out = tmp_path / "raw.csv", tmp_path / "map.yaml"
    raw.write_text("user,time\na,1\n")
    out.write_text("mine")
    assert main(["map", str(raw), "--out", str(out)]) == 2
    assert "already there" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_simulate_names_what_is_wrong(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, word in (
        (["--policy", "clever", "--out", tmp_path / "x.parquet"], "no such policy"),
        (["--out", tmp_path / "x.txt"], ".parquet"),
        (["--out", tmp_path / "x.parquet", "--first-day", "tomorrow"], "not a date"),
    ):
        assert main([str(a) for a in ["simulate", tiny_path, *arguments]]) == 2
        assert word in capsys.readouterr().err
