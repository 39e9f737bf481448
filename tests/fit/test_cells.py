"""Counts of the compiled counter against counts taken row by row, in plain Python."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import numpy as np
import pytest

from envs.files.log import read_log
from envs.journey.journey import compile_journey
from envs.timeline.columns import number_events
from envs.timeline.replay import plan_of, replay
from tests.fit.conftest import SimulatedLog
from training.fit.cells import EVENTS, blank_cells, count_rows, log_likelihood, marginal_likelihood


def test_every_count_is_the_count_of_a_plain_loop(tiny_log: SimulatedLog) -> None:
    scenario = tiny_log.truth
    journey = compile_journey(scenario, scenario.clusters[0].name)
    columns = number_events(read_log(tiny_log.path).slice(0, 20_000), scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    rows, t = block.rows, journey.tables
    group = np.arange(len(columns.customers)) % 3 - 1  # one in three is left out
    cells = blank_cells(journey, 2)
    count_rows(cells, rows, group, journey)
    counted: Counter[tuple[Any, ...]] = Counter()
    for r in range(len(rows.day)):
        h = int(group[rows.customer[r]])
        if h < 0:
            continue
        stage, engagement, fatigue, goodwill, inbox = (int(v) for v in rows.state[r, :5])
        k = (stage * t.engagements + engagement) * t.offers + int(rows.offer[r])
        j = (k * t.fatigues + fatigue) * t.goodwills + goodwill
        action, said = int(rows.action[r]), int(rows.responded[r])
        if rows.in_play[r] >= 0:
            counted["response", h, int(rows.in_play[r]), j, "n"] += 1
            counted["response", h, int(rows.in_play[r]), j, "y"] += int(rows.answered[r])
        if rows.opt_out[r] >= 0:
            counted["opt_out", h, action, fatigue, "n"] += 1
            counted["opt_out", h, action, fatigue, "y"] += int(rows.opt_out[r])
        if rows.resolution[r] >= 0:
            asked = int(journey.rules.inbox_channel[inbox])
            counted["resolution", h, action, asked, "n"] += 1
            counted["resolution", h, action, asked, "y"] += int(rows.resolution[r])
        counted["purchase", h, said + 1, k, "n"] += 1
        counted["purchase", h, said + 1, k, "y"] += int(rows.purchases[r] > 0)
        move = int(rows.move[r])
        if move >= 0:
            counted["churn", h, stage, fatigue * t.goodwills + goodwill, "n"] += 1
            counted["churn", h, stage, fatigue * t.goodwills + goodwill, "y"] += int(move == 1)
            if move != 1 and t.advance_to[stage] >= 0:
                counted["advance", h, said + 1, k, "n"] += 1
                counted["advance", h, said + 1, k, "y"] += int(move == 2)
            if move not in (1, 2) and t.lapse_to[stage] >= 0:
                counted["lapse", h, stage, "n"] += 1
                counted["lapse", h, stage, "y"] += int(move == 3)
        closed, mood, waiting = (int(v) for v in rows.closing[r])
        if closed >= 0:
            counted["inbound", h, waiting, closed * t.goodwills + mood, "n"] += 1
            counted["inbound", h, waiting, closed * t.goodwills + mood, "y"] += int(rows.inbound[r] >= 0)
    for event in EVENTS[:-1]:
        for which, arrays in (("n", cells.trials), ("y", cells.events)):
            expected = np.zeros_like(arrays[event])
            for key, count in counted.items():
                if key[0] == event and key[-1] == which:
                    expected[key[1:-1]] = count
            np.testing.assert_array_equal(arrays[event], expected, err_msg=f"{event} {which}")
    assert cells.customers.sum() == (group >= 0).sum()


def test_the_true_probabilities_explain_a_log_better_than_constant_rates(tiny_log: SimulatedLog) -> None:
    scenario = tiny_log.truth
    columns = number_events(read_log(tiny_log.path), scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    for cluster in scenario.clusters:
        journey = compile_journey(scenario, cluster.name)
        mine = [name.startswith(f"{cluster.name}-") for name in columns.customers.to_pylist()]
        cells = blank_cells(journey, 1)
        count_rows(cells, block.rows, np.where(mine, 0, -1), journey)
        assert log_likelihood(cells, journey.tables) > marginal_likelihood(cells, cells)


def test_groups_add_up(tiny_log: SimulatedLog) -> None:
    scenario = tiny_log.truth
    journey = compile_journey(scenario, scenario.clusters[0].name)
    columns = number_events(read_log(tiny_log.path).slice(0, 5_000), scenario)
    (block,) = replay(columns, scenario, plan_of(columns, dt.time(9), None, None, False))
    whole, halves = blank_cells(journey, 1), blank_cells(journey, 2)
    customers = len(columns.customers)
    count_rows(whole, block.rows, np.zeros(customers, np.int64), journey)
    count_rows(halves, block.rows, np.arange(customers) % 2, journey)
    for event in EVENTS:
        np.testing.assert_array_equal(halves.group(0, 1).trials[event], whole.trials[event])
    assert halves.group(0, 1).value.sum() == pytest.approx(whole.value.sum())
    assert (halves.group(0) + halves.group(1)).customers == whole.customers
