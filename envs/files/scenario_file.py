"""A scenario file: read, completed with its defaults, validated, and written back.

Top-level `behavior:` and `start:` are defaults for every cluster; a persona's `behavior`
is laid over its cluster's. Mappings merge key by key, except mixes (`start.stages`,
`inbound.channels`), which replace the default as a whole. Also reads a scenario's
canonical JSON. The checks beyond the schema are in `scenario_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import yaml

from envs.errors import ScenarioError
from envs.files.checks import problems
from envs.files.document import Document, Key, dotted, read_document
from envs.files.schema_errors import validated
from envs.scenario.schema import Scenario

MIXES = (("start", "stages"), ("behavior", "inbound", "channels"))
"""Shares of one whole: a cluster that states its own does not inherit a part of another's."""

COMMENTS = {
    "discount": "a day's discount factor",
    "stages": "the last stage absorbs: nothing happens after it",
    "channels": "points a marketing contact adds to fatigue, one drains a day; costs are money a contact",
    "touchpoints": "wait is always possible; then each pair of touchpoint and channel, in this order",
    "memory": "what the state carries from day to day",
    "prices": "money a unit; costs are positive",
    "objectives": "weights over the reward components, 1 where nothing is said",
    "new_customer": "where a customer starts whom nobody has seen, without any consent",
    "assignment": "which cluster a customer belongs to",
    "business_rules": "business as usual: the first rule that applies decides",
    "clusters": "rates hold without points or offer and at neutral goodwill; the rest multiplies the odds",
    "sources": "where a number comes from",
    "bands": "simulated marginals must fall here",
}
"""What a reader should know before each section of a written scenario."""


def load_scenario(path: str | Path) -> Scenario:
    """Read and check a scenario; raises `ScenarioError` with key, file and line."""
    return parse_scenario(read_document(path, ScenarioError))


def parse_scenario(document: Document) -> Scenario:
    """A document already read, as a checked scenario."""
    data = _completed(document.data)
    origin = partial(_origin, document)
    scenario = validated(Scenario, document, ScenarioError, data, origin)
    for problem in problems(scenario):
        place = origin(problem.key)
        what = f"{dotted(place)}: {problem.what}" if problem.what else dotted(place)
        at = document.at(place)
        hint = f"{problem.hint}; {at}" if problem.hint else at
        raise ScenarioError(what, expected=problem.expected, got=problem.got, hint=hint)
    return scenario


def _completed(data: object) -> object:
    """The data with top-level defaults laid under every cluster and persona."""
    if not isinstance(data, Mapping) or not isinstance(data.get("clusters"), list):
        return data
    defaults = {name: data[name] for name in ("behavior", "start") if name in data}
    rest = {name: value for name, value in data.items() if name not in defaults}
    return rest | {"clusters": [_cluster(defaults, cluster) for cluster in rest["clusters"]]}


def _cluster(defaults: Mapping[str, object], cluster: object) -> object:
    if not isinstance(cluster, Mapping):
        return cluster
    out = dict(cluster)
    for name, value in defaults.items():
        out[name] = _merged(value, cluster.get(name, {}), (name,))
    if isinstance(out.get("personas"), list) and "behavior" in out:
        out["personas"] = [_persona(out["behavior"], persona) for persona in out["personas"]]
    return out


def _persona(behavior: object, persona: object) -> object:
    if not isinstance(persona, Mapping):
        return persona
    return dict(persona) | {"behavior": _merged(behavior, persona.get("behavior", {}), ("behavior",))}


def _merged(base: object, over: object, key: tuple[str, ...]) -> object:
    """`over` laid on `base`; whatever is not two mappings is replaced."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping) or key in MIXES:
        return over
    out = dict(base)
    for name, value in over.items():
        out[name] = _merged(base[name], value, (*key, name)) if name in base else value
    return out


def _origin(document: Document, key: Key) -> Key:
    """Where in the file a key of the completed data was written."""
    candidates = [key]
    if key[:1] == ("clusters",) and "behavior" in key:
        rest = key[key.index("behavior") :]
        candidates += [(*key[:2], *rest), rest]
    elif key[:1] == ("clusters",) and key[2:3] == ("start",):
        candidates.append(key[2:])
    for candidate in candidates:
        if candidate in document.lines:
            return candidate
    return key


def write_scenario(scenario: Scenario, path: str | Path, heading: str = "") -> None:
    """Write a scenario as commented YAML that `load_scenario` reads back to the same digest.

    `heading` is a comment on top, one line or several. Replaces the file in one step.
    """
    body = scenario.model_dump(mode="json", exclude_defaults=True)
    lines = [f"# {line}".rstrip() for line in (heading or scenario.description).splitlines()]
    for name, value in body.items():
        if name in COMMENTS:
            lines += ["", f"# {COMMENTS[name]}"]
        lines.append(_section(name, value))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.replace(target)


def _section(name: str, value: object) -> str:
    """One top-level key; inner mappings of plain values stand on one line."""
    flow = None if isinstance(value, (dict, list)) else False
    return yaml.safe_dump(
        {name: value}, sort_keys=False, allow_unicode=True, width=100, default_flow_style=flow
    ).rstrip()
