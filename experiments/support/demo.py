"""`make demo`: from a scenario to a served next step, with the proof beside every policy.

Trains every cluster of the retail scenario with PPO, prints the score table, exports the
bundle, serves it on a free loopback port, posts one customer's events and asks what to do.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from envs.errors import JourneyError
from experiments.support.loopback import post, served
from training.run_config import load_run
from training.runs.train import run
from training.verbs.train import show

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "configs" / "training" / "ppo.yaml"
SCENARIO = ROOT / "configs" / "scenarios" / "omnichannel_retail.yaml"
OUT = Path("runs/demo")
CUSTOMER = "demo-1"
ATTRIBUTES = {"orders_12m": 8, "spend_12m": 410.0}


def main() -> int:
    """The demonstration; returns an exit code."""
    console, started = Console(), time.perf_counter()
    try:
        console.print("Training one policy a cluster, each judged by the exact solver …")
        config = load_run(RUN, scenario=str(SCENARIO), out=str(OUT))
        document = run(config)
        show(console, document)
        decide(console, Path(document["bundle"]))
    except JourneyError as error:
        print(f"journey: {error}", file=sys.stderr)
        return error.exit_code
    console.print(f"\nThe run in MLflow: .venv/bin/mlflow ui --backend-store-uri {config.tracking}")
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


def decide(console: Console, bundle: Path) -> None:
    """Serve the bundle, tell it what one customer did, ask for the next step."""
    events = timeline(dt.datetime.now(dt.UTC))
    console.print(f"\nServing {bundle}; the customer so far:")
    for event in events:
        told = " ".join(str(event[k]) for k in ("kind", "channel", "touchpoint", "outcome") if k in event)
        console.print(f"  {event['occurred_at'][:16]}  {told}")
    with served(bundle) as url:
        post(f"{url}/v1/events", events)
        request = {"customer_id": CUSTOMER, "attributes": ATTRIBUTES}
        decision = post(f"{url}/v1/decisions", request)
    kept = ("cluster", "next_step", "propensity", "reason", "alternatives", "expires_at", "policy")
    console.print("Its next step:")
    console.print(json.dumps({name: decision.get(name) for name in kept}, indent=1))


def timeline(now: dt.datetime) -> list[dict[str, Any]]:
    """A customer who bought once, clicked an e-mail two days ago and asked a question just now."""

    def event(number: int, ago: dt.timedelta, kind: str, **fields: Any) -> dict[str, Any]:
        moment = (now - ago).isoformat()
        return {
            "event_id": f"demo-{number}", "source": "demo", "customer_id": CUSTOMER,
            "occurred_at": moment, "kind": kind, **fields,
        }  # fmt: skip

    week, days = dt.timedelta(days=7), dt.timedelta(days=2)
    return [
        *(event(10 + n, week, "opt_in", channel=c) for n, c in enumerate(("email", "sms", "chat", "phone"))),
        event(3, week, "stage", outcome="customer"),
        event(4, week, "purchase", value=48.0, currency="GBP"),
        event(5, days, "contact", channel="email", touchpoint="inform", direction="outbound"),
        event(6, days, "response", channel="email", touchpoint="inform"),
        event(7, dt.timedelta(minutes=5), "inbound", channel="email", direction="inbound"),
    ]


if __name__ == "__main__":
    sys.exit(main())
