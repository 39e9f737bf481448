"""The command line: help without imports, one exit code an outcome, one JSON document."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import pytest
import typer

import envs.cli.command
from envs.cli.command import GROUP, VERBS, main
from envs.cli.output import emit, plain
from envs.errors import GateError, Interrupted, JourneyError, LogError, UserError

OUTCOMES: dict[str, BaseException] = {
    "refused": GateError("the effective sample size is 12, needed 100"),
    "stopped": Interrupted("stopped after epoch 3: journey train run.yaml --resume"),
    "control_c": KeyboardInterrupt(),
    "ragged": LogError("ragged row", where="log.csv:7", got=3, expected="5 cells"),
    "no_torch": ModuleNotFoundError("No module named 'torch'", name="torch"),
    "no_psycopg": ModuleNotFoundError("No module named 'psycopg'", name="psycopg.rows"),
}


def outcome(name: str) -> None:
    """A verb that ends as its argument says."""
    raise OUTCOMES[name]


def noisy(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """A verb whose libraries print and log."""
    print("a library's greeting")
    logging.getLogger("library").warning("a library's warning")
    emit({"seed": seed, "ratio": float("nan"), "places": [float("inf"), 1.5]}, as_json)


def wrong() -> None:
    """A verb with a mistake nobody foresaw."""
    raise ZeroDivisionError


@pytest.fixture
def with_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs of this file, registered beside the product's own."""
    names = [verb.__name__ for verb in (outcome, noisy, wrong)]
    extra = [EntryPoint(name, f"{__name__}:{name}", GROUP) for name in names]
    found = [*entry_points(group=GROUP), *extra]
    monkeypatch.setattr(envs.cli.command, "entry_points", lambda group: found)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for entry in entry_points(group=GROUP):
        assert entry.name in out
        assert entry.name in VERBS


def test_help_imports_no_extra_and_no_verb() -> None:
    heavy = "{'torch', 'mlflow', 'gymnasium', 'training', 'serving', 'stable_baselines3', 'sklearn'}"
    code = f"import sys, envs.cli; envs.cli.main(['--help']); sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("verb", sorted(entry.name for entry in entry_points(group=GROUP)))
def test_every_declared_verb_exists_and_speaks_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_no_arguments_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: journey" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["slove"], "Did you mean 'solve'"),
        (["--colour"], "No such option"),
        (["outcome"], "Missing argument"),
        (["noisy", "--seed", "many"], "'--seed': Input should be a valid integer"),
    ],
)
@pytest.mark.usefixtures("with_verbs")
def test_a_mistyped_command_is_one_line_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("refused", 3, "effective sample size is 12"),
        ("stopped", 130, "--resume"),
        ("control_c", 130, "interrupted"),
        ("ragged", 2, "log.csv:7: ragged row: expected 5 cells, got 3"),
        ("no_torch", 2, "pip install 'journey-optimizer[train]'"),
        ("no_psycopg", 2, "pip install 'journey-optimizer[postgres]'"),
    ],
)
@pytest.mark.usefixtures("with_verbs")
def test_every_foreseen_outcome_has_its_exit_code_and_one_line(
    name: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["outcome", name]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("with_verbs")
def test_an_unforeseen_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["wrong"])


@pytest.mark.usefixtures("with_verbs")
def test_json_is_one_document_whatever_libraries_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noisy", "--json", "--seed", "3"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"seed": 3, "ratio": None, "places": [None, 1.5]}
    assert out.count("\n") == 1
    assert "a library's greeting" in err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "envs.cli", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_every_error_is_in_the_tree_with_its_code() -> None:
    def leaves(root: type[JourneyError]) -> list[type[JourneyError]]:
        return [root, *(leaf for child in root.__subclasses__() for leaf in leaves(child))]

    codes: Callable[[type[JourneyError]], set[int]] = lambda root: {leaf.exit_code for leaf in leaves(root)}  # noqa: E731
    assert codes(UserError) == {2}
    assert codes(GateError) == {3}
    assert codes(Interrupted) == {130}


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON for"):
        plain(object())
