"""A simulated log replayed through the HTTP service: the same states and observations, bit for bit.

The simulator (compiled, a batch at a time) is the judge of the service (plain Python, a
customer at a time, through JSON and the store). Replies on the same day and a second
decision in a day, which no simulator makes, are inserted by hand and judged by the compiled
`apply` and `close_day`.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from envs.day.fold import apply, close_day
from envs.day.masks import legal_bits, unpack
from envs.files.log import events_of, read_log
from envs.journey.journey import Journey, compile_journey
from envs.journey.state import State
from envs.policy.policy import Bundle, load_bundle
from envs.scenario.events import Event, Kind
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import Decider
from envs.timeline.customer import Fold
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.conftest import post_events
from tests.serving.planned import write_planned_bundle

CUSTOMERS, DAYS = 5, 16
Recorded = list[tuple[Any, Any, Any]]  # a day: states (N, 12), observations (N, F), legal bits (N,)


def rich(tiny: Scenario) -> Scenario:
    """`tiny` with every kind of memory: an offer, a window, a cap, an inactivity rule."""
    body = tiny.model_dump(mode="json")
    for touchpoint in body["touchpoints"]:
        if touchpoint["name"] == "offer":
            touchpoint |= {"offer_days": 2, "redemption_rate": 0.5, "incentive_cost": 1.0}
    body["memory"] |= {"response_window_days": 2, "caps": [{"contacts": 1, "days": 3}]}
    body["stages"][1] |= {"lapse_to": None, "idle_days": 3, "idle_to": "prospect"}
    for cluster in body["clusters"]:
        cluster["behavior"]["lapse"] = {"rate": {}}
        cluster["behavior"]["inbound"]["rate"] = {"prospect": 0.1, "customer": 0.3}
    return Scenario.model_validate({**body, "name": "rich", "max_states": 200_000})


def hidden(tiny: Scenario) -> Scenario:
    """`rich` where one cluster mixes three hidden types, who differ in every kind of event."""
    body = rich(tiny).model_dump(mode="json")
    behavior = body["clusters"][0]["behavior"]
    shy = copy.deepcopy(behavior)
    shy["response"]["rate"] = {"email": 0.02, "phone": 0.4}
    shy["opt_out"]["rate"] = {"email": 0.06, "phone": 0.01}
    shy["inbound"] |= {"rate": {"prospect": 0.3, "customer": 0.1}, "repeat": 0.5}
    calm = copy.deepcopy(behavior)
    calm["churn"]["rate"] = {"prospect": 0.001, "customer": 0.001}
    calm["purchase"]["rate"] = {"prospect": 0.1, "customer": 0.2}
    calm["resolution"]["rate"] = {"email": 0.9, "phone": 0.3}
    body["clusters"][0]["personas"] = [
        {"name": "plain", "share": 0.5, "behavior": behavior},
        {"name": "shy", "share": 0.3, "behavior": shy},
        {"name": "calm", "share": 0.2, "behavior": calm},
    ]
    return Scenario.model_validate({**body, "name": "hidden"})


Maker = Callable[[Scenario], Scenario]
SCENARIOS: dict[str, Maker] = {"tiny": lambda tiny: tiny, "rich": rich, "hidden": hidden}


@pytest.fixture(scope="module", params=sorted(SCENARIOS))
def scenario(request: pytest.FixtureRequest, tiny: Scenario) -> Scenario:
    """A small scenario, one that uses the whole state, and one with hidden types."""
    return SCENARIOS[request.param](tiny)


@pytest.fixture(scope="module")
def planned(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The scenario's exact policy."""
    return load_bundle(write_planned_bundle(tmp_path_factory.mktemp("planned") / "bundle", scenario))


@pytest.fixture
def served(planned: Bundle, tmp_path: Path) -> Any:
    """A server over it, on a fresh store."""
    settings = Settings(store=f"sqlite:///{tmp_path / 's.db'}", seed=1)
    with TestClient(create_app([planned], settings), raise_server_exceptions=False) as client:
        yield client


def recorder(journey: Journey, recorded: Recorded) -> Decider:
    """Any legal action, equally likely; what was seen at each decision is kept."""

    def decide(states: Any, observations: Any, legal: Any) -> Any:
        recorded.append((states.copy(), observations.copy(), legal.copy()))
        mask = unpack(legal, len(journey.actions)).astype(float)
        return mask / mask.sum(axis=1, keepdims=True)

    return decide


def simulated(scenario: Scenario, path: Path) -> tuple[list[Event], dict[str, dict[dt.date, Any]]]:
    """A log, and by customer and local day the (state, observation, eligible) of the simulator."""
    journeys = [compile_journey(scenario, c.name) for c in scenario.clusters]
    recorded: list[Recorded] = [[] for _ in journeys]
    deciders = [(j, recorder(j, kept)) for j, kept in zip(journeys, recorded, strict=True)]
    write_simulated_log(path, deciders, Span(CUSTOMERS, DAYS, seed=11), "random_legal")
    events = list(events_of(read_log(path)))
    fold = Fold(journeys[0])
    decided: dict[tuple[str, dt.date], list[str]] = defaultdict(list)
    for event in events:
        if event.kind == "decision":
            cluster = event.customer_id.rsplit("-", 1)[0]
            decided[cluster, fold.local_date(event.occurred_at)].append(event.customer_id)
    truth: dict[str, dict[dt.date, Any]] = defaultdict(dict)
    for journey, kept in zip(journeys, recorded, strict=True):
        days = sorted(day for cluster, day in decided if cluster == journey.cluster.name)
        for day, (states, observations, legal) in zip(days, kept, strict=True):
            for n, customer in enumerate(decided[journey.cluster.name, day]):
                keys = [a.key for a, ok in zip(journey.actions, unpack(legal[n], 64), strict=False) if ok]
                truth[customer][day] = (states[n].tolist(), observations[n].tolist(), keys)
    return events, truth


def as_json(event: Event) -> dict[str, Any]:
    """An event as the service takes it."""
    body = {name: value for name, value in asdict(event).items() if value is not None}
    return body | {"occurred_at": event.occurred_at.isoformat()}


def batch(client: TestClient, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The decisions asked for, all of them given."""
    if not asked:
        return []
    results = client.post("/v1/decisions:batch", json={"decisions": asked}).json()["results"]
    return [result["decision"] for result in results]


def test_states_observations_and_masks_of_live_decisions_equal_the_simulators(
    scenario: Scenario, served: TestClient, tmp_path: Path
) -> None:
    """Day by day: what is known by nine o'clock is posted, then the service is asked."""
    events, truth = simulated(scenario, tmp_path / "log.parquet")
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    by_day: dict[dt.date, list[Event]] = defaultdict(list)
    for event in events:
        by_day[fold.local_date(event.occurred_at)].append(event)
    compared = 0
    for day in sorted(by_day):
        decisions = [e for e in by_day[day] if e.kind == "decision"]
        morning = [e for e in by_day[day] if not decisions or e.occurred_at < decisions[0].occurred_at]
        later = [e for e in by_day[day] if e not in morning]
        if morning:
            post_events(served, *map(as_json, morning))
        asked = [
            {
                "customer_id": e.customer_id,
                "as_of": e.occurred_at.isoformat(),
                "attributes": {"segment": e.customer_id.rsplit("-", 1)[0]},
                "defer_activation": True,
            }
            for e in decisions
        ]
        answers = (
            served.post("/v1/decisions:batch", json={"decisions": asked}).json()["results"] if asked else []
        )
        for event, answer in zip(decisions, answers, strict=True):
            path = f"/v1/decisions/{answer['decision']['decision_id']}"
            logged = served.get(path).json()
            state, observation, eligible = truth[event.customer_id][day]
            assert list(logged["state"].values()) == state, (event.customer_id, day)
            assert list(logged["observation"].values()) == observation
            assert logged["eligible"] == eligible == list(event.eligible or ())
            compared += 1
        if later:
            post_events(served, *map(as_json, later))
    assert compared > CUSTOMERS * DAYS


def test_states_of_the_whole_log_equal_the_simulators_on_every_day(
    scenario: Scenario, served: TestClient, tmp_path: Path
) -> None:
    """Everything posted at once and out of order; each morning asked for afterwards."""
    events, truth = simulated(scenario, tmp_path / "log.parquet")
    fold = Fold(compile_journey(scenario, scenario.clusters[0].name))
    shuffled = np.random.default_rng(5).permutation(len(events))
    for start in range(0, len(events), 2_000):
        post_events(served, *(as_json(events[n]) for n in shuffled[start : start + 2_000]))
    for event in events:
        if event.kind != "decision":
            continue
        when = {"as_of": event.occurred_at.isoformat()}
        shown = served.get(f"/v1/customers/{event.customer_id}/state", params=when).json()
        state, observation, _ = truth[event.customer_id][dt.date.fromisoformat(shown["local_date"])]
        assert list(shown["levels"].values()) == state
        observed = list(shown["observation"].values())
        if shown["cluster"] != event.customer_id.rsplit("-", 1)[0]:  # nothing is known of their segment
            levels = len(fold.journey.encoding.levels)
            observed, observation = observed[:levels], observation[:levels]
        assert observed == observation


class Judge:
    """The compiled fold, a step at a time."""

    def __init__(self, scenario: Scenario, state: list[int]) -> None:
        self.journey = compile_journey(scenario, scenario.clusters[0].name)
        self.state = State(*state)
        self._stage = [s.name for s in scenario.stages]
        self._channel = [c.name for c in scenario.channels]
        self._touchpoint = [t.name for t in scenario.touchpoints]

    def apply(self, event: dict[str, Any]) -> None:
        """One event in the open day."""
        number = {
            "touchpoint": self._touchpoint.index(event["touchpoint"]) if "touchpoint" in event else -1,
            "channel": self._channel.index(event["channel"]) if "channel" in event else -1,
        }
        kind = int(Kind[event["kind"].upper()])
        self.state = apply(
            self.journey.machine, self.state, kind, number["touchpoint"], number["channel"], -1
        )

    def close(self) -> None:
        """The end of the day."""
        self.state = close_day(self.journey.machine, self.state)

    def keys(self) -> set[str]:
        """Legal by state."""
        bits = int(legal_bits(self.journey.machine, self.state))
        return {a.key for n, a in enumerate(self.journey.actions) if bits >> n & 1}


def test_same_day_replies_and_a_second_decision_in_a_day_fold_in_the_open_day(
    scenario: Scenario, served: TestClient
) -> None:
    """Contact at nine, a request at ten, a reply-only decision at once, its answer, a second request."""
    start = dt.datetime(2026, 1, 5, 8, 0, tzinfo=dt.UTC)  # 09:00 in Berlin
    judge = Judge(scenario, [0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0])
    judge.state = judge.state._replace(gap=judge.journey.rules.gap_days)
    sent = 0

    def happens(hours: float, kind: str, **fields: Any) -> None:
        nonlocal sent
        sent += 1
        moment = (start + dt.timedelta(hours=hours)).isoformat()
        event = {
            "event_id": str(sent),
            "source": "hand",
            "customer_id": "c",
            "occurred_at": moment,
            "kind": kind,
        }
        post_events(served, event | fields)
        if kind not in ("opt_in", "decision"):
            judge.apply(event | fields)

    def asked(hours: float, **fields: Any) -> dict[str, Any]:
        body = {"customer_id": "c", "as_of": (start + dt.timedelta(hours=hours)).isoformat(), **fields}
        made = served.post("/v1/decisions", json=body | {"defer_activation": True}).json()
        logged: dict[str, Any] = served.get(f"/v1/decisions/{made['decision_id']}").json()
        assert State(*logged["state"].values()) == judge.state
        levels = judge.journey.encoding.encode(judge.state).tolist()
        assert list(logged["observation"].values())[: len(levels)] == levels
        return logged

    for channel in ("email", "phone"):
        happens(-9, "opt_in", channel=channel)
    for day in range(3):
        hours = 24 * day
        assert set(asked(hours)["eligible"]) == judge.keys()
        happens(hours, "contact", touchpoint="offer", channel="phone")
        happens(hours + 0.1, "response", channel="phone")
        happens(hours + 1, "inbound", channel="phone")  # the day is not closed: nothing drains
        replies = {"wait", "reply:email", "reply:phone"}
        assert set(asked(hours + 1, purpose="service")["eligible"]) == replies
        happens(hours + 1.1, "contact", touchpoint="reply", channel="phone")
        happens(hours + 1.2, "resolution", channel="phone")
        assert set(asked(hours + 2)["eligible"]) == {"wait"}  # a second decision, nothing open
        happens(hours + 3, "inbound", channel="phone")
        assert set(asked(hours + 3)["eligible"]) == replies
        happens(hours + 4, "purchase", value=10.0)
        asked(hours + 5)
        judge.close()
    asked(24 * 3)
    for _ in range(5):  # days without a word drain as well
        judge.close()
    asked(24 * 8)
