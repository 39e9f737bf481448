"""Every shipped scenario is alive, and a dead one is told so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from envs.errors import ScenarioError
from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.scenario.schema import Persona, Scenario
from envs.simulate.simulator import Simulator
from envs.solve.baselines import business_rules, service_only
from envs.solve.kernel import build_kernel
from training.judging.alive import AliveReport, ClusterLife, Fact, check_scenario
from training.judging.marginals import Counts, Marginal, chosen_actions, count_events, marginals

SHIPPED = ("omnichannel_retail", "subscription_telecom", "retail_bank", "capped")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cluster_of_a_shipped_scenario_is_alive(root: Path, name: str) -> None:
    report = check_scenario(load_scenario(root / "configs" / "scenarios" / f"{name}.yaml"))
    assert report.failures == ()
    assert report.alive
    assert {m.name for m in report.marginals} >= {"email_response", "first_contact_resolution"}
    page = io.StringIO()
    report.render(Console(width=200, file=page))
    assert "alive: every fact holds" in page.getvalue()


def test_a_scenario_where_nobody_responds_is_reported_dead(tiny: Scenario) -> None:
    report = check_scenario(without_response(tiny))
    assert not report.alive
    failed = {line.split(":")[1].split(" is ")[0].strip() for line in report.failures}
    assert "time engaged" in failed


def test_hidden_types_are_refused_with_the_place(tiny: Scenario) -> None:
    cluster = tiny.clusters[0]
    mixed = cluster.model_copy(
        update={"personas": [Persona(name=n, share=0.5, behavior=cluster.behavior) for n in ("a", "b")]}
    )
    with pytest.raises(ScenarioError, match="clusters.keen.personas"):
        check_scenario(tiny.model_copy(update={"clusters": [mixed]}))


def test_a_fact_that_does_not_apply_holds() -> None:
    assert Fact("replies on another channel", None, at_least=0.05).holds
    assert not Fact("time engaged", 0.1, at_least=0.15).holds
    assert not Fact("requests left unanswered", 0.3, at_most=0.2).holds


def test_failures_name_cluster_fact_value_and_threshold() -> None:
    life = ClusterLife(
        "loyal", 10, 1.0, 0.0, ("myopic", 0.5), (Fact("time engaged", 0.1, at_least=0.15),), {}, {}
    )
    rate = Marginal("email_response", 0.06, 0.001, 0.0269, 0.0531)
    report = AliveReport("a", "0" * 64, (life,), (rate,))
    assert report.failures == (
        "loyal: time engaged is 0.1, expected at least 0.15",
        "email_response is 0.0600, expected 0.0269 to 0.0531",
    )


def test_requests_are_unanswered_exactly_when_nobody_replies(tiny: Scenario) -> None:
    kernel = build_kernel(compile_journey(tiny, "keen"))
    never = np.zeros((len(kernel.consents), kernel.states), dtype=np.int8)
    assert count_events(kernel, service_only(kernel), 500, 40, 1).share_unanswered == 0.0
    assert count_events(kernel, never, 500, 40, 1).share_unanswered == 1.0


def test_counted_rates_are_the_rates_of_the_scenario_where_nothing_modifies_them(tiny: Scenario) -> None:
    counts = counts_of(plain_rates(tiny), "keen", customers=4_000)
    for channel, rate in enumerate((0.10, 0.25)):
        n = counts.contacts[channel]
        assert n > 1_000
        tolerance = 4.0 * np.sqrt(rate * (1.0 - rate) / n)  # 4 standard errors: one false alarm in 16,000
        assert abs(counts.responses[channel] / n - rate) < tolerance
    p = 0.8  # replies by telephone to requests by telephone
    assert abs(counts.first_resolved / counts.first_replies - p) < 4.0 * np.sqrt(
        p * (1 - p) / counts.first_replies
    )


def test_counts_of_a_late_response_go_to_the_channel_that_was_open(tiny: Scenario) -> None:
    memory = tiny.memory.model_copy(update={"response_window_days": 2})
    wide = plain_rates(tiny).model_copy(update={"memory": memory, "max_states": 100_000})
    kernel = build_kernel(compile_journey(wide, "keen"))
    key = [a.key for a in kernel.journey.actions].index("inform:email")
    policy = np.zeros((len(kernel.consents), kernel.states), dtype=np.int8)
    legal = np.array([kernel.legal(m) >> key & 1 for m in range(len(kernel.consents))])
    rested = np.arange(kernel.states) // kernel.journey.rules.strides[2] % kernel.journey.rules.sizes[2] == 0
    policy[(legal == 1) & rested] = key
    counts = count_events(kernel, policy, 4_000, 60, 3)
    p = 1.0 - 0.9 * 0.9  # a hazard of 10 % on each of two days, contacts two days apart
    assert counts.responses[1] == 0
    assert (
        abs(counts.responses[0] / counts.contacts[0] - p)
        < 4.0 * np.sqrt(p * (1 - p) / counts.contacts[0]) + 0.005
    )


def test_a_band_of_an_unknown_rate_is_refused_with_its_nearest_name(tiny: Scenario) -> None:
    with pytest.raises(ScenarioError, match="email_response"):
        marginals(tiny.model_copy(update={"bands": {"email_respons": (0.0, 1.0)}}))


def test_the_churned_are_left_alone(tiny: Scenario) -> None:
    kernel = build_kernel(compile_journey(tiny, "keen"))
    simulator = Simulator(kernel.journey, 50, 0)
    states = simulator.states.astype(np.int64)
    states[:, 0] = kernel.journey.rules.churned
    policy = np.ones((len(kernel.consents), kernel.states), dtype=np.int8)
    assert (chosen_actions(kernel, policy, states) == 0).all()


def without_response(scenario: Scenario) -> Scenario:
    """The scenario with response rates of 0."""
    return with_behavior(scenario, {"rate": {}})


def plain_rates(scenario: Scenario) -> Scenario:
    """The scenario with every odds ratio of the response at 1."""
    ones = {"touchpoint": {}, "engagement": 1.0, "fatigue": 1.0, "goodwill": 1.0}
    return with_behavior(scenario, ones)


def with_behavior(scenario: Scenario, response: dict[str, object]) -> Scenario:
    """The scenario with fields of every cluster's response replaced."""
    clusters = []
    for cluster in scenario.clusters:
        changed = cluster.behavior.response.model_copy(update=response)
        behavior = cluster.behavior.model_copy(update={"response": changed})
        clusters.append(cluster.model_copy(update={"behavior": behavior}))
    return scenario.model_copy(update={"clusters": clusters})


def counts_of(scenario: Scenario, cluster: str, customers: int) -> Counts:
    """Counts under the business rules."""
    kernel = build_kernel(compile_journey(scenario, cluster))
    return count_events(kernel, business_rules(kernel, service_only(kernel)), customers, 40, 2)
