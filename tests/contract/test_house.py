"""The house keeps its own rules: names, types, import direction, file sizes, no private paths."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

PACKAGES = ("envs", "training", "serving")
FOLDERS = (*PACKAGES, "tests", "configs", "experiments", ".ci")
MAX_LINES = 350
MAX_MODULES = 15  # a folder, its `__init__` not counted
MAX_CHAIN = 8  # imports from wing to wing
LEAST_DOCSTRING = 100  # characters: a paragraph, not a label
MOST_UNTYPED = 0.05  # of the annotations in public signatures
COMPILERS = {"compiled", "inlined", "parallel", "unlocked"}  # of envs/compiled.py
HOMES = re.compile("/" + r"(home|root|Users|work)/\w|[A-Z]:\\" + r"Users\\")


def _files(root: Path, *suffixes: str) -> list[Path]:
    """What is, or would be, committed; outside a git checkout whatever lies in the house's folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
        paths = {root / name for name in listed.split("\0") if name}
    except (OSError, subprocess.CalledProcessError):
        inside = [path for folder in FOLDERS for path in (root / folder).rglob("*")]
        paths = {path for path in (*root.iterdir(), *inside) if "__pycache__" not in path.parts}
    found = (path for path in paths if path.is_file() and path.name not in (".git", ".coverage"))
    return sorted(path for path in found if not suffixes or path.suffix in suffixes)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_shadows_a_package(package: str, root: Path) -> None:
    assert set(packages_distributions()[package]) == {"journey-optimizer"}
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin == str(root / package / "__init__.py")


def test_imports_follow_the_layers(root: Path) -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    command = [str(linter), "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_journey_is_imported_without_gymnasium_or_a_learner() -> None:
    code = "import sys, envs, envs.cli, envs.solve, envs.simulate, envs.policy; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for module in ("gymnasium", "torch", "mlflow", "stable_baselines3", "sklearn"):
        assert f"'{module}'" not in done.stdout


def test_no_module_is_longer_than_a_reader_can_hold(root: Path) -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in _files(root, ".py")}
    assert {str(path.relative_to(root)): n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_no_folder_holds_more_modules_than_a_reader_can_survey(root: Path) -> None:
    modules = [path for path in _of_packages(root) if path.name != "__init__.py"]
    folders = Counter(str(path.parent.relative_to(root)) for path in modules)
    assert {folder: n for folder, n in folders.items() if n > MAX_MODULES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_wings_import_each_other_in_one_direction_and_few_steps(package: str) -> None:
    above = _wings(package)
    longest: dict[str, int] = {}
    for wing in TopologicalSorter(above).static_order():  # raises where there is a circle
        longest[wing] = max((longest[below] + 1 for below in above[wing]), default=0)
    assert max(longest.values()) <= MAX_CHAIN, longest


def _wings(package: str) -> dict[str, set[str]]:
    """Each wing (folder or module) of a package, and those it imports."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    modules = graph.modules - {package}
    imports: dict[str, set[str]] = {_wing(module): set() for module in modules}
    for module in modules:
        imports[_wing(module)] |= {_wing(n) for n in graph.find_modules_directly_imported_by(module)}
    return {wing: found - {wing} for wing, found in imports.items()}


def _wing(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_wing_says_what_it_is_for(package: str, root: Path) -> None:
    doors = [path for path in _of_packages(root) if path.match(f"{package}/*/__init__.py")]
    assert doors
    said = {path.parent.name: ast.get_docstring(_tree(path)) or "" for path in doors}
    assert {wing: len(text) for wing, text in said.items() if len(text) <= LEAST_DOCSTRING} == {}


def test_public_signatures_say_what_they_take_and_give(root: Path) -> None:
    """`Any` says nothing; compiled functions, whose types numba finds, stand apart."""
    annotations = [
        (f"{path.relative_to(root)}:{annotation.lineno}", annotation)
        for path in _of_packages(root)
        for annotation in _public_annotations(_tree(path).body)
    ]
    untyped = [where for where, annotation in annotations if _says_any(annotation)]
    assert len(untyped) <= MOST_UNTYPED * len(annotations), "\n".join(untyped)


def _public_annotations(body: list[ast.stmt]) -> Iterator[ast.expr]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_annotations(node.body)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if any(isinstance(mark, ast.Name) and mark.id in COMPILERS for mark in node.decorator_list):
            continue
        given = node.args
        taken = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
        yield from filter(None, [node.returns, *(one.annotation for one in taken if one)])


def _says_any(annotation: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(annotation))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _of_packages(root: Path) -> list[Path]:
    folders = [root / package for package in PACKAGES]
    return [path for path in _files(root, ".py") if any(path.is_relative_to(f) for f in folders)]


def test_every_module_says_what_it_models(root: Path) -> None:
    modules = [p for p in _files(root, ".py") if p.name != "__init__.py" or p.parent.name in PACKAGES]
    silent = [p for p in modules if not p.read_text(encoding="utf-8").startswith('"""')]
    assert [str(path.relative_to(root)) for path in silent] == []


def test_no_file_names_somebodys_home(root: Path) -> None:
    texts = _files(root, ".py", ".md", ".toml", ".yaml", ".yml", ".json", ".csv", ".txt", ".sh", "")
    named = {
        str(path.relative_to(root)): match.group()
        for path in texts
        if (match := HOMES.search(path.read_text(encoding="utf-8", errors="ignore")))
    }
    assert named == {}
