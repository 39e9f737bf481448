"""`journey serve`, `score` and `export-log`: answer over HTTP or for a table, and give back the log."""

from __future__ import annotations

import datetime as dt
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from envs.cli.output import emit, table
from envs.errors import UserError
from envs.policy.policy import load_bundle
from serving.decide.policies import Held
from serving.decide.scoring import Step, read_customers, read_events, score_customers, write_steps
from serving.settings import Settings
from serving.store.clock import now
from serving.store.exporting import write_exported_log
from serving.store.store import reading

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    bundle: Annotated[list[Path], typer.Argument(help="Policy bundles; the first one answers.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    store: Annotated[str | None, typer.Option(help="Such as sqlite:///journey.db.")] = None,
    mode: Annotated[str | None, typer.Option(help="live, or shadow: decide and log, never act.")] = None,
    holdout: Annotated[float | None, typer.Option(help="Share of customers never marketed to.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of a new store's draws; default: secret.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Answer decisions over HTTP until interrupted."""
    import uvicorn  # neither scoring nor help needs a web server

    from serving.http.app import create_app

    given = {"store": store, "mode": mode, "holdout_share": holdout, "seed": seed}
    settings = _settings({name: value for name, value in given.items() if value is not None})
    bundles = [load_bundle(path) for path in bundle]
    with _listen(host, port) as listening:
        app = create_app(bundles, settings)
        where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        document = {
            "url": where,
            "docs": f"{where}/docs",
            "store": settings.store.rsplit("@", 1)[-1],
            "mode": settings.mode,
            "policies": [{"name": b.manifest.name, "version": b.manifest.version} for b in bundles],
        }
        if host not in _LOOPBACK:
            print(f"journey: others can reach {host}, and requests are not authenticated", file=sys.stderr)
        emit(document, as_json, lambda console: _announce(console, document))
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
        uvicorn.Server(config).run(sockets=[listening])


def score(
    bundle: Annotated[Path, typer.Argument(help="Policy bundle.")],
    customers: Annotated[Path, typer.Argument(help="Customers (Parquet or CSV): customer_id, attributes.")],
    out: Annotated[Path, typer.Option(help="Next steps to write, in .parquet.")],
    log: Annotated[Path | None, typer.Option(help="Event log of these customers.")] = None,
    as_of: Annotated[str | None, typer.Option(help="ISO time with its zone; default: now.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Next steps for a table of customers."""
    if out.suffix != ".parquet":
        raise UserError("unknown kind of file", where="--out", got=out.name, expected="a name in .parquet")
    started, moment = time.perf_counter(), _moment(as_of)
    held = Held(load_bundle(bundle))
    rows = read_customers(customers)
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Step]:
        for row in score_customers(held, rows, read_events(log, moment), moment, seed):
            counts[row["action"]] += 1
            yield row

    written = write_steps(counted(), out)
    document = {
        "steps": str(out),
        "customers": written,
        "as_of": moment.isoformat(),
        "seed": seed,
        "policy": {"name": held.name, "version": held.version, "sha256": held.sha256},
        "actions": dict(counts.most_common()),
        "seconds": round(time.perf_counter() - started, 2),
    }
    shown = table(str(out), ["action", "customers"], counts.most_common())
    emit(document, as_json, lambda console: console.print(shown))


def export_log(
    store: Annotated[str, typer.Argument(help="The service's store: a file or a URL.")],
    out: Annotated[Path, typer.Option(help="Log to write, in .parquet.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """The service's decisions and events as an event log."""
    if out.suffix != ".parquet":
        raise UserError("unknown kind of file", where="--out", got=out.name, expected="a name in .parquet")
    with reading(store if "://" in store else f"sqlite:///{store}") as connection:
        rows, people = write_exported_log(connection, out)
    document = {"log": str(out), "events": rows, "customers": people}
    emit(document, as_json, lambda console: console.print(f"{out}: {rows} events of {people} customers"))


def _settings(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{name}: {first['msg']}", where="settings", got=str(first["input"])) from None


def _listen(host: str, port: int) -> socket.socket:
    """The bound socket, so that a taken port is told before the store is opened."""
    family: Literal[socket.AddressFamily.AF_INET6, socket.AddressFamily.AF_INET] = (
        socket.AF_INET6 if ":" in host else socket.AF_INET
    )
    # named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # from now on nobody is refused: requests wait until the server runs
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen: {error.strerror or error}", where=f"{host}:{port}", hint="another --port"
        ) from None
    return listening


def _announce(console: Console, document: dict[str, Any]) -> None:
    held = ", ".join(f"{p['name']} {p['version']}" for p in document["policies"])
    console.print(f"{held} at {document['url']}/v1 (store {document['store']}, {document['mode']})")
    console.print(f"Documentation at {document['docs']}; Ctrl-C stops.")


def _moment(text: str | None) -> dt.datetime:
    if text is None:
        return now()
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            "not a time", where="--as-of", got=text, expected="2026-03-02T09:00:00+01:00"
        ) from None
    if moment.tzinfo is None:
        raise UserError("time without a zone", where="--as-of", got=text, expected="an offset such as +01:00")
    return moment.astimezone(dt.UTC)
