"""The main job on real input: Starbucks offers, from raw files to a served decision.

`python -m experiments.support.starbucks` splits the customers by a hash, then runs the product's own
verbs: check, fit, train on half A; evaluate on half B; serve. Everything that is chosen (the
clusters, the model, the policy, the best single offer) is chosen on half A. Only the split
and the order of steps are written here. The data never enter the project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from envs.cli.output import to_json
from envs.errors import JourneyError
from experiments.support.data import STARBUCKS_FILES, starbucks_file
from experiments.support.loopback import post, served

ROOT = Path(__file__).resolve().parents[2]
MAPPING = ROOT / "configs" / "mappings" / "starbucks.yaml"
RUN = ROOT / "configs" / "training" / "starbucks.yaml"
EVENTS, PROFILE, PORTFOLIO = STARBUCKS_FILES
SERVED_DAY = "2018-08-18"  # the fourth wave, in the mapping's calendar


def half_of(customer: str) -> str:
    """`a` or `b` by the last bit of the id's SHA-256: no order, date or size of the id matters."""
    return "ab"[hashlib.sha256(customer.encode()).digest()[-1] & 1]


def split(folder: Path) -> dict[str, int]:
    """Write both halves' three files under `folder`; returns the customers of each."""
    counts = {}
    events, profile, portfolio = (starbucks_file(name) for name in STARBUCKS_FILES)
    halves = {customer: half_of(customer) for customer in profile["cust"]}
    for half in "ab":
        place = folder / f"half_{half}"
        place.mkdir(parents=True, exist_ok=True)
        for name, frame in ((EVENTS, events), (PROFILE, profile)):
            frame[frame["cust"].map(halves) == half].to_csv(place / name, index=False)
        portfolio.to_csv(place / PORTFOLIO, index=False)
        counts[half] = sum(h == half for h in halves.values())
    return counts


def main(arguments: list[str] | None = None) -> int:
    """The chain; returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.support.starbucks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/starbucks"), help="results and bundle")
    parser.add_argument("--run", type=Path, default=RUN, help="run config of the learner")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="journey-starbucks-") as scratch:
            chain(Path(scratch), options.out, options.run, options.seed)
    except JourneyError as error:
        print(f"journey: {error}", file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    return 0


def chain(scratch: Path, out: Path, run: Path, seed: int) -> None:
    """Check, fit, train on half A, evaluate on half B, serve one customer of half B."""
    counts = split(scratch)
    print(f"half A: {counts['a']:,} customers, everything is chosen on them")
    print(f"half B: {counts['b']:,} customers, they judge")
    learn, judge = (scratch / f"half_{half}" / EVENTS for half in "ab")
    out.mkdir(parents=True, exist_ok=True)
    journey("check", learn, "--mapping", MAPPING)
    journey("fit", learn, "--mapping", MAPPING, "--out", out / "fit")
    journey("train", run, "--scenario", out / "fit" / "scenario.yaml", "--out", out / "train", "--seed", seed)
    bundle = out / "train" / "bundle"
    offer = best_offer(bundle, learn)
    print(f"\nbest single offer on half A: {offer}")
    held_out = ["--log", judge, "--mapping", MAPPING, "--against", offer, "--seed", seed]
    document = json.loads(journey("evaluate", bundle, *held_out, "--json", quiet=True))
    (out / "evaluation.json").write_text(to_json(document | {"best_single_offer": offer, "halves": counts}))
    from rich.console import Console

    from training.verbs.evaluate import show_estimates

    print("\nheld out: half B")
    show_estimates(Console(width=150), document)
    serve_one(bundle, judge)


def journey(verb: str, *arguments: object, quiet: bool = False) -> str:
    """Run one verb of the command line, said aloud; a failure ends the chain with its code."""
    words = [verb, *map(str, arguments)]
    print(f"\n$ journey {' '.join(words)}", flush=True)
    command = [
        sys.executable,
        "-c",
        "import sys; from envs.cli import main; sys.exit(main())",
        *words,
    ]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if quiet else None)
    return done.stdout or ""


def best_offer(bundle: Path, log: Path) -> str:
    """The best single action by half A's own propensities."""
    from envs.policy.policy import load_bundle
    from training.judging.evaluate import single_action_on
    from training.logs.logged import read_logged

    opened = load_bundle(bundle)
    return single_action_on(opened, read_logged([log], opened.scenario, MAPPING, None))


# --- the served decision --------------------------------------------------------------------------


def serve_one(bundle: Path, log: Path) -> dict[str, Any]:
    """Start the service, send one customer's past, ask for the next step, stop by process id."""
    customer, events, attributes = timeline(log)
    with served(bundle) as url:
        accepted = post(f"{url}/v1/events", events)
        request = {"customer_id": customer, "attributes": attributes, "as_of": f"{SERVED_DAY}T00:00:00Z"}
        decision: dict[str, Any] = post(f"{url}/v1/decisions", request)
    print(f"\nserved: customer {customer} of half B, {accepted['accepted']} of {len(events)} events accepted")
    kept = ("cluster", "next_step", "propensity", "reason", "expires_at", "policy")
    print(json.dumps({name: decision.get(name) for name in kept}, indent=1))
    return decision


def timeline(log: Path) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """A customer of the log with an offer seen and used before the served day: id, events, attributes."""
    from training.logs.mapping import load_mapping
    from training.logs.prepare import prepare

    loaded = load_mapping(MAPPING)
    prepared = prepare([log], loaded)
    frame = prepared.log.to_pandas()
    frame = frame[(frame["kind"] != "decision") & (frame["occurred_at"] < pd.Timestamp(SERVED_DAY, tz="UTC"))]
    customer = str(frame.loc[frame["kind"] == "redemption", "customer_id"].iloc[0])
    own = frame[frame["customer_id"] == customer].sort_values("occurred_at", kind="stable")
    start = {"source": "mapping", "customer_id": customer, "kind": "opt_in"}
    events: list[dict[str, Any]] = [
        start
        | {
            "event_id": f"{customer}:opt_in:{c.name}",
            "occurred_at": "2018-08-01T00:00:00Z",
            "channel": c.name,
        }
        for c in loaded.scenario.channels
    ]
    columns = ["event_id", "source", "customer_id", "kind", "channel", "touchpoint", "value", "currency"]
    for row, moment in zip(own[columns].to_dict("records"), own["occurred_at"], strict=True):
        known = {str(k): v for k, v in row.items() if pd.notna(v)}
        events.append(known | {"occurred_at": moment.isoformat()})
    attributes = prepared.attributes.loc[[customer]].to_dict("records")[0]
    return customer, events, {str(k): v for k, v in attributes.items() if pd.notna(v)}


if __name__ == "__main__":
    sys.exit(main())
