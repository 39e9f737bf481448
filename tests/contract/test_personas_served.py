"""Hidden types in service: events over HTTP move the belief, and the decision is the policy's for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from envs.files.scenario_file import load_scenario
from envs.journey.journey import compile_journey
from envs.journey.state import State
from envs.personas.models import Hidden
from envs.personas.rollouts import Seen
from envs.policy.policy import load_bundle
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.conftest import at, decide, event, post_events
from training.checkpoint import Unsaved
from training.personas import judge as hidden_judge
from training.personas import ppo as belief_ppo
from training.personas.ppo import BeliefSettings, Corrected, learn
from training.run_config import RunConfig
from training.runs.train import run

TINY = {"samples": 4_096, "customers": 64, "steps": 16, "batch": 256, "epochs": 2, "gae_lambda": 0.9}
CONSENTED = ("email", "sms")


@pytest.fixture(scope="module")
def hidden(root: Path) -> Hidden:
    """The shipped scenario of hidden types."""
    journey = compile_journey(load_scenario(root / "configs/scenarios/personas.yaml"), "everybody")
    return Hidden(journey, journey.weights())


@pytest.fixture(scope="module")
def trained(hidden: Hidden, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corrected]:
    """A bundle as `journey train` writes it, without exploration, and the policy that went into it."""
    out = tmp_path_factory.mktemp("personas")
    scenario = str(root / "configs" / "scenarios" / "personas.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belief_ppo, "CHOOSERS", 100)
        patch.setattr(hidden_judge, "CUSTOMERS", 100)
        config = RunConfig(
            learner="ppo", settings=TINY, scenario=scenario, out=str(out), tracking="off", workers=1,
            exploration=0.0,
        )  # fmt: skip
        bundle = Path(run(config)["bundle"])
        return bundle, learn(hidden, BeliefSettings.model_validate(TINY), 0, Unsaved())


@pytest.fixture(scope="module")
def client(trained: tuple[Path, Corrected], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service on that bundle."""
    store = tmp_path_factory.mktemp("store") / "journey.db"
    app = create_app([load_bundle(trained[0])], Settings(store=f"sqlite:///{store}", seed=7))
    with TestClient(app, raise_server_exceptions=False) as served:
        yield served


def asked(client: TestClient, customer: str, days: int, responds: bool) -> None:
    """A customer who is asked by e-mail every third day, and answers each time or never."""
    post_events(client, *(event("opt_in", at(days=-1), customer=customer, channel=c) for c in CONSENTED))
    for day in range(0, days, 3):
        what: dict[str, Any] = {"customer": customer, "channel": "email", "touchpoint": "ask"}
        post_events(client, event("contact", at(1.0, day), **what))
        if responds:
            post_events(client, event("response", at(2.0, day), **what))


def chosen(hidden: Hidden, policy: Corrected, logged: dict[str, Any]) -> str:
    """The training-side policy's action on the logged state and belief."""
    encoding, rules, kernel = hidden.journey.encoding, hidden.journey.rules, hidden.kernels[0]
    state = State(**logged["state"])
    observation = np.array([list(logged["observation"].values())], dtype=np.float32)
    keys = [action.key for action in hidden.journey.actions]
    seen = Seen(
        block=np.array([kernel.consents.tolist().index(state.consent)]),
        state=np.array([int(np.array(state) @ np.asarray(rules.strides))]),
        belief=observation[:, len(encoding.levels) :].astype(np.float64),
        observation=observation,
        legal=np.array([[key in logged["eligible"] for key in keys]]),
    )
    return keys[int(policy(seen)[0])]


def key_of(step: dict[str, Any]) -> str:
    """A next step as an action's key."""
    return "wait" if step["action"] == "wait" else f"{step['touchpoint']}:{step['channel']}"


def test_events_shift_the_belief_and_the_decision_is_the_policys_for_that_belief(
    client: TestClient, hidden: Hidden, trained: tuple[Path, Corrected]
) -> None:
    found = {}
    for customer, responds in (("opens-up", True), ("stays-silent", False)):
        asked(client, customer, 12, responds)
        made = decide(client, customer, as_of=at(days=20))
        logged = client.get(f"/v1/decisions/{made['decision_id']}").json()
        believed = made["reason"]["belief"]
        assert list(believed) == ["deal_seeker", "sleeping_dog"]
        assert sum(believed.values()) == pytest.approx(1.0, abs=1e-6)
        assert list(believed.values()) == list(logged["observation"].values())[-2:]
        assert key_of(made["next_step"]) == chosen(hidden, trained[1], logged)
        assert made["propensity"] == 1.0
        found[customer] = believed["deal_seeker"], logged["state"], key_of(made["next_step"])
    (high, one, acts), (low, other, waits) = found["opens-up"], found["stays-silent"]
    assert low < 0.3 < high  # a new customer: 0.3
    assert one == other  # everything they did has drained away, but for what it taught
    assert acts != waits == "wait"


def test_along_random_histories_every_decision_is_the_policys(
    client: TestClient, hidden: Hidden, trained: tuple[Path, Corrected]
) -> None:
    random = np.random.default_rng(1)
    beliefs, steps = set(), set()
    for n in range(12):
        customer = f"random-{n}"
        granted = [c for c in CONSENTED if random.random() < 0.8]
        post_events(client, *(event("opt_in", at(days=-1), customer=customer, channel=c) for c in granted))
        for day in range(0, 16, 2):
            kind = str(random.choice(["response", "purchase", "inbound", "none"]))
            channel = {"response": "email", "inbound": "sms"}.get(kind)
            if kind != "none":
                post_events(client, event(kind, at(5.0, day), customer=customer, channel=channel))
            made = decide(client, customer, as_of=at(6.0, day))
            logged = client.get(f"/v1/decisions/{made['decision_id']}").json()
            assert key_of(made["next_step"]) == chosen(hidden, trained[1], logged)
            beliefs.add(round(made["reason"]["belief"]["deal_seeker"], 6))
            steps.add(key_of(made["next_step"]))
    assert len(beliefs) > 40
    assert len(steps) >= 3


def test_a_decision_is_made_again_from_its_record_with_the_same_belief(client: TestClient) -> None:
    asked(client, "again", 6, responds=True)
    made = decide(client, "again", as_of=at(days=9))
    replayed = client.post(f"/v1/decisions/{made['decision_id']}/replay").json()
    assert replayed["identical"]
    assert replayed["stored"]["observation"]["belief_deal_seeker"] == made["reason"]["belief"]["deal_seeker"]


def test_the_service_says_that_nobody_knows_the_optimum(client: TestClient) -> None:
    (policy,) = client.get("/v1/policies").json()["policies"]
    shown = policy["clusters"]["everybody"]
    assert shown["score"] is shown["optimum"] is None
    assert shown["value"] > 0.0
    path = client.get("/v1/clusters/everybody/path").json()["path"]
    assert "mean of the hidden types" in path["of"]
