"""A bundle is opened whole and untouched, or not at all; what it answers is legal and finite."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import BundleError, UserError
from envs.policy.policy import Bundle, load_bundle, sample, serving_probabilities
from envs.scenario.schema import Scenario
from envs.solve.kernel import build_kernel, legal_masks, state_observations
from training.run_config import RunConfig
from training.runs.train import run

Spoil = Callable[[Path], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, tiny_path: Path) -> Path:
    """The planner's bundle of the hand-checkable scenario."""
    out = tmp_path_factory.mktemp("planner")
    config = RunConfig(learner="planner", scenario=str(tiny_path), out=str(out), tracking="off", workers=1)
    return Path(run(config)["bundle"])


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def relist(folder: Path) -> None:
    """Make the checksums agree with the files again, as a careful forger would."""
    names = sorted(p.name for p in folder.iterdir() if p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def edit(folder: Path, change: Callable[[dict[str, Any]], None], name: str = "manifest.json") -> None:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    relist(folder)


def flip_a_bit(folder: Path) -> None:
    body = bytearray((folder / "keen.npz").read_bytes())
    body[len(body) // 2] ^= 1
    (folder / "keen.npz").write_bytes(bytes(body))


def swap_observation(folder: Path) -> None:
    edit(folder, lambda m: m["observation"].reverse())


def swap_actions(folder: Path) -> None:
    edit(folder, lambda m: m["actions"].insert(1, m["actions"].pop()))


def change_scenario(folder: Path) -> None:
    edit(folder, lambda s: s.update(discount=0.95), "scenario.json")


def add_a_pickle(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(pickle.dumps({"x": 1}))
    relist(folder)


def hide_a_pickle_in_the_table(folder: Path) -> None:
    arrays = dict(np.load(folder / "keen.npz"))
    arrays["scale"] = np.array([{"x": 1}], dtype=object)
    np.savez(folder / "keen.npz", allow_pickle=True, **arrays)
    relist(folder)


def rename_a_pickle(folder: Path) -> None:
    (folder / "keen.npz").write_bytes(pickle.dumps({"actions": [1]}))
    relist(folder)


def add_an_unlisted_file(folder: Path) -> None:
    (folder / "notes.json").write_text("{}")


def remove_a_policy(folder: Path) -> None:
    (folder / "wary.npz").unlink()


def remove_and_unlist_a_policy(folder: Path) -> None:
    (folder / "wary.npz").unlink()
    relist(folder)


def remove_the_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


def link_outside(folder: Path) -> None:
    outside = folder.parent / "outside.npz"
    (folder / "keen.npz").rename(outside)
    (folder / "keen.npz").symlink_to(outside)


def climb_out(folder: Path) -> None:
    sums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(sums.replace("keen.npz", "../keen.npz"))


def forge_the_answers(folder: Path) -> None:
    arrays = dict(np.load(folder / "keen.npz"))
    arrays["actions"] = np.zeros_like(arrays["actions"])
    arrays["actions"][:] = 1
    np.savez(folder / "keen.npz", **arrays)
    relist(folder)


def forge_the_scenario(folder: Path) -> None:
    body = json.loads((folder / "scenario.json").read_text())
    body["new_customer"]["stage"] = "nowhere"
    forged = Scenario.model_validate(body)
    edit(folder, lambda s: s.update(new_customer={"stage": "nowhere"}), "scenario.json")
    edit(folder, lambda m: m.update(scenario_hash=forged.digest()))


def claim_another_schema(folder: Path) -> None:
    edit(folder, lambda m: m.update(schema_version=99))


def write_nan_values(folder: Path) -> None:
    arrays = dict(np.load(folder / "keen.npz"))
    arrays["values"][0, 0] = np.nan
    np.savez(folder / "keen.npz", **arrays)
    relist(folder)


def write_garbage_for_a_network(folder: Path) -> None:
    (folder / "keen.npz").unlink()
    (folder / "keen.onnx").write_bytes(b"\x08\x07garbage")
    edit(folder, lambda m: m["clusters"]["keen"].update(file="keen.onnx"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (flip_a_bit, "does not match its checksum"),
        (swap_observation, "observation order does not match"),
        (swap_actions, "actions order does not match"),
        (change_scenario, "scenario does not match the manifest"),
        (add_a_pickle, "a kind that a bundle never holds"),
        (hide_a_pickle_in_the_table, "not a readable table"),
        (rename_a_pickle, "not a readable table"),
        (add_an_unlisted_file, "not listed in the checksums"),
        (remove_a_policy, "missing or not a plain file"),
        (remove_and_unlist_a_policy, "cluster's file is missing"),
        (remove_the_sums, "not a bundle"),
        (link_outside, "missing or not a plain file"),
        (climb_out, "a kind that a bundle never holds"),
        (forge_the_answers, "other actions than when it was exported"),
        (forge_the_scenario, "new_customer.stage"),
        (claim_another_schema, "unknown schema version"),
        (write_nan_values, "not finite"),
        (write_garbage_for_a_network, "not a readable network"),
    ],
)
def test_a_spoiled_bundle_is_refused_with_one_line(folder: Path, spoil: Spoil, words: str) -> None:
    spoil(folder)
    with pytest.raises(BundleError, match=words) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle folder"):
        load_bundle(tmp_path / "nowhere")


def test_a_foreign_folder_is_never_overwritten(original: Path, tmp_path: Path, tiny_path: Path) -> None:
    out = tmp_path / "run"
    (out / "bundle").mkdir(parents=True)
    (out / "bundle" / "thesis.txt").write_text("years of work")
    config = RunConfig(learner="planner", scenario=str(tiny_path), out=str(out), tracking="off", workers=1)
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        run(config)
    assert (out / "bundle" / "thesis.txt").read_text() == "years of work"


@pytest.fixture(scope="module")
def bundle(original: Path) -> Bundle:
    return load_bundle(original)


def test_every_state_gets_a_legal_action_and_finite_values(bundle: Bundle) -> None:
    for cluster in bundle.manifest.clusters:
        kernel = build_kernel(bundle.journey(cluster))
        for m in range(len(kernel.consents)):
            legal = legal_masks(kernel, m)
            probabilities, values = bundle.policy(cluster).evaluate(state_observations(kernel, m), legal)
            assert np.isfinite(values).all()
            assert probabilities[~legal].sum() == 0.0
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_a_churned_customer_waits(bundle: Bundle) -> None:
    journey = bundle.journey("keen")
    observation = np.zeros((1, len(journey.encoding.names)), dtype=np.float32)
    observation[0, 0] = len(journey.scenario.stages) - 1
    legal = np.eye(len(journey.actions), dtype=bool)[:1]
    probabilities, values = bundle.policy("keen").evaluate(observation, legal)
    assert probabilities[0, 0] == 1.0
    assert not values.any()


def test_a_mask_from_outside_moves_the_choice_to_the_next_best(bundle: Bundle) -> None:
    kernel = build_kernel(bundle.journey("keen"))
    observations, legal = state_observations(kernel, 3), legal_masks(kernel, 3)
    policy = bundle.policy("keen")
    chosen = policy.evaluate(observations, legal)[0].argmax(axis=1)
    narrowed = legal.copy()
    narrowed[np.arange(len(legal)), chosen] = False
    narrowed[:, 0] = True
    probabilities, values = policy.evaluate(observations, narrowed)
    best = np.where(narrowed, values, -np.inf).max(axis=1)
    np.testing.assert_allclose(values[probabilities > 0], best)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.5, 99.0])
def test_an_observation_that_cannot_be_is_an_error(bundle: Bundle, bad: float) -> None:
    journey = bundle.journey("keen")
    observation = np.zeros((1, len(journey.encoding.names)), dtype=np.float32)
    observation[0, 1] = bad
    with pytest.raises(UserError, match="observation"):
        bundle.policy("keen").evaluate(observation, np.ones((1, len(journey.actions)), dtype=bool))


def test_exploration_stays_near_the_best_and_sums_to_one() -> None:
    probabilities = np.array([[0.0, 1.0, 0.0, 0.0]])
    values = np.array([[4.9, 5.0, 4.0, 5.5]])
    legal = np.array([[True, True, True, False]])
    served = serving_probabilities(probabilities, values, legal, exploration=0.1, max_regret=0.2)
    np.testing.assert_allclose(served, [[0.05, 0.95, 0.0, 0.0]])


def test_a_draw_returns_the_probability_it_was_drawn_with() -> None:
    probabilities = np.array([0.0, 0.25, 0.0, 0.75])
    draws = [sample(probabilities, u) for u in np.linspace(0.0, 1.0, 2001)[:-1]]
    assert {action for action, _ in draws} == {1, 3}
    assert all(p == probabilities[a] for a, p in draws)
    assert np.mean([a == 1 for a, _ in draws]) == pytest.approx(0.25, abs=1e-3)


def test_the_table_survives_the_round_trip_to_npz_bytes(original: Path) -> None:
    with np.load(io.BytesIO((original / "keen.npz").read_bytes()), allow_pickle=False) as arrays:
        assert set(arrays) == {"consents", "actions", "values", "gaps", "scale"}
