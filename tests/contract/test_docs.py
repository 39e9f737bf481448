"""The papers are true where a machine can tell: links, cited sections and named paths exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "envs", "experiments", "serving", "tests", "training", "configs")
PAPERS = sorted([*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED = re.compile(r"[Dd]esign §(\d+)")
PATH = re.compile(r"`((?:envs|training|serving|tests|configs|experiments|docs)/[\w./-]+)`")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(paper: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(paper.read_text(encoding="utf-8"))]
    inside = [link for link in links if link and "://" not in link and not link.startswith("mailto:")]
    assert [link for link in inside if not (paper.parent / link).exists()] == []


def test_every_cited_section_of_the_design_exists() -> None:
    sections = set(re.findall(r"^## §(\d+)", (ROOT / "docs/design.md").read_text("utf-8"), re.MULTILINE))
    sources = [p for f in FOLDERS for suffix in ("py", "yaml", "md") for p in (ROOT / f).rglob(f"*.{suffix}")]
    cited = {(n, p.name) for p in sources for n in CITED.findall(p.read_text("utf-8"))}
    assert cited
    assert sorted(place for place in cited if place[0] not in sections) == []


@pytest.mark.parametrize("paper", ["architecture.md", "design.md"])
def test_every_path_that_a_paper_names_exists(paper: str) -> None:
    named = PATH.findall((ROOT / "docs" / paper).read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
