"""The scenario with a contact cap: the cap binds, is worth planning with, and is never broken."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from envs.cli.solve import solve_cluster
from envs.files.log import events_of, read_log
from envs.files.scenario_file import load_scenario
from envs.journey.journey import Journey, compile_journey
from envs.policy.policy import load_bundle
from envs.scenario.schema import Assignment, Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import Decider, deciders
from envs.solve.evaluation import occupancy
from envs.solve.kernel import Kernel, build_kernel
from envs.solve.references import start_value
from envs.solve.solver import Solution, solve
from envs.solve.sweeps import check_legal
from envs.solve.uncapped import Uncapped, at_cap, uncapped, without_caps
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.conftest import at, decide, event, post_events, rules
from tests.serving.planned import write_planned_bundle

CLUSTERS = ("household", "occasional")
WINDOW, MOST = dt.timedelta(days=7), 2  # as the scenario's comment promises, not as the code reads it
CUSTOMERS, DAYS = 1_000, 100  # 10^5 simulated days a policy


@cache
def scenario() -> Scenario:
    """The shipped scenario."""
    return load_scenario(Path(__file__).parents[2] / "configs" / "scenarios" / "capped.yaml")


@cache
def solved(cluster: str) -> tuple[Kernel, Solution, Uncapped]:
    """The optimum with the cap in the state, and the one without any."""
    kernel = build_kernel(compile_journey(scenario(), cluster))
    weights = kernel.journey.weights()
    free = uncapped(kernel, weights)
    assert free is not None
    return kernel, solve(kernel, weights), free


def lookup(kernel: Kernel, policy: Any) -> Decider:
    """A table of actions (M, S) as a behaviour policy."""
    strides = np.asarray(kernel.journey.rules.strides)
    block = {int(pattern): m for m, pattern in enumerate(kernel.consents)}

    def decide_all(states: Any, observations: Any, legal: Any) -> Any:
        rows = [block[int(pattern)] for pattern in states[:, 5]]
        return np.eye(kernel.actions)[policy[rows, states.astype(np.int64) @ strides]]

    return decide_all


def texts_sent(path: Path, journey: Journey, policy: Decider) -> dict[str, list[dt.date]]:
    """By customer, the local days of marketing texts in a simulated log, read back from its file."""
    write_simulated_log(path, [(journey, policy)], Span(CUSTOMERS, DAYS, seed=3), "test")
    sent: dict[str, list[dt.date]] = defaultdict(list)
    for row in events_of(read_log(path)):
        if row.kind == "contact" and row.channel == "sms" and row.touchpoint != "reply":
            sent[row.customer_id].append(row.occurred_at.date())  # 09:00 in London: the same day in UTC
    return sent


def most_in_a_window(sent: dict[str, list[dt.date]]) -> int:
    """The largest number of texts that any customer got in any seven days."""
    return max(sum(day <= other < day + WINDOW for other in days) for days in sent.values() for day in days)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_uncapped_optimum_is_an_upper_bound_in_every_state(cluster: str) -> None:
    kernel, best, free = solved(cluster)
    bound = best.bound + 1e-6  # the uncapped solution's own error is of the same size
    assert (free.values >= best.values - bound).all()
    assert free.optimum > best.start_value(kernel) + 0.1


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_cap_binds_and_planning_with_it_beats_obeying_it(cluster: str) -> None:
    kernel, best, free = solved(cluster)
    weights = kernel.journey.weights()
    visits = occupancy(kernel, best.actions)
    assert visits[:, at_cap(kernel)].sum() > 0.2 * visits.sum()
    check_legal(kernel, free.obedient)
    optimum, blind = best.start_value(kernel), start_value(kernel, free.obedient, weights)
    nothing = solve_cluster(scenario(), cluster, "lifetime_value")["service_only"]
    assert nothing < blind < optimum - 0.05 * (optimum - nothing)


def test_obeying_is_following_the_uncapped_optimum_wherever_no_cap_forbids_it() -> None:
    kernel, _, free = solved("household")
    lone = build_kernel(compile_journey(without_caps(scenario()), "household"))
    wish = solve(lone, lone.journey.weights()).actions
    empty = np.asarray(kernel.journey.rules.caps_permit)[0]  # level 0: no text in the last days
    spread = np.array([state_without_caps(kernel, lone, x) for x in range(kernel.states)])
    free_now = ~at_cap(kernel)
    assert empty == kernel.journey.rules.every
    assert (free.obedient[:, free_now] == wish[:, spread[free_now]]).all()
    assert (free.obedient[:, ~free_now] != wish[:, spread[~free_now]]).any()


def state_without_caps(kernel: Kernel, lone: Kernel, state: int) -> int:
    """The state's number in the uncapped kernel, by taking its components apart one by one."""
    ours, theirs = kernel.journey.rules, lone.journey.rules
    number = 0
    for position, stride in enumerate(theirs.strides.tolist()):
        if stride and int(ours.strides[position]):
            level = state // int(ours.strides[position]) % int(ours.sizes[position])
            number += level % int(theirs.sizes[position]) * stride
    return number


@pytest.mark.parametrize("name", ["random_legal", "optimum", "uncapped plan"])
def test_no_policy_sends_a_third_text_within_seven_days(name: str, tmp_path: Path) -> None:
    kernel, best, free = solved("household")
    table = {"optimum": best.actions, "uncapped plan": free.obedient}
    policy = lookup(kernel, table[name]) if name in table else deciders(name)(kernel.journey)
    sent = texts_sent(tmp_path / "log.parquet", kernel.journey, policy)
    assert sum(map(len, sent.values())) > 3_000
    assert most_in_a_window(sent) == MOST


def test_without_the_cap_the_same_play_sends_more(tmp_path: Path) -> None:
    journey = compile_journey(without_caps(scenario()), "household")
    sent = texts_sent(tmp_path / "log.parquet", journey, deciders("random_legal")(journey))
    assert most_in_a_window(sent) > MOST


def test_solve_shows_the_uncapped_optimum_where_there_is_a_cap(tiny: Scenario) -> None:
    kernel, best, free = solved("household")
    row = solve_cluster(scenario(), "household", "lifetime_value")
    assert row["uncapped_optimum"] == free.optimum
    assert row["optimum"] == best.start_value(kernel)
    obedient = row["uncapped_policy"]
    assert obedient is not None
    assert obedient["score"] is not None
    assert 0.0 < obedient["score"] < 0.95
    without = solve_cluster(tiny, "keen", "lifetime_value")
    assert (without["uncapped_optimum"], without["uncapped_policy"]) == (None, None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The scenario's first cluster in service."""
    folder = tmp_path_factory.mktemp("capped")
    body = scenario()
    alone = body.clusters[0].model_copy(update={"share": 1.0})
    placed = Assignment(default=alone.name, column="cluster")
    one = body.model_copy(update={"clusters": [alone], "assignment": placed})
    bundle = load_bundle(write_planned_bundle(folder / "bundle", one))
    settings = Settings(store=f"sqlite:///{folder / 's.db'}", seed=1)
    with TestClient(create_app([bundle], settings), raise_server_exceptions=False) as server:
        yield server


def test_two_texts_in_seven_days_block_a_third_in_service_until_the_first_is_a_week_old(
    client: TestClient,
) -> None:
    post_events(client, *(event("opt_in", at(days=-7), channel=c) for c in ("email", "sms")))
    texts = [event("contact", at(2, days=d), channel="sms", touchpoint="offer") for d in (0, 3)]
    post_events(client, *texts)
    blocked = {day: rules(decide(client, as_of=at(4, days=day))) for day in (4, 5, 6, 7)}
    assert {day: why.get("offer:sms") for day, why in blocked.items()} == {
        4: "cap",
        5: "cap",
        6: "cap",
        7: None,
    }
    assert all("offer:email" not in why for why in blocked.values())


def test_a_text_that_another_system_sent_counts_and_an_answer_by_text_does_not(client: TestClient) -> None:
    for customer, second in (("other", "flash_sale"), ("answered", "reply")):
        opt = [event("opt_in", at(days=-7), customer=customer, channel=c) for c in ("email", "sms")]
        sent = [
            event("contact", at(2, days=d), customer=customer, channel="sms", touchpoint=t)
            for d, t in ((0, "offer"), (1, second))
        ]
        post_events(client, *opt, *sent)
    assert rules(decide(client, "other", as_of=at(4, days=3)))["offer:sms"] == "cap"
    assert "offer:sms" not in rules(decide(client, "answered", as_of=at(4, days=3)))
