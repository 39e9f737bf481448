"""The committed proof belongs to the scenarios and run configs as they are, and its claims hold."""

from __future__ import annotations

import pytest

from experiments.proof.claims import Claim, claims
from experiments.proof.rows import Key, read_rows
from experiments.proof.run import run_cell, wanted

ROWS = {row.key: row for row in read_rows()}
CELLS = {cell.key: cell for cell in wanted()}
CLAIMS = claims(list(ROWS.values()))


def only(*key: str | int) -> Key:
    """The key of the cell of this scenario, cluster, run and seed."""
    (found,) = [k for k in CELLS if k[:4] == key]
    return found


def test_every_cell_of_the_study_has_a_row() -> None:
    missing = [key[:4] for key in CELLS if key not in ROWS]
    assert not missing, "run `make proof`"


def test_no_row_is_left_over_from_another_scenario_or_run() -> None:
    assert not [key[:4] for key in ROWS if key not in CELLS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.scenario}-{c.cluster}-{c.run}")
def test_enough_seeds_reach_their_threshold_and_none_is_below_its_potential(claim: Claim) -> None:
    assert claim.holds, str(claim)


@pytest.mark.parametrize(
    "claim", [c for c in CLAIMS if c.run == "ppo"], ids=lambda c: f"{c.scenario}-{c.cluster}"
)
def test_ppo_is_above_the_best_simple_baseline_with_its_whole_interval(claim: Claim) -> None:
    assert claim.edge is not None
    assert claim.edge.low > 0.0


@pytest.mark.parametrize("run", ["ppo", "distilled", "from_log"])
def test_a_cluster_trained_again_gives_its_row_again(run: str) -> None:
    key = only("tiny", "keen", run, 0)
    again = run_cell(CELLS[key])
    # another processor adds float32 in another order; another learner is off by far more
    assert again.value == pytest.approx(ROWS[key].value, rel=1e-4)


def test_a_planned_cluster_is_the_optimum_to_the_last_digit_that_counts() -> None:
    key = only("omnichannel_retail", "loyal", "planner", 0)
    assert run_cell(CELLS[key]).score == pytest.approx(1.0, abs=1e-6)
