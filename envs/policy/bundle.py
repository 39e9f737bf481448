"""The policy bundle on disk: a folder that training writes and service reads.

Holds the manifest's schema, the integrity checks and the writer. What the files answer is
`policy.py`; no file of a bundle is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from envs.errors import BundleError
from envs.files.checks import problems
from envs.files.document import dotted
from envs.scenario.schema import Name, Scenario, Strict

SCHEMA_VERSION = 1
SUMS = "SHA256SUMS"
FIXED = ("manifest.json", "scenario.json", "paths.json")
Model = TypeVar("Model", bound=Strict)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|onnx|npz)")


class Frozen(Strict):
    """Frozen and strict, and NaN or infinity is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parity(Frozen):
    """Vectors that the reader's runtime must reproduce."""

    observations: list[list[float]]
    probabilities: list[list[float]]  # as the file gives them, before any mask


class Range(Frozen):
    """A mean with its 95 % interval over customers."""

    mean: float
    low: float
    high: float


class Simulated(Frozen):
    """What rollouts found where nothing exact can be said; money in objective units."""

    reason: str  # why there is no score
    customers: int
    days: int
    seed: int
    value: Range
    over: dict[str, Range]  # gained over planners, on the same customers
    upper_bound: float  # exact; no policy is worth more


class ClusterEntry(Frozen):
    """One cluster's file and what was proved about it; money in objective units."""

    file: str
    max_regret: float = Field(ge=0.0)  # a value gap below which exploration may choose
    # of the greedy action; None where V* − J0 is too small to divide by, or nobody knows V*
    score: float | None
    score_served: float | None  # the same with exploration
    money_gap: float | None = None  # V* − J, given where the score is None
    optimum: float | None  # None where types are hidden
    service_only: float | None = None
    value: float
    value_served: float | None = None
    # largest error of `values` over the tested states: of Q, or of a plan's Q where types are hidden
    value_error: float = Field(ge=0.0)
    belief: list[str] = []  # what follows the manifest's observation where hidden types live
    simulated: Simulated | None = None  # the evidence where types are hidden
    parity: Parity


class Manifest(Frozen):
    """What a bundle is, for which observation and actions, and where it came from."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str
    scenario_hash: str
    objective: Name
    horizon: Literal["discounted_infinite"] = "discounted_infinite"
    learner: str = ""
    observation: list[str]  # of the state; a cluster's belief follows it
    actions: list[str]
    exploration: float = Field(ge=0.0, le=1.0)
    clusters: dict[Name, ClusterEntry] = Field(min_length=1)
    run_id: str | None = None
    git_commit: str | None = None
    created_at: str


def read_files(folder: str | Path) -> tuple[dict[str, bytes], str]:
    """Every file's verified bytes by name, and the SHA-256 of the checksum list itself."""
    root = Path(folder)
    if not root.is_dir():
        raise BundleError(
            "no such bundle folder",
            where=str(folder),
            hint="`journey train` writes one",
        )
    try:
        listing = (root / SUMS).read_bytes()
    except OSError:
        raise BundleError("not a bundle", where=str(root), expected=f"a {SUMS} file") from None
    sums = _parse_sums(listing, root)
    present = {p.name for p in root.iterdir()} - {SUMS}
    for name in sorted(present - sums.keys()):
        raise BundleError("file not listed in the checksums", where=str(root / name), hint="remove it")
    files = {}
    for name, expected in sums.items():
        path = root / name
        if path.is_symlink() or not path.is_file():
            raise BundleError("missing or not a plain file", where=str(path))
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise BundleError(
                "content does not match its checksum",
                where=str(path),
                hint="export it again",
            )
    for name in FIXED:
        if name not in files:
            raise BundleError("file missing from the bundle", where=str(root / name))
    return files, hashlib.sha256(listing).hexdigest()


def read_manifest(content: bytes, where: str) -> Manifest:
    """Parse and validate a manifest; every problem is one line."""
    manifest = _validated(Manifest, content, where)
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(
            "unknown schema version",
            where=where,
            got=manifest.schema_version,
            expected=str(SCHEMA_VERSION),
        )
    return manifest


def read_scenario(content: bytes, manifest: Manifest, where: str) -> Scenario:
    """The scenario inside a bundle; its digest must be the manifest's."""
    scenario = _validated(Scenario, content, where)
    if scenario.digest() != manifest.scenario_hash:
        raise BundleError(
            "scenario does not match the manifest",
            where=where,
            got=scenario.digest()[:12],
            expected=manifest.scenario_hash[:12],
        )
    for problem in problems(scenario):
        what = f"{dotted(problem.key)}: {problem.what or 'not usable'}"
        raise BundleError(what, where=where, got=problem.got, expected=problem.expected)
    return scenario


def write_bundle(
    folder: str | Path,
    manifest: Manifest,
    scenario: Scenario,
    files: Mapping[str, bytes],
    paths: Mapping[str, object],
) -> Path:
    """Write a complete bundle beside its final place, then move it there in one step.

    `files` are the clusters' policy files by name; a former bundle at `folder` is replaced,
    any other folder is refused.
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()) and not (target / SUMS).is_file():
        raise BundleError(
            "folder exists and is not a bundle",
            where=str(target),
            hint="choose another",
        )
    content = {
        "manifest.json": manifest.model_dump_json(indent=1).encode(),
        "scenario.json": json.dumps(scenario.model_dump(mode="json"), sort_keys=True).encode(),
        "paths.json": json.dumps(paths, indent=1, allow_nan=False).encode(),
        **files,
    }
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    sums = []
    for name, body in sorted(content.items()):
        if not _PLAIN.fullmatch(name):
            raise BundleError("not a bundle file name", got=name)
        (draft / name).write_bytes(body)
        sums.append(f"{hashlib.sha256(body).hexdigest()}  {name}\n")
    (draft / SUMS).write_text("".join(sums))
    if target.exists():
        shutil.rmtree(target)
    draft.rename(target)
    return target


def _parse_sums(listing: bytes, root: Path) -> dict[str, str]:
    """File name → expected digest; only plain names of known kinds may be listed."""
    out: dict[str, str] = {}
    for number, line in enumerate(listing.decode("ascii", errors="replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        where = f"{root / SUMS}:{number}"
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or name in out:
            raise BundleError("not a checksum line", where=where, got=line[:80])
        if not _PLAIN.fullmatch(name):
            raise BundleError(
                "file of a kind that a bundle never holds",
                where=where,
                got=name[:80],
                expected="a plain name ending in .json, .onnx or .npz",
            )
        out[name] = digest
    return out


def _validated(model: type[Model], content: bytes, where: str) -> Model:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{place or 'content'}: {first['msg']}", where=where) from None
