"""What the shipped scenario files promise: sources, sizes, objectives, assignment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.journey.rules import compile_rules
from envs.journey.size import reachable_consents
from envs.scenario.assignment import assign_cluster
from envs.scenario.schema import Scenario

LIMITS = {
    "omnichannel_retail": 150_000,
    "subscription_telecom": 500_000,
    "retail_bank": 500_000,
    "capped": 60_000,
}


@pytest.fixture(params=sorted(LIMITS))
def path(request: pytest.FixtureRequest, root: Path) -> Path:
    """The file of one shipped scenario."""
    return root / "configs" / "scenarios" / f"{request.param}.yaml"


@pytest.fixture
def scenario(path: Path) -> Scenario:
    """One shipped scenario."""
    return load_scenario(path)


def test_every_citation_has_a_source_and_every_source_is_cited(path: Path, scenario: Scenario) -> None:
    comments = " ".join(line.split("#", 1)[1] for line in path.read_text().splitlines() if "#" in line)
    groups = re.findall(r"\[([a-z_]+(?:, [a-z_]+)*)\]", comments)
    cited = {key for group in groups for key in group.split(", ")} - {"source"}
    assert cited == set(scenario.sources)


def test_every_band_cites_the_source_of_its_edges(path: Path, scenario: Scenario) -> None:
    lines = path.read_text().split("\nbands:")[1].splitlines()
    for name in scenario.bands:
        line = next(line for line in lines if line.strip().startswith(f"{name}:"))
        assert re.search(r"# .*\[[a-z_, ]+\]", line), line


def test_clusters_stay_within_the_promised_number_of_states(scenario: Scenario) -> None:
    rules = compile_rules(scenario)
    for cluster in scenario.clusters:
        patterns = len(reachable_consents(compile_journey(scenario, cluster.name)))
        assert int(rules.strides[0] * rules.sizes[0]) * patterns <= LIMITS[scenario.name]


def test_the_three_objectives_are_there_and_lifetime_value_is_the_default(scenario: Scenario) -> None:
    assert set(scenario.objectives) == {"lifetime_value", "conversion", "retention"}
    assert scenario.default_objective == "lifetime_value"


def test_shares_of_clusters_and_start_stages_sum_to_one(scenario: Scenario) -> None:
    assert sum(c.share for c in scenario.clusters) == pytest.approx(1.0)
    for cluster in scenario.clusters:
        assert sum(cluster.start.stages.values()) == pytest.approx(1.0)


def test_customers_without_attributes_get_the_default_and_a_named_cluster_is_honoured(
    scenario: Scenario,
) -> None:
    assert assign_cluster(scenario, None) == scenario.assignment.default
    for cluster in scenario.clusters:
        assert assign_cluster(scenario, {"cluster": cluster.name}) == cluster.name


@pytest.mark.parametrize(
    ("name", "attributes", "cluster"),
    [
        ("omnichannel_retail", {"spend_12m": 2_000, "orders_12m": 9}, "high_spender"),
        ("omnichannel_retail", {"spend_12m": 300, "orders_12m": 9}, "loyal"),
        ("omnichannel_retail", {"app_sessions_30d": 12}, "early_adopter"),
        ("omnichannel_retail", {"days_since_order": 400}, "dormant"),
        ("subscription_telecom", {"lines": 4, "data_gb_month": 80}, "family"),
        ("subscription_telecom", {"lines": 1, "data_gb_month": 80}, "heavy_user"),
        ("subscription_telecom", {"data_gb_month": 2}, "light_user"),
        ("retail_bank", {"assets": 90_000, "age": 25}, "affluent"),
        ("retail_bank", {"assets": 900, "age": 25}, "young"),
        ("retail_bank", {"age": 60}, "everyday"),
        ("capped", {"boxes_90d": 9}, "household"),
        ("capped", {"boxes_90d": 1}, "occasional"),
    ],
)
def test_rules_place_a_customer_by_attributes(
    root: Path, name: str, attributes: dict[str, object], cluster: str
) -> None:
    scenario = load_scenario(root / "configs" / "scenarios" / f"{name}.yaml")
    assert assign_cluster(scenario, attributes) == cluster


def test_the_structures_differ(root: Path) -> None:
    retail, telecom, bank = (
        load_scenario(root / "configs" / "scenarios" / f"{name}.yaml")
        for name in ("omnichannel_retail", "subscription_telecom", "retail_bank")
    )
    assert any(t.offer_days for t in retail.touchpoints)
    assert any(s.idle_days for s in telecom.stages)
    assert bank.memory.response_window_days == 2
