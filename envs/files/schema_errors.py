"""A pydantic complaint as one line a person can act on: key, expected, got, file and line.

Where several things are wrong the first in the file is told and the rest are counted.
Works for any `Strict` model; knows no scenario.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from envs.errors import UserError
from envs.files.document import Document, Key, did_you_mean, dotted

Model = TypeVar("Model", bound=BaseModel)

EXPECTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "string_pattern_mismatch": "a name of a-z, 0-9 and _ that begins with a letter",
    "finite_number": "a finite number",
    "date_from_datetime_parsing": "a date such as 2026-01-31",
    "date_type": "a date such as 2026-01-31",
}


def validated(
    model: type[Model],
    document: Document,
    error: type[UserError],
    data: object = None,
    origin: Callable[[Key], Key] = lambda key: key,
) -> Model:
    """`data` (default: the document's) as a `model`; raises `error` naming key, file and line.

    `origin` maps a key of `data` to the key of the document it was merged from.
    """
    raw = document.data if data is None else data
    if not isinstance(raw, Mapping):
        raise error("not a mapping of keys", where=document.path, got=type(raw).__name__)
    try:
        return model.model_validate(raw)
    except ValidationError as cause:
        problems = _problems(cause, raw)
    found: dict[tuple[Key, str], tuple[Key, ErrorDetails]] = {}
    for key, problem in problems:
        found.setdefault((origin(key), problem["type"]), (key, problem))
    place, (key, problem) = min(
        ((place, item) for (place, _), item in found.items()),
        key=lambda pair: (document.line(pair[0]) or 0, -len(pair[0])),
    )
    more = f"; {len(found) - 1} more" if len(found) > 1 else ""
    raise _told(model, raw, key, place, problem, f"{document.at(place)}{more}", error)


def _problems(cause: ValidationError, raw: object) -> list[tuple[Key, ErrorDetails]]:
    """(key, complaint) without the branch names of unions, keeping the deepest branch."""
    found = [(_key(problem, raw), problem) for problem in cause.errors(include_url=False)]
    keys = {key for key, _ in found}
    return [
        (key, problem)
        for key, problem in found
        if not any(len(other) > len(key) and other[: len(key)] == key for other in keys)
    ]


def _key(problem: ErrorDetails, raw: object) -> Key:
    """The complaint's place in the data: pydantic's, less its own annotations."""
    key: list[str | int] = []
    at = raw
    loc = problem["loc"]
    for position, part in enumerate(loc):
        inside = isinstance(at, Mapping) and part in at
        if inside or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            key.append(part)
            at = _item(at, part)
        elif problem["type"] == "missing" and position == len(loc) - 1:
            key.append(part)
    return tuple(key)


def _told(
    model: type[BaseModel],
    raw: object,
    key: Key,
    place: Key,
    problem: ErrorDetails,
    at: str,
    error: type[UserError],
) -> UserError:
    kind, got = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        fields = _fields(_annotation(model, key[:-1], raw)[0])
        advice = did_you_mean(str(key[-1]), fields)
        return error(f"{dotted(place)}: unknown key{', ' + advice if advice else ''}", hint=at)
    if kind == "missing":
        return error(f"{dotted(place)}: missing", hint=at)
    name = problem["loc"][-1:] == ("[key]",)
    expected = "a name" if name else _expected(kind, problem, model, key, raw)
    if name and kind == "string_pattern_mismatch":
        expected = EXPECTED[kind]
    return error(dotted(place), expected=expected, got=_short(got), hint=at)


def _expected(kind: str, problem: ErrorDetails, model: type[BaseModel], key: Key, raw: object) -> str:
    context = problem.get("ctx", {})
    if kind.startswith(("greater_than", "less_than")):
        return _range(_annotation(model, key, raw)[1]) or problem["msg"].removeprefix("Input should be ")
    if kind == "literal_error":
        return str(context["expected"])
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        count = context["min_length" if least else "max_length"]
        return f"{'at least' if least else 'at most'} {count} item{'s' if count != 1 else ''}"
    return EXPECTED.get(kind) or problem["msg"].removeprefix("Input should be ")


def _short(got: object) -> object:
    if isinstance(got, Mapping):
        return f"keys {', '.join(map(str, list(got)[:4]))}"
    if isinstance(got, list):
        return f"a list of {len(got)}"
    return got[:60] if isinstance(got, str) else got


def _range(metadata: list[object]) -> str:
    bounds: dict[str, Any] = {}
    for item in metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                bounds[name] = getattr(item, name)
    low = {"ge": "", "gt": "above "}
    high = {"le": "", "lt": "below "}
    lower = next((f"{low[n]}{bounds[n]:g}" for n in low if n in bounds), "")
    upper = next((f"{high[n]}{bounds[n]:g}" for n in high if n in bounds), "")
    if "ge" in bounds and "le" in bounds:
        return f"{lower}..{upper}"
    if lower and upper:
        return f"{lower} and {upper if 'lt' in bounds else 'at most ' + upper}"
    return f"at least {lower}" if "ge" in bounds else f"at most {upper}" if "le" in bounds else lower or upper


def _annotation(model: type[BaseModel], key: Key, raw: object) -> tuple[object, list[object]]:
    """The declared type at a key, and the constraints on it."""
    annotation: object = model
    metadata: list[object] = []
    at = raw
    for part in key:
        at = _item(at, part)
        inner = _step(annotation, part)
        if inner is None:
            return None, []
        annotation, metadata = _peel(inner, at)
    return annotation, metadata


def _item(value: object, part: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _step(annotation: object, part: str | int) -> object:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields.get(str(part))
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    if get_origin(annotation) in (list, tuple) and isinstance(part, int):
        return arguments[min(part, len(arguments) - 1)]
    return None


def _peel(inner: object, at: object) -> tuple[object, list[object]]:
    """Strip `Annotated` and pick the branch of a union that the data looks like."""
    metadata: list[object] = []
    while True:
        if isinstance(inner, FieldInfo):
            metadata += inner.metadata
            inner = inner.annotation
        elif get_origin(inner) is Annotated:
            inner, *extra = get_args(inner)
            for item in extra:
                metadata += item.metadata if isinstance(item, FieldInfo) else [item]
        elif get_origin(inner) in (Union, types.UnionType):
            branches = [b for b in get_args(inner) if b is not type(None)]
            fits = [b for b in branches if (get_origin(b) is dict) == isinstance(at, Mapping)]
            inner = (fits or branches)[0]
        else:
            return inner, metadata


def _fields(annotation: object) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return []
