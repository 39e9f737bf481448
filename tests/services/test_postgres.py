"""The same service over a real PostgreSQL server, started by the test on a free loopback port."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from envs.policy.policy import load_bundle
from envs.scenario.schema import Scenario
from serving.http.app import create_app
from serving.settings import Settings
from tests.serving.planned import write_planned_bundle

pytestmark = pytest.mark.services


def binary(name: str) -> str:
    """A PostgreSQL program, where Debian or the PATH has it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(places[-1]) if places else shutil.which(name)
    assert found, f"{name} is missing: apt-get install postgresql"
    return found


def as_owner(command: list[str]) -> None:
    """Run as somebody PostgreSQL accepts: never root."""
    prefix = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    subprocess.run([*prefix, *command], check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database; the server is stopped by its own data folder."""
    folder = tmp_path_factory.mktemp("postgres")
    if getpass.getuser() == "root":
        for place in (folder, *folder.parents[:3]):
            if place.name.startswith(("pytest", "postgres")):
                place.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    as_owner([binary("initdb"), "-D", str(data), "-U", "journey", "-A", "trust", "-E", "UTF8"])
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    log = str(folder / "log")
    as_owner([binary("pg_ctl"), "-D", str(data), "-o", options, "-l", log, "-w", "start"])
    try:
        yield f"postgresql+psycopg://journey@127.0.0.1:{port}/postgres"
    finally:
        as_owner([binary("pg_ctl"), "-D", str(data), "-m", "fast", "-w", "stop"])


def test_decisions_events_and_replay_survive_a_restart_on_postgresql(
    database: str, tiny: Scenario, tmp_path: Path
) -> None:
    bundle = load_bundle(write_planned_bundle(tmp_path / "tiny", tiny))
    settings = Settings(store=database, seed=7)
    event = {
        "event_id": "1", "source": "test", "customer_id": "ann", "kind": "opt_in", "channel": "email",
        "occurred_at": "2026-03-01T09:00:00Z",
    }  # fmt: skip
    asked = {"customer_id": "ann", "as_of": "2026-03-02T09:00:00Z"}
    with TestClient(create_app([bundle], settings)) as client:
        accepted = client.post("/v1/events", json=[event, event])
        assert accepted.status_code < 300, accepted.text
        decision = client.post("/v1/decisions", json=asked)
        assert decision.status_code == 200, decision.text
    with TestClient(create_app([bundle], settings)) as client:
        number = decision.json()["decision_id"]
        assert client.get(f"/v1/decisions/{number}").json()["decision"] == decision.json()
        assert client.post(f"/v1/decisions/{number}/replay").json()["identical"]
        kinds = [item["kind"] for item in client.get("/v1/customers/ann/timeline").json()["items"]]
        assert kinds.count("opt_in") == 1
