"""`journey serve` and `journey score` as a person runs them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.cli import main
from envs.files.log import events_of, read_log
from tests.serving.conftest import Serve, at, decide, event, post_events

LEARNERS = {"torch", "stable_baselines3", "sb3_contrib", "mlflow", "gymnasium", "sklearn"}
PICKLERS = {"joblib", "dill"}


def served(body: dict[str, Any], url: str) -> Any:
    """POST JSON, read JSON."""
    request = urllib.request.Request(  # noqa: S310 loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def test_the_server_imports_no_learner_and_loads_no_pickle(bundle_path: Path, tmp_path: Path) -> None:
    """A whole decision in a fresh interpreter in which unpickling is an error."""
    script = f"""
import pickle, sys

def refuse(*_):
    raise AssertionError("a pickle was loaded")

from envs.policy.policy import load_bundle
from serving.http.app import create_app
from serving.contract.decisions import DecisionRequest
from serving.settings import Settings

# numba keeps its compiled code in pickles of its own; everything after it may not
bundle = load_bundle({str(bundle_path)!r})
pickle.load = pickle.loads = pickle.Unpickler = refuse
app = create_app([bundle], Settings(store="sqlite:///{tmp_path / "s.db"}"))
service = app.state.service
service.store.submit(lambda c: service.decider.decide(c, DecisionRequest(customer_id="c"))).result()
service.close()
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not (LEARNERS | PICKLERS) & set(ran.stdout.split())


def test_serve_answers_until_interrupted_and_prints_one_document(bundle_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "envs.cli", "serve", str(bundle_path), "--port", "0", "--json"]
    command += ["--store", f"sqlite:///{tmp_path / 's.db'}", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            document = json.loads((server.stdout or sys.stdin).readline())
            url = document["url"]
            with urllib.request.urlopen(f"{url}/readyz", timeout=30) as ready:  # noqa: S310
                assert json.load(ready)["status"] == "ok"
            served(event("opt_in", at(-1), channel="email"), f"{url}/v1/events")
            made = served({"customer_id": "c-1", "as_of": at()}, f"{url}/v1/decisions")
            assert made["policy"]["name"] == "tiny"
            assert {a["channel"] for a in made["alternatives"]} == {"email", None}
        finally:
            server.send_signal(signal.SIGINT)
            rest, errors = server.communicate(timeout=30)
    assert rest == ""
    assert "Traceback" not in errors


@pytest.mark.parametrize("damage", ["flipped bit", "pickle", "another order", "no bundle"])
def test_serve_refuses_a_damaged_bundle_with_one_line(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(bundle_path, folder)
    if damage == "flipped bit":
        path = folder / "keen.npz"
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    elif damage == "pickle":
        (folder / "policy.pkl").write_bytes(b"\x80\x04N.")
    elif damage == "another order":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["observation"].reverse()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        _sign(folder)
    else:
        (folder / "SHA256SUMS").unlink()
    store = tmp_path / "s.db"
    assert main(["serve", str(folder), "--port", "0", "--store", f"sqlite:///{store}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not store.exists()


def _sign(folder: Path) -> None:
    """New checksums over changed files."""
    import hashlib

    names = sorted(p.name for p in folder.iterdir() if p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_serve_says_in_one_line_that_a_port_is_taken_or_a_store_unusable(
    bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options in (["--port", port], ["--store", "sqlite://"], ["--mode", "live!"]):
            assert main(["serve", str(bundle_path), "--port", "0", *options]) == 2
            assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_score_gives_everybody_a_step_that_is_legal_and_repeatable(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = pa.table(
        {
            "customer_id": [f"c-{n}" for n in range(50)],
            "segment": ["keen", "wary"] * 25,
            "consent_email": [True, True, False, None, True] * 10,
        }
    )
    pq.write_table(people, tmp_path / "people.parquet")
    outs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for out in outs:
        options = ["--out", str(out), "--as-of", at(), "--seed", "5", "--json"]
        assert main(["score", str(bundle_path), str(tmp_path / "people.parquet"), *options]) == 0
        assert json.loads(capsys.readouterr().out)["customers"] == 50
    first, second = (pq.read_table(out).to_pylist() for out in outs)
    assert first == second
    assert [row["customer_id"] for row in first] == people["customer_id"].to_pylist()
    assert [row["cluster"] for row in first] == people["segment"].to_pylist()
    for row, granted in zip(first, people["consent_email"].to_pylist(), strict=True):
        assert row["action"] in row["eligible"].split("|")
        assert granted or row["action"] == "wait"
        assert 0 < row["propensity"] <= 1


def test_score_folds_the_log_it_is_given(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("customer_id\nc-1\nc-2\n")
    lines = [f"1,c-1,{at(-20)},opt_in,email", f"2,c-1,{at(-2)},opt_out,email", f"3,c-2,{at(-2)},opt_in,email"]
    (tmp_path / "log.csv").write_text("event_id,customer_id,occurred_at,kind,channel\n" + "\n".join(lines))
    out = tmp_path / "steps.parquet"
    options = ["--log", str(tmp_path / "log.csv"), "--out", str(out), "--as-of", at(), "--json"]
    assert main(["score", str(bundle_path), str(tmp_path / "people.csv"), *options]) == 0
    eligible = {row["customer_id"]: set(row["eligible"].split("|")) for row in pq.read_table(out).to_pylist()}
    assert eligible == {"c-1": {"wait"}, "c-2": {"wait", "inform:email", "offer:email"}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name\nx\n", "customer_id"),
        ("customer_id\nc\nc\n", "twice"),
        ("customer_id,stage\nc,nirvana\n", "nirvana"),
        ("customer_id,consent_email\nc,perhaps\n", "perhaps"),
    ],
)
def test_score_refuses_a_bad_table_with_one_line_and_leaves_no_file(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, says: str
) -> None:
    (tmp_path / "people.csv").write_text(content)
    out = tmp_path / "steps.parquet"
    assert main(["score", str(bundle_path), str(tmp_path / "people.csv"), "--out", str(out)]) == 2
    line = capsys.readouterr().err.strip()
    assert says in line
    assert "\n" not in line
    assert not list(tmp_path.glob("*steps*"))


def test_export_log_gives_back_what_happened_with_propensities(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = serve()
    post_events(
        client,
        event("opt_in", at(-1), channel="email"),
        event("purchase", at(-1), customer="anon", value=9.5),
        {"type": "alias", "messageId": "m", "userId": "c-1", "previousId": "anon"},
    )
    made = [decide(client, as_of=at(days=day), attributes={"segment": "wary"}) for day in range(6)]
    contact = next(m for m in made if m["next_step"]["action"] == "contact")
    client.post(f"/v1/decisions/{contact['decision_id']}/activation", json={"outcome": "failed"})
    out = tmp_path / "log.parquet"
    assert main(["export-log", str(tmp_path / "journey.db"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["customers"] == 1
    exported = list(events_of(read_log(out)))
    decisions = {e.decision_id: e for e in exported if e.kind == "decision"}
    assert {d: e.propensity for d, e in decisions.items()} == {
        m["decision_id"]: m["propensity"] for m in made
    }
    assert decisions[contact["decision_id"]].activated is False
    assert contact["decision_id"] not in {e.decision_id for e in exported if e.kind == "contact"}
    assert {e.customer_id for e in exported} == {"c-1"}
    assert pq.read_table(tmp_path / "log.customers.parquet").to_pylist() == [
        {"customer_id": "c-1", "segment": "wary"}
    ]


@pytest.mark.parametrize("store", ["nothing.db", "nosuchdb://x"])
def test_export_log_refuses_a_store_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export-log", store, "--out", "log.parquet"]) == 2
    assert not list(tmp_path.iterdir())
