"""The library's door: ten lines are enough, and a mistake is told in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import envs
from envs.scenario.events import LOG_COLUMNS
from tests.serving.planned import write_planned_bundle

WINGS = {path.name for path in Path(envs.__file__).parent.iterdir() if path.is_dir()}


@pytest.fixture(scope="module")
def keen(tiny_path: Path) -> envs.JourneyStudy:
    return envs.load(tiny_path).journey("keen")


@pytest.fixture(scope="module")
def tiny_path(root: Path) -> Path:
    return root / "configs" / "scenarios" / "tiny.yaml"


@pytest.fixture(scope="module")
def bundle(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> envs.Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "planned"
    return envs.load_bundle(write_planned_bundle(folder, envs.load_scenario(tiny_path)))


def offers_when_rested(states: pd.DataFrame) -> Any:
    return np.where(states["fatigue"] == 0, "offer:email", "wait")


def test_the_door_offers_documented_names_and_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'numba', 'pydantic', 'pyarrow', 'gymnasium', 'torch'}"
    code = f"import sys, envs; print(*dir(envs)); sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
    names = done.stdout.split()
    assert len(names) >= 15
    assert all(f"`{name}`" in (envs.__doc__ or "") for name in names)


def test_every_name_is_there_and_none_is_a_wing() -> None:
    for name in dir(envs):
        assert getattr(envs, name) is not None
        assert name not in WINGS
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        envs.nothing  # noqa: B018


def test_ten_lines_solve_evaluate_and_simulate(keen: envs.JourneyStudy) -> None:
    best = keen.solve()
    table = best.table()
    assert {"stage", "fatigue", "consent_email", "action", "value"} <= set(table.columns)
    assert set(table["stage"]) == {"prospect", "customer"}
    assert keen.evaluate("service_only").score == pytest.approx(0.0, abs=1e-12)
    assert keen.evaluate(table).value == pytest.approx(best.value, rel=1e-9)
    mine = keen.evaluate(offers_when_rested)
    assert keen.evaluate("never").value < mine.value < best.value
    log = keen.simulate(50, days=20)
    assert list(log.columns) == list(LOG_COLUMNS)
    assert log["customer_id"].nunique() == 50


def test_values_are_those_of_the_wings_below(keen: envs.JourneyStudy) -> None:
    baselines = keen.solve().baselines
    for name, value in baselines.items():
        assert keen.evaluate(name).value == pytest.approx(value, rel=1e-9)


def test_a_wish_the_rules_forbid_passes_as_wait_and_is_told(keen: envs.JourneyStudy) -> None:
    always = keen.evaluate(lambda states: "offer:email")
    legal = keen.states["consent_email"].to_numpy()
    careful = keen.evaluate(lambda states: np.where(legal, "offer:email", "wait"))
    assert always.value == careful.value
    assert always.overruled > 0.0 == careful.overruled
    assert "overruled" in repr(always)


def test_a_table_may_name_only_some_of_the_columns(keen: envs.JourneyStudy) -> None:
    coarse = pd.DataFrame({"stage": ["prospect", "customer"], "action": ["offer:email", "wait"]})
    wished = keen.evaluate(lambda states: np.where(states["stage"] == "prospect", "offer:email", "wait"))
    assert keen.evaluate(coarse).value == wished.value


def test_a_series_is_read_by_its_index(keen: envs.JourneyStudy) -> None:
    shuffled = keen.evaluate(
        lambda states: pd.Series(offers_when_rested(states), index=states.index).sample(
            frac=1, random_state=1
        )
    )
    assert shuffled.value == keen.evaluate(offers_when_rested).value


def test_another_objective_prices_the_same_policy_otherwise(keen: envs.JourneyStudy) -> None:
    one, other = (keen.evaluate(offers_when_rested, objective=o) for o in ("conversion", "retention"))
    assert one.value != other.value
    assert one.components == other.components


def test_a_simulated_log_repeats_with_its_seed_and_follows_the_policy(keen: envs.JourneyStudy) -> None:
    first, again = (keen.simulate(30, days=10, policy=offers_when_rested, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    sent = first.loc[first["kind"] == "contact", ["touchpoint", "channel"]].drop_duplicates()
    assert sent.to_numpy().tolist() == [["offer", "email"]]


def test_a_table_that_went_through_a_file_is_the_same_policy(keen: envs.JourneyStudy, tmp_path: Path) -> None:
    keen.solve().table().sample(frac=1, random_state=1).to_csv(tmp_path / "best.csv", index=False)
    again = keen.evaluate(pd.read_csv(tmp_path / "best.csv"))
    assert again.value == pytest.approx(keen.solve().value, abs=1e-9)


def test_a_bundle_is_worth_the_optimum_it_was_made_from_and_is_simulated_as_served(
    keen: envs.JourneyStudy, bundle: envs.Bundle
) -> None:
    assert keen.evaluate(bundle).value == pytest.approx(keen.solve().value, rel=1e-9)
    opened, named = keen.simulate(20, days=10, policy=bundle), keen.simulate(20, 10, str(bundle.folder))
    same = [name for name in LOG_COLUMNS if name != "policy_version"]
    pd.testing.assert_frame_equal(opened[same], named[same])
    assert opened["propensity"].min() < 1.0


@pytest.mark.parametrize(
    ("part", "names"), [("touchpoints", ("inform", "offer")), ("stages", ("prospect", "customer"))]
)
def test_a_bundle_of_another_order_is_refused_and_not_misread(
    bundle: envs.Bundle, tiny_path: Path, tmp_path: Path, part: str, names: tuple[str, str]
) -> None:
    document = yaml.safe_load(tiny_path.read_text(encoding="utf-8"))
    document[part][:2] = reversed(document[part][:2])
    assert {entry["name"] for entry in document[part][:2]} == set(names)
    swapped = tmp_path / "swapped.yaml"
    swapped.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    other = envs.load(swapped).journey("keen")
    for asked in (lambda: other.evaluate(bundle), lambda: other.simulate(5, days=5, policy=bundle)):
        with pytest.raises(envs.JourneyError, match="made for another scenario"):
            asked()


WRONG: list[tuple[Any, str]] = [
    ("servic_only", "did you mean 'service_only'"),
    ("nope", "expected one of service_only"),
    (3, "not a policy"),
    (pd.DataFrame({"x": [1]}), "no column of actions"),
    (pd.DataFrame({"action": ["wait"]}), "no column of the states"),
    (pd.DataFrame({"stage": ["prospect"], "action": ["wait"]}), "a state is missing"),
    (pd.DataFrame({"stage": ["prospect"] * 2, "action": ["wait"] * 2}), "a state stands twice"),
    (pd.DataFrame({"fatigue": ["0", "1"], "action": ["wait", "wait"]}), "a column of another kind"),
    (lambda states: "ofer:email", "did you mean 'offer:email'"),
    (lambda states: ["wait"], "answers every state"),
    (lambda states: [None] * len(states), "an action is missing"),
    (lambda states: states["fatige"], "did you mean 'fatigue'"),
    (lambda states: states, "answers every state"),
    (lambda states: None, "answers every state"),
    (lambda states: pd.Series("wait", index=range(1, len(states) + 1)), "of another index"),
    (lambda states: [["wait"]] * len(states), "answers every state"),
    (lambda states: pd.Series([["wait"]] * len(states)), "unknown action"),
    (lambda states: np.zeros(len(states)), "unknown action"),
    (pd.DataFrame({"stage": [0, 1], "action": ["wait"] * 2}), "a column of another kind"),
    (pd.DataFrame([["prospect"] * 2 + ["wait"]], columns=["stage", "stage", "action"]), "stands twice"),
    (pd.DataFrame({"stage": ["prospect", "customer"], "action": ["wait", None]}), "an action is missing"),
    (pd.DataFrame({"stage": [], "action": []}), "a state is missing"),
]


@pytest.mark.parametrize(("policy", "told"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_policy_is_told_in_one_line(keen: envs.JourneyStudy, policy: Any, told: str) -> None:
    with pytest.raises(envs.JourneyError) as error:
        keen.evaluate(policy)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_names_and_numbers_are_told(keen: envs.JourneyStudy, tiny_path: Path) -> None:
    for wrong, told in (
        (lambda: envs.load("absent.yaml"), "no such file"),
        (lambda: envs.load(""), "not a scenario file"),
        (lambda: envs.load(tiny_path).journey("kene"), "did you mean 'keen'"),
        (lambda: keen.solve("nope"), "unknown objective"),
        (lambda: keen.solve("retentoin"), "did you mean 'retention'"),
        (lambda: keen.simulate(0), "customers"),
        (lambda: keen.simulate(5, days=0), "days"),
        (lambda: keen.simulate(5, seed=-1), "seed"),
        (lambda: keen.simulate(5, seed=2**70), "seed"),
        (lambda: keen.simulate(5, policy="nope"), "policy"),
    ):
        with pytest.raises(envs.JourneyError, match=told):
            wrong()


def test_hidden_types_are_simulated_and_not_solved(root: Path) -> None:
    everybody = envs.load(root / "configs" / "scenarios" / "personas.yaml").journey()
    assert len(everybody.simulate(20, days=5))
    with pytest.raises(envs.JourneyError, match="hidden types have no exact optimum"):
        everybody.solve()


def test_whatever_is_printed_fits_a_line(
    keen: envs.JourneyStudy, tiny_path: Path, bundle: envs.Bundle
) -> None:
    study, best = envs.load(tiny_path), keen.solve()
    shown = [
        study,
        study.scenario,
        keen,
        keen.journey,
        keen.kernel,
        best,
        best.solution,
        keen.evaluate("never"),
        bundle,
    ]
    for thing in shown:
        assert len(repr(thing)) < 200
        assert "\n" not in repr(thing)
    for table in (study, best, keen.evaluate("never")):
        assert "<table" in table._repr_html_()


def test_the_notebook_runs(root: Path, tmp_path: Path) -> None:
    notebook = json.loads((root / "examples" / "first_policy.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / "first_policy.py"
    script.write_text("\n\n".join(cells), encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(
        command, cwd=root / "examples", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
