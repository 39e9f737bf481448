"""Which cluster a customer is placed in, alone and in a table."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.files.scenario_file import load_scenario
from envs.scenario.assignment import assign_cluster, assign_clusters
from envs.scenario.schema import Assignment, AssignmentRule, Centroids, Condition, Scenario
from tests.conftest import ROOT

TINY = load_scenario(ROOT / "configs" / "scenarios" / "tiny.yaml")
CENTROIDS = Centroids(
    attributes=["income", "tenure_years"],
    mean=[50_000.0, 4.0],
    scale=[10_000.0, 2.0],
    centers={"keen": [1.0, 0.0], "wary": [-1.0, 1.0]},
)
RULES = [
    AssignmentRule(cluster="wary", when={"visits": Condition(at_least=3, below=7)}),
    AssignmentRule(
        cluster="keen", when={"country": Condition(one_of=["DE", "AT"]), "visits": Condition(below=3)}
    ),
]


def _placed(**assignment: Any) -> Scenario:
    spec = Assignment(default="keen", **assignment)
    return TINY.model_copy(update={"assignment": spec})


@pytest.mark.parametrize(
    ("attributes", "cluster"),
    [
        ({"segment": "wary"}, "wary"),
        ({"segment": "keen"}, "keen"),
        ({"segment": "unheard of"}, "keen"),
        ({"segment": None}, "keen"),
        ({}, "keen"),
        (None, "keen"),
    ],
)
def test_a_column_names_the_cluster_and_the_default_takes_the_rest(attributes: Any, cluster: str) -> None:
    assert assign_cluster(_placed(column="segment"), attributes) == cluster


@pytest.mark.parametrize(
    ("attributes", "cluster"),
    [
        ({"visits": 3}, "wary"),
        ({"visits": 6.9}, "wary"),
        ({"visits": 7}, "keen"),
        ({"visits": 2, "country": "DE"}, "keen"),
        ({"visits": "5"}, "keen"),
        ({"visits": math.nan}, "keen"),
        ({"visits": 10**400}, "keen"),
        ({"visits": True}, "keen"),
    ],
)
def test_the_first_rule_whose_conditions_all_hold_decides(attributes: Any, cluster: str) -> None:
    assert assign_cluster(_placed(rules=RULES), attributes) == cluster


@pytest.mark.parametrize(
    ("attributes", "cluster"),
    [
        ({"income": 41_000, "tenure_years": 6}, "wary"),
        ({"income": 60_000, "tenure_years": 4}, "keen"),
        ({"income": 41_000}, "keen"),
        ({"income": 41_000, "tenure_years": math.inf}, "keen"),
    ],
)
def test_the_nearest_standardised_centre_decides(attributes: Any, cluster: str) -> None:
    assert assign_cluster(_placed(centroids=CENTROIDS), attributes) == cluster


def test_a_column_comes_before_rules_and_rules_before_centres() -> None:
    scenario = _placed(column="segment", rules=RULES, centroids=CENTROIDS)
    far = {"income": 41_000, "tenure_years": 6}
    assert assign_cluster(scenario, {**far, "segment": "keen", "visits": 4}) == "keen"
    assert assign_cluster(scenario, {**far, "visits": 1, "country": "AT"}) == "keen"
    assert assign_cluster(scenario, {**far, "visits": 1, "country": "CH"}) == "wary"


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 90_000), st.floats(), st.sampled_from(["DE", "wary", "3", ""])
)


@given(
    st.lists(
        st.fixed_dictionaries(
            dict.fromkeys(("segment", "visits", "country", "income", "tenure_years"), VALUES)
        ),
        max_size=8,
    )
)
def test_a_table_is_assigned_as_its_rows_are(rows: list[dict[str, Any]]) -> None:
    scenario = _placed(column="segment", rules=RULES, centroids=CENTROIDS)
    columns = ["segment", "visits", "country", "income", "tenure_years"]
    frame = pd.DataFrame(rows, columns=columns, dtype=object, index=[f"c{i}" for i in range(len(rows))])
    assigned = assign_clusters(scenario, frame)
    assert list(assigned.index) == list(frame.index)
    assert list(assigned) == [assign_cluster(scenario, row) for row in rows]
