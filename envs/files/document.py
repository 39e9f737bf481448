"""A YAML or JSON file read safely, remembering the line on which each key stands.

Scenarios, run configs and mappings are read here. YAML tags, merge keys, duplicate keys,
alias bombs, endless nesting and numbers that are not finite are refused. Keys are text as
written (`on`, `0` and `2024` stay what they look like). Knows nothing of any schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import yaml

from envs.errors import UserError

MAX_BYTES = 8 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 40

Key = tuple[str | int, ...]
"""A place in a document: `("clusters", 2, "behavior")`."""


@dataclass(frozen=True)
class Document:
    """The data of a file, and where in the file each part of it was written."""

    data: object
    path: str
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int | None:
        """Line of a key, else of the nearest enclosing one; None where unknown (JSON)."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return self.lines[key[:length]]
        return self.lines.get(())

    def at(self, key: Key) -> str:
        """`file:line` of a key, for the end of a message."""
        line = self.line(key)
        return self.path if line is None else f"{self.path}:{line}"


def dotted(key: Key) -> str:
    """`clusters[2].behavior.churn.rate`, the way people point at a key."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(name: str, known: list[str]) -> str:
    """`did you mean 'email'?`, else the names there are (a few), else nothing."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"one of {', '.join(known)}" if 0 < len(known) <= 12 else ""


def read_document(path: str | Path, error: type[UserError]) -> Document:
    """Read a `.json` file as JSON, any other as YAML; raises `error` with file and line."""
    name = str(path)
    text = _text(Path(path), name, error)
    if name.endswith(".json"):
        return Document(_json(text, name, error), name)
    return _yaml(text, name, error)


def _text(path: Path, name: str, error: type[UserError]) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise error("no such file", where=name, hint=f"looked from {Path.cwd().name or '/'}/") from None
    except (OSError, ValueError) as cause:  # a folder, no permission, a NUL in the name
        reason = getattr(cause, "strerror", None) or str(cause)
        raise error(f"cannot be read: {reason}", where=name) from None
    if len(raw) > MAX_BYTES:
        raise error("too large", where=name, expected=f"at most {MAX_BYTES // 2**20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = raw.count(b"\n", 0, cause.start) + 1
        raise error("not UTF-8 text", where=f"{name}:{line}", got=f"byte 0x{raw[cause.start]:02x}") from None


def _json(text: str, name: str, error: type[UserError]) -> object:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        out = dict(items)
        if len(out) < len(items):
            twice = next(k for i, (k, _) in enumerate(items) if any(k == other for other, _ in items[:i]))
            raise error(f"duplicate key {twice!r}", where=name)
        return out

    def refuse(constant: str) -> NoReturn:
        raise error("not a finite number", where=name, got=constant)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
    except json.JSONDecodeError as cause:
        raise error(f"not JSON: {cause.msg}", where=f"{name}:{cause.lineno}") from None
    except (RecursionError, ValueError):  # nesting, or an integer of thousands of digits
        raise error("not usable JSON", where=name, expected="shallow nesting and finite numbers") from None


class _Loader(yaml.SafeLoader):
    """Refuses tags and deep nesting while composing, before anything is constructed."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _RefusedError("YAML tags are not allowed", event.start_mark.line, got=event.tag)
        if self.depth >= MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} levels"
            raise _RefusedError("nested too deeply", event.start_mark.line, expected=expected)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _RefusedError(Exception):
    """Something YAML allows and we do not; becomes the caller's error with file and line."""

    def __init__(self, what: str, line: int, got: object = None, expected: str = "") -> None:
        super().__init__(what)
        self.what, self.line, self.got, self.expected = what, line + 1, got, expected


def _yaml(text: str, name: str, error: type[UserError]) -> Document:
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise error("empty", where=name, expected="a mapping of keys")
        builder = _Builder(loader.construct_object)
        return Document(builder.build(root, (), 0), name, builder.lines)
    except _RefusedError as cause:
        where = f"{name}:{cause.line}"
        raise error(cause.what, where=where, got=cause.got, expected=cause.expected) from None
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise error(f"not YAML: {_problem(cause)}", where=where) from None


def _problem(cause: yaml.YAMLError) -> str:
    context, problem = getattr(cause, "context", None), getattr(cause, "problem", None)
    return ", ".join(str(part) for part in (context, problem) if part) or str(cause).splitlines()[0]


class _Builder:
    """Nodes to plain data, counting every expansion of an alias."""

    def __init__(self, construct: Callable[[yaml.Node], object]) -> None:
        self.construct = construct
        self.lines: dict[Key, int] = {}
        self.nodes = 0

    def build(self, node: yaml.Node, key: Key, depth: int) -> object:
        line = node.start_mark.line
        self.lines.setdefault(key, line + 1)
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:  # depth: an alias inside its own anchor
            raise _RefusedError("aliases expand to too much", line, expected=f"at most {MAX_NODES:,} values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*key, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, object]:
        out: dict[str, object] = {}
        for name, value in node.value:
            line = name.start_mark.line
            if not isinstance(name, yaml.ScalarNode):
                raise _RefusedError("a key must be text", line)
            if name.tag == "tag:yaml.org,2002:merge":
                raise _RefusedError("merge keys (<<) are not supported", line, expected="an alias")
            if name.value in out:
                raise _RefusedError(f"duplicate key {dotted((*key, name.value))}", line)
            self.lines[(*key, name.value)] = line + 1
            out[name.value] = self.build(value, (*key, name.value), depth + 1)
        return out

    def _scalar(self, node: yaml.Node) -> object:
        try:
            value = self.construct(node)
        except (ValueError, OverflowError):  # 2026-02-30, an integer of thousands of digits
            raise _RefusedError("not a value", node.start_mark.line, got=str(node.value)[:40]) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _RefusedError("not a finite number", node.start_mark.line, got=node.value)
        return value
