"""A scenario file: what is inherited, what is replaced, what survives a round trip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs.errors import ScenarioError
from envs.files.scenario_file import load_scenario, write_scenario
from envs.scenario.schema import Scenario

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "scenarios").glob("*.yaml"))


def _written(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def raw(tiny_path: Path) -> Any:
    """The hand-checkable scenario as plain data, before defaults are merged."""
    return yaml.safe_load(tiny_path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    write_scenario(scenario, tmp_path / "again.yaml", heading="Written by a test.")
    again = load_scenario(tmp_path / "again.yaml")
    assert again == scenario
    assert again.digest() == scenario.digest()
    assert (tmp_path / "again.yaml").read_text(encoding="utf-8").startswith("# Written by a test.\n")


def test_the_canonical_json_is_the_same_scenario(tiny: Scenario, tmp_path: Path) -> None:
    body = json.dumps(tiny.model_dump(mode="json"), sort_keys=True)
    (tmp_path / "scenario.json").write_text(body, encoding="utf-8")
    assert load_scenario(tmp_path / "scenario.json").digest() == tiny.digest()


def test_comments_and_key_order_do_not_change_the_identity(raw: Any, tiny: Scenario, tmp_path: Path) -> None:
    backwards = dict(reversed(raw.items()))
    assert load_scenario(_written(tmp_path, backwards)).digest() == tiny.digest()


def test_a_cluster_inherits_what_it_does_not_state(tiny: Scenario) -> None:
    keen, wary = tiny.clusters
    assert wary.behavior.response.fatigue == 0.4
    assert keen.behavior.response.fatigue == 0.6
    assert wary.behavior.response.engagement == keen.behavior.response.engagement == 1.5
    assert wary.behavior.purchase == keen.behavior.purchase
    assert wary.start.consent == keen.start.consent


def test_a_mix_replaces_the_default_as_a_whole(raw: Any, tmp_path: Path) -> None:
    raw["channels"][0]["inbound"] = True
    raw["clusters"][1]["behavior"]["inbound"] = {"channels": {"email": 1}}
    keen, wary = load_scenario(_written(tmp_path, raw)).clusters
    assert wary.start.stages == {"prospect": 1.0}
    assert wary.behavior.inbound.channels == {"email": 1.0}
    assert keen.behavior.inbound.channels == {"phone": 1.0}
    assert wary.behavior.inbound.rate == keen.behavior.inbound.rate


def test_a_persona_is_laid_over_its_cluster(raw: Any, tmp_path: Path) -> None:
    raw["clusters"][1]["personas"] = [
        {"name": "patient", "share": 0.25},
        {"name": "hasty", "share": 0.75, "behavior": {"churn": {"fatigue": 2.0}}},
    ]
    wary = load_scenario(_written(tmp_path, raw)).cluster("wary")
    patient, hasty = wary.personas
    assert patient.behavior == wary.behavior
    assert hasty.behavior.churn.fatigue == 2.0
    assert hasty.behavior.churn.rate == wary.behavior.churn.rate
    assert hasty.behavior.response == wary.behavior.response


def test_a_personas_mistake_is_told_at_the_line_of_the_persona(raw: Any, tmp_path: Path) -> None:
    raw["clusters"][1]["personas"] = [
        {"name": "hasty", "share": 1.0, "behavior": {"churn": {"fatigue": -2.0}}}
    ]
    path = _written(tmp_path, raw)
    line = 1 + path.read_text(encoding="utf-8").split("fatigue: -2.0")[0].count("\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith("clusters[1].personas[0].behavior.churn.fatigue: expected above 0")
    assert str(caught.value).endswith(f"({path}:{line})")


def test_keys_stay_the_text_they_look_like(raw: Any, tmp_path: Path, tiny_path: Path) -> None:
    text = tiny_path.read_text(encoding="utf-8").replace("name: inform", "name: on").replace("inform:", "on:")
    path = tmp_path / "scenario.yaml"
    path.write_text(text.replace("touchpoint: inform", "touchpoint: on"), encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"touchpoints\[0\].name: expected text, got True"):
        load_scenario(path)  # as a value `on` is a truth value in YAML, and says so
    path.write_text(path.read_text(encoding="utf-8").replace(": on,", ': "on",'), encoding="utf-8")
    scenario = load_scenario(path)
    assert scenario.clusters[0].behavior.purchase.response["on"] == 2.0


def test_a_calendar_states_its_days_within_its_season(raw: Any, tmp_path: Path) -> None:
    season = {"every": "calendar", "season_start": "2026-01-05", "season_days": 5, "days": [0, 2]}
    raw["memory"]["opportunities"] = season
    raw["max_states"] = 4000
    assert load_scenario(_written(tmp_path, raw)).memory.opportunities.days == [0, 2]
    raw["memory"]["opportunities"] = season | {"days": [0, 5]}
    with pytest.raises(ScenarioError, match=r"memory.opportunities.days\[1\]: expected 0..4, got 5"):
        load_scenario(_written(tmp_path, raw))
    raw["memory"]["opportunities"] = season | {"gap_days": 3}
    with pytest.raises(ScenarioError, match="memory.opportunities.gap_days: has no meaning"):
        load_scenario(_written(tmp_path, raw))


def test_several_mistakes_are_counted_and_the_first_is_told(raw: Any, tmp_path: Path) -> None:
    raw["discount"] = 2
    raw["prices"]["margin"] = -1
    raw["clusters"][0]["share"] = "half"
    with pytest.raises(
        ScenarioError, match=r"^discount: expected above 0 and below 1, got 2 \(.*; 2 more\)$"
    ):
        load_scenario(_written(tmp_path, raw))
