"""What a fit chooses on held-out customers: fold constants, clusters, how much to pool."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.errors import LogError
from envs.scenario.assignment import assign_cluster, assign_clusters
from envs.scenario.schema import Scenario
from tests.fit.conftest import SimulatedLog, mapping_of
from training.fit.fit import FitResult, fit_log
from training.fit.fold_search import with_constants
from training.fit.regressions import choose_ridges
from training.logs.clusters import candidates
from training.logs.mapping import Clusters


def test_the_true_fold_constants_explain_held_out_customers_best(
    tiny: Scenario, tiny_log: SimulatedLog
) -> None:
    grid = {"memory.fatigue_capacity": [5, 3], "memory.goodwill.capacity": [2, 1]}
    loaded = mapping_of(tiny, estimation={"grid": grid})
    # the mapping's scenario starts from the wrong ones
    wrong = with_constants(tiny, {"memory.fatigue_capacity": 5, "memory.goodwill.capacity": 2})
    result = fit_log([tiny_log.path], dataclasses.replace(loaded, scenario=wrong))
    assert len(result.trials) == 4
    best = max(result.trials, key=lambda trial: trial.likelihood)
    assert best.constants["memory.fatigue_capacity"] == tiny.memory.fatigue_capacity
    assert result.scenario.memory.fatigue_capacity == tiny.memory.fatigue_capacity


def people(customers: int, seed: int) -> pd.DataFrame:
    """Two kinds of customers that differ in two attributes, one in ten without them."""
    rng = np.random.default_rng(seed)
    kind = np.arange(customers) % 2
    frame = pd.DataFrame(
        {
            "income": 40_000 + 30_000 * kind + rng.normal(0, 4_000, customers),
            "age": 30 + 25 * kind + rng.normal(0, 3, customers),
        }
    )
    frame.loc[np.arange(customers) % 10 == 0, "age"] = np.nan
    return frame


def test_found_clusters_travel_with_the_scenario_and_place_new_customers_alike(tiny: Scenario) -> None:
    frame = people(600, 0)
    spec = Clusters.model_validate({"find": {"attributes": ["income", "age"], "k": [2, 3]}})
    two, three = candidates(spec, frame, 0)
    assert two.names == ("group_1", "group_2", "unknown")
    assert len(three.names) == 4
    named = [tiny.clusters[0].model_copy(update={"name": name, "share": 1 / 3}) for name in two.names]
    scenario = tiny.model_copy(update={"clusters": named, "assignment": two.assignment})
    placed = assign_clusters(scenario, frame)
    assert placed.tolist() == [two.names[label] for label in two.labels]
    assert assign_cluster(scenario, {"income": 41_000.0, "age": 31.0}) == placed[4]
    assert assign_cluster(scenario, {"income": 41_000.0}) == "unknown"
    assert two.labels[frame["age"].isna()].tolist() == [2] * 60


def test_clusters_by_a_column_take_its_values_as_names() -> None:
    frame = pd.DataFrame({"segment": ["Big spender", "loyal", None, "loyal"]}, dtype=object)
    spec = Clusters.model_validate({"column": "segment"})
    (found,) = candidates(spec, frame, 0)
    assert found.names == ("big_spender", "loyal", "unknown")
    assert found.labels.tolist() == [0, 1, 2, 1]
    assert found.assignment.column == "segment"


def test_a_text_attribute_cannot_be_averaged() -> None:
    frame = pd.DataFrame({"city": ["Ulm", "Bonn"]}, dtype=object)
    spec = Clusters.model_validate({"find": {"attributes": ["city"], "k": [1]}})
    with pytest.raises(LogError, match="not a number"):
        candidates(spec, frame, 0)


def test_clusters_that_behave_alike_are_pooled_and_clusters_that_do_not_are_told_apart(
    tiny_fit: FitResult,
) -> None:
    K = len(tiny_fit.clustering.names)
    cells = tiny_fit.cells
    # one cluster's customers dealt into two: nothing but noise differs
    dealt = [[cells.group(0), cells.group(K)], [cells.group(K), cells.group(0)]]
    alike = choose_ridges(tiny_fit.journey, dealt, frozenset())
    clusters = [[cells.group(k) for k in range(K)], [cells.group(K + k) for k in range(K)]]
    apart = choose_ridges(tiny_fit.journey, clusters, frozenset())
    assert np.mean([np.log10(r.pooling) for r in alike.values()]) > np.mean(
        [np.log10(r.pooling) for r in apart.values()]
    )


def test_the_number_of_clusters_is_chosen_by_held_out_likelihood(
    tiny: Scenario, tiny_log: SimulatedLog, tmp_path: Path
) -> None:
    # an attribute that tells the true clusters apart, and one that means nothing
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(tiny_log.path.with_name("log.customers.parquet"))
    column = tiny.assignment.column or "cluster"
    rng = np.random.default_rng(1)
    first = np.array(table[column].to_pylist()) == tiny.clusters[0].name
    (tmp_path / "log.parquet").symlink_to(tiny_log.path)
    people_table = table.append_column("score", pa.array(first + rng.normal(0, 0.05, len(first))))
    pq.write_table(people_table, tmp_path / "log.customers.parquet")
    loaded = mapping_of(
        tiny,
        customers={"file": "log.customers.parquet", "attributes": {"score": {"column": "score"}}},
        clusters={"find": {"attributes": ["score"], "k": [1, 2]}},
    )
    result = fit_log([tmp_path / "log.parquet"], loaded, tmp_path / "out")
    assert result.sizes[2] > result.sizes[1]
    assert result.clustering.names == ("group_1", "group_2")
    found = [result.clustering.described[name]["score"] for name in result.clustering.names]
    assert sorted(round(x) for x in found) == [0, 1]
