"""The committed proof belongs to the scenarios and run configs as they are, and holds."""

from __future__ import annotations

import pytest

from training.proof import Cell, identity, read_rows, run_cell, wanted

ROWS = {row.key: row for row in read_rows()}
CELLS = {identity(*cell): cell for cell in wanted()}


@pytest.mark.parametrize("key", CELLS, ids=lambda key: "-".join(key[:3]))
def test_every_cluster_of_every_shipped_scenario_has_a_row_that_meets_its_threshold(
    key: tuple[str, str, str, int, str, str],
) -> None:
    assert key in ROWS, "no row of this scenario and run config: run `make proof`"
    row = ROWS[key]
    assert row.passes, f"score {row.score}, value {row.value} of {row.optimum}"


def test_no_row_is_left_over_from_another_scenario() -> None:
    assert not set(ROWS) - set(CELLS)


def test_a_cluster_trained_again_gives_its_row_again() -> None:
    (key,) = [k for k in CELLS if k[:3] == ("tiny", "keen", "ppo")]
    again: Cell = run_cell(*CELLS[key])
    assert again.passes
    assert again.optimum == pytest.approx(ROWS[key].optimum, rel=1e-9)
    assert again.score == pytest.approx(ROWS[key].score, abs=0.01)


def test_a_planned_cluster_is_the_optimum_to_the_last_digit_that_counts() -> None:
    (key,) = [k for k in CELLS if k[:3] == ("omnichannel_retail", "loyal", "planner")]
    assert run_cell(*CELLS[key]).score == pytest.approx(1.0, abs=1e-6)
