"""Claims about `journey evaluate`: exact in a scenario, estimated from a log, refused with code 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from envs.cli import main
from envs.files.log import read_log, write_log
from envs.journey.journey import compile_journey
from envs.policy.policy import load_bundle
from envs.scenario.schema import Scenario
from envs.simulate.log import Span, write_simulated_log
from envs.simulate.logging_policy import deciders
from training.judging.evaluate import rollout
from training.run_config import RunConfig
from training.runs.train import run


@pytest.fixture(scope="module")
def bundle(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planner's bundle of the tiny scenario."""
    out = tmp_path_factory.mktemp("run")
    config = RunConfig(learner="planner", scenario=str(tiny_path), out=str(out), tracking="off", workers=1)
    return Path(run(config)["bundle"])


@pytest.fixture(scope="module")
def log(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of random legal actions."""
    path = tmp_path_factory.mktemp("log") / "tiny.parquet"
    behavior = deciders("random_legal")
    journeys = [compile_journey(tiny, c.name) for c in tiny.clusters]
    write_simulated_log(path, [(j, behavior(j)) for j in journeys], Span(600, 4, 1), "random")
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([str(a) for a in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_planner_is_the_optimum_of_the_scenario_it_planned(
    bundle: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document(capsys, "evaluate", bundle, "--scenario", tiny_path, "--json")
    assert found["same_scenario"]
    for row in found["clusters"]:
        assert row["method"] == "exact"
        assert row["score"] == pytest.approx(1.0, abs=1e-6)


def test_simulated_value_holds_the_exact_one(
    bundle: Path, tiny: Scenario, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = document(capsys, "evaluate", bundle, "--scenario", tiny_path, "--json")
    for row in exact["clusters"]:
        journey = compile_journey(tiny, row["name"])
        # after 200 days the discount leaves nothing
        returns = rollout(
            journey, load_bundle(bundle).policy(row["name"]), journey.weights(), 4000, 200, seed=3
        )
        error = returns.std() / np.sqrt(len(returns))
        assert abs(returns.mean() - row["value"]) < 3.3 * error


def test_log_gives_estimates_differences_and_refusals_in_one_document(
    bundle: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("evaluate", bundle, "--log", log, "--against", "inform:email", "--served", "--json")
    found = document(capsys, *arguments)
    assert set(found["policies"]) == {"policy", "policy_served", "nothing", "always inform:email", "logged"}
    logged = found["policies"]["logged"]["journey_marginalised_dr"]
    assert logged["low"] < logged["mean"] < logged["high"]
    assert set(found["differences"]) == {
        "policy - policy_served", "policy - nothing", "policy - always inform:email", "policy - logged",
    }  # fmt: skip
    assert found["policies"]["policy"]["journey_fitted_q"]["label"] == "in the fitted model, no interval"
    assert sum(found["chosen"].values()) == pytest.approx(1.0)


def test_bootstrap_and_normal_intervals_tell_the_same_story(
    bundle: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = document(capsys, "evaluate", bundle, "--log", log, "--json")
    drawn = document(capsys, "evaluate", bundle, "--log", log, "--bootstrap", 400, "--json")
    a, b = (d["policies"]["logged"]["one_decision_ipw"] for d in (plain, drawn))
    assert a["mean"] == b["mean"]
    # percentile ends of 400 resamples are off by about a tenth of the half width
    assert b["high"] - b["low"] == pytest.approx(a["high"] - a["low"], rel=0.25)


def test_log_without_propensities_is_refused_with_code_3(
    bundle: Path, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_log(log)
    position = table.column_names.index("propensity")
    blank = table.set_column(position, "propensity", pa.nulls(table.num_rows, pa.float64()))
    write_log(blank, tmp_path / "blank.parquet")
    assert main(["evaluate", str(bundle), "--log", str(tmp_path / "blank.parquet")]) == 3
    assert "no propensities" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --scenario S or --log LOG"),
        (["--log", "nowhere.parquet"], "no such file"),
        (["--log", "LOG", "--against", "gift:email"], "unknown action"),
        (["--log", "LOG", "--customers", "nowhere.csv"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], said: str, bundle: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(log) if word == "LOG" else word for word in arguments]
    assert main(["evaluate", str(bundle), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_scenario_with_other_actions_is_refused(
    bundle: Path, tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, both = tiny_path.read_text(), "channels: [email, phone]}\n  - {name: reply"
    assert both in text
    other = tmp_path / "other.yaml"
    other.write_text(text.replace(both, both.replace(", phone", "")))
    assert main(["evaluate", str(bundle), "--scenario", str(other)]) == 2
    assert "other" in capsys.readouterr().err
