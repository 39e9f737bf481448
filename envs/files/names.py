"""Every name a scenario uses exists, and names are used only where they mean something.

Leaves out numbers and moves (`scenario_checks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from envs.files.document import Key, did_you_mean
from envs.scenario.schema import Behavior, Cluster, Scenario

Used = tuple[Key, Mapping[str, object]]
"""A key of a behaviour, and the mapping by name that stands there."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a scenario, at a key."""

    key: Key
    what: str = ""
    expected: str = ""
    got: object = None
    hint: str = ""


@dataclass(frozen=True)
class Names:
    """What a scenario declares."""

    stages: list[str]
    living: list[str]
    channels: list[str]
    inbound: list[str]
    touchpoints: list[str]
    marketing: list[str]
    offers: list[str]  # touchpoints that leave an offer in hand
    clusters: list[str]


def names_of(scenario: Scenario) -> Names:
    """All declared names, in file order."""
    stages = [s.name for s in scenario.stages]
    return Names(
        stages=stages,
        living=stages[:-1],
        channels=[c.name for c in scenario.channels],
        inbound=[c.name for c in scenario.channels if c.inbound],
        touchpoints=[t.name for t in scenario.touchpoints],
        marketing=[t.name for t in scenario.touchpoints if not t.service],
        offers=[t.name for t in scenario.touchpoints if t.offer_days],
        clusters=[c.name for c in scenario.clusters],
    )


def name_problems(scenario: Scenario) -> Iterator[Problem]:
    """Duplicates, then every reference that leads nowhere."""
    names = names_of(scenario)
    yield from _duplicates(scenario, names)
    yield from _structure(scenario, names)
    yield from _policies(scenario, names)
    for i, cluster in enumerate(scenario.clusters):
        yield from _cluster(("clusters", i), cluster, names)


def unknown(key: Key, name: str, known: list[str], what: str) -> Iterator[Problem]:
    """A problem where `name` is not one of `known`."""
    if name not in known:
        hint = did_you_mean(name, known) or f"no {what} is declared"
        yield Problem(key, f"unknown {what}", got=name, hint=hint)


def _each(key: Key, used: Iterable[str] | None, known: list[str], what: str) -> Iterator[Problem]:
    """Problems of a list's items, or of a mapping's keys."""
    by_name = isinstance(used, Mapping)
    for i, name in enumerate(used or ()):
        yield from unknown((*key, name if by_name else i), name, known, what)


def _duplicates(scenario: Scenario, names: Names) -> Iterator[Problem]:
    lists = {
        "stages": names.stages,
        "channels": names.channels,
        "touchpoints": names.touchpoints,
        "clusters": names.clusters,
    }
    for where, declared in lists.items():
        for i, name in enumerate(declared):
            if name in declared[:i]:
                first = declared.index(name)
                yield Problem((where, i, "name"), "used twice", got=name, hint=f"first in {where}[{first}]")
    for i, touchpoint in enumerate(scenario.touchpoints):
        for j, channel in enumerate(touchpoint.channels):
            if channel in touchpoint.channels[:j]:
                yield Problem(("touchpoints", i, "channels", j), "used twice", got=channel)


def _structure(scenario: Scenario, names: Names) -> Iterator[Problem]:
    for i, stage in enumerate(scenario.stages):
        for field in ("advance_to", "lapse_to", "purchase_to", "idle_to"):
            target = getattr(stage, field)
            if target is not None:
                yield from unknown(("stages", i, field), target, names.stages, "stage")
    for i, touchpoint in enumerate(scenario.touchpoints):
        at: Key = ("touchpoints", i)
        yield from _each((*at, "channels"), touchpoint.channels, names.channels, "channel")
        yield from _each((*at, "stages"), touchpoint.stages, names.living, "living stage")
    for i, cap in enumerate(scenario.memory.caps):
        yield from _each(("memory", "caps", i, "channels"), cap.channels, names.channels, "channel")
    if scenario.memory.returning_stage is not None:
        key = ("memory", "returning_stage")
        yield from unknown(key, scenario.memory.returning_stage, names.living, "living stage")
    yield from _each(("prices", "opt_out"), scenario.prices.opt_out, names.channels, "channel")
    objectives = list(scenario.objectives)
    yield from unknown(("default_objective",), scenario.default_objective, objectives, "objective")
    yield from unknown(("new_customer", "stage"), scenario.new_customer.stage, names.living, "living stage")


def _policies(scenario: Scenario, names: Names) -> Iterator[Problem]:
    assignment = scenario.assignment
    yield from unknown(("assignment", "default"), assignment.default, names.clusters, "cluster")
    for i, rule in enumerate(assignment.rules):
        yield from unknown(("assignment", "rules", i, "cluster"), rule.cluster, names.clusters, "cluster")
    if assignment.centroids is not None:
        key: Key = ("assignment", "centroids", "centers")
        yield from _each(key, assignment.centroids.centers, names.clusters, "cluster")
    by_name = {t.name: t for t in scenario.touchpoints}
    for i, business in enumerate(scenario.business_rules):
        at: Key = ("business_rules", i)
        yield from _each((*at, "stages"), business.stages, names.living, "living stage")
        yield from unknown((*at, "touchpoint"), business.touchpoint, names.touchpoints, "touchpoint")
        touchpoint = by_name.get(business.touchpoint)
        if touchpoint is not None:
            what = f"channel of {touchpoint.name}"
            admitted = [*touchpoint.channels, *(["inbound"] if touchpoint.service else [])]
            yield from _each((*at, "channels"), business.channels, admitted, what)


def _cluster(at: Key, cluster: Cluster, names: Names) -> Iterator[Problem]:
    yield from _each((*at, "start", "stages"), cluster.start.stages, names.living, "living stage")
    yield from _each((*at, "start", "consent"), cluster.start.consent, names.channels, "channel")
    yield from _behavior((*at, "behavior"), cluster.behavior, names)
    for i, persona in enumerate(cluster.personas):
        if persona.name in [p.name for p in cluster.personas[:i]]:
            yield Problem((*at, "personas", i, "name"), "used twice", got=persona.name)
        yield from _behavior((*at, "personas", i, "behavior"), persona.behavior, names)


def _behavior(at: Key, behavior: Behavior, names: Names) -> Iterator[Problem]:
    for path, used in _by_channel(behavior):
        yield from _each((*at, *path), used, names.channels, "channel")
    for path, used in _by_stage(behavior):
        yield from _each((*at, *path), used, names.stages, "stage")
    for path, used in _by_touchpoint(behavior):
        yield from _each((*at, *path), used, names.touchpoints, "touchpoint")
    for path, used in _by_offer(behavior):
        yield from _each((*at, *path), used, names.offers, "touchpoint with offer_days")
    key = (*at, "inbound", "channels")
    yield from _each(key, behavior.inbound.channels, names.inbound, "inbound channel")


def _by_channel(behavior: Behavior) -> Iterator[Used]:
    yield ("response", "rate"), behavior.response.rate
    yield ("opt_out", "rate"), behavior.opt_out.rate
    yield ("resolution", "rate"), behavior.resolution.rate
    yield ("resolution", "inbound"), behavior.resolution.inbound
    for touchpoint, ratios in behavior.response.pair.items():
        yield ("response", "pair", touchpoint), ratios
    for inbound, ratios in behavior.resolution.inbound.items():
        yield ("resolution", "inbound", inbound), ratios


def _by_stage(behavior: Behavior) -> Iterator[Used]:
    yield ("purchase", "rate"), behavior.purchase.rate
    yield ("purchase", "value"), behavior.purchase.value
    for part in ("churn", "advance", "lapse", "inbound"):
        yield (part, "rate"), getattr(behavior, part).rate
    for path, ratios in _by_touchpoint(behavior):
        for touchpoint, value in ratios.items():
            if isinstance(value, dict) and path[-1] != "pair":
                yield (*path, touchpoint), value


def _by_touchpoint(behavior: Behavior) -> Iterator[Used]:
    yield ("response", "touchpoint"), behavior.response.touchpoint
    yield ("response", "pair"), behavior.response.pair
    yield ("purchase", "response"), behavior.purchase.response
    yield ("advance", "response"), behavior.advance.response


def _by_offer(behavior: Behavior) -> Iterator[Used]:
    yield ("response", "offer_in_hand"), behavior.response.offer_in_hand
    yield ("purchase", "offer_in_hand"), behavior.purchase.offer_in_hand
    yield ("purchase", "value_with_offer"), behavior.purchase.value_with_offer
    yield ("advance", "offer_in_hand"), behavior.advance.offer_in_hand
