"""`journey VERB`: finds the verb, runs it, and turns every outcome into an exit code.

Verbs are plain functions with typer annotations, registered through the entry-point group
`journey.verbs` and imported only when called. This is the one place of exit codes: 0 done,
2 user error, 3 refused by a gate, 130 interrupted. An error nobody foresaw keeps its
traceback. Holds no verb.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from typing import Annotated, ParamSpec, TypeVar

import typer
from typer.exceptions import TyperException

from envs.cli.output import only_documents
from envs.errors import Interrupted, JourneyError

GROUP = "journey.verbs"
P = ParamSpec("P")
T = TypeVar("T")

VERBS = {
    "map": "Write a commented mapping skeleton from a raw log.",
    "check": "Say what is in a log or a scenario, and what is wrong with it.",
    "fit": "Estimate a scenario from a log, with uncertainty and a report.",
    "simulate": "Draw an event log with propensities from a scenario.",
    "solve": "The exact optimum, the baselines and the best paths of a scenario.",
    "train": "Train one policy a cluster, judge it exactly, write a bundle.",
    "sweep": "Search a learner's settings, every trial on several seeds, judged exactly.",
    "sync": "Log what a silent tracking server missed.",
    "evaluate": "The value of a bundle in a scenario or on a held-out log.",
    "report": "Journey map and evidence as one self-contained file.",
    "promote": "Give a bundle an alias in the registry, if its evidence suffices.",
    "score": "Next steps for a table of customers.",
    "export-log": "The service's decisions and events as an event log.",
    "serve": "Answer decisions over HTTP.",
}
"""One line a verb, so that help needs no imports; the verb's own help is its docstring."""

EXTRAS = {
    "train": (
        "gymnasium",
        "matplotlib",
        "mlflow",
        "onnx",
        "optuna",
        "sb3_contrib",
        "sklearn",
        "stable_baselines3",
        "torch",
    ),
    "postgres": ("psycopg",),
    "ray": ("ray",),
}
"""Packages that only an extra installs."""

BROKEN_PIPE = 1  # a reader that left, e.g. head: quiet, as the argument parser does it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = _application(argv)(argv or ["--help"], prog_name="journey", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except JourneyError as error:
        return _say(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        extra = _extra_of(error.name)
        if extra is None:
            raise
        return _say(f"{error.name} is not installed: pip install 'journey-optimizer[{extra}]'", 2)
    except TyperException as error:  # every complaint of the argument parser
        return _say(f"{error.format_message()} (journey --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", 130)
    except BrokenPipeError:
        # what is still buffered would raise again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _say(message: str, code: int) -> int:
    print(f"journey: {message}", file=sys.stderr)
    return code


def _extra_of(module: str | None) -> str | None:
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def _application(argv: list[str]) -> typer.Typer:
    """All verbs by name, and the one on the command line imported."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        help="From a real event log to a served next step: one journey model.",
    )
    app.callback()(_root)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    known = [name for name in VERBS if name in found]
    for name in known + sorted(set(found) - set(VERBS)):
        if name == chosen:
            app.command(name)(_guarded(found[name].load(), "--json" in argv))
        else:
            app.command(name, help=VERBS.get(name, ""))(_absent)
    return app


def _guarded(verb: Callable[P, T], as_json: bool) -> Callable[P, T]:
    """The verb, alone on stdout with its document and interruptible with a word."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with only_documents() if as_json else contextlib.nullcontext():
            try:
                return verb(*args, **kwargs)
            except KeyboardInterrupt:  # the parser would swallow it without a word
                raise Interrupted("interrupted") from None

    return run


def _absent() -> None:
    """Stands for a verb that is listed, not called."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("journey-optimizer"))
        raise typer.Exit


def _root(
    shown: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From a real event log to a served next step: one journey model."""
