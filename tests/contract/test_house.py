"""The house keeps its own rules: names, import direction, file sizes, no private paths."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("envs", "training", "serving")
FOLDERS = (*PACKAGES, "tests", "configs", "experiments", ".ci")
MAX_LINES = 350
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
