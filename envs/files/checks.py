"""What a scenario must satisfy beyond its schema: moves, memory, shares, size.

Each problem is one thing wrong at one key; the loader tells the first. Names come first,
since the other checks trust them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo, available_timezones

from envs.errors import ScenarioError
from envs.files.document import Key, did_you_mean
from envs.files.names import Problem, name_problems
from envs.journey.caps import cap_levels
from envs.journey.journey import compile_journey
from envs.journey.size import refuse_above_limit
from envs.scenario.schema import Behavior, Scenario

DRAIN = 1  # points a bucket loses a day
SHARE_TOLERANCE = 1e-6


def problems(scenario: Scenario) -> Iterator[Problem]:
    """Every problem, those that the later checks rely on first."""
    found = False
    for check in (name_problems, _moves, _capabilities, _memory, _opportunities, _shares, _centroids):
        for problem in check(scenario):
            found = True
            yield problem
        if found:
            return
    yield from _reachability(scenario)
    yield from _size(scenario)


def behaviors(scenario: Scenario) -> Iterator[tuple[Key, Behavior]]:
    """Every behaviour that drives somebody: the cluster's own, or its personas'."""
    for i, cluster in enumerate(scenario.clusters):
        for j, persona in enumerate(cluster.personas):
            yield ("clusters", i, "personas", j, "behavior"), persona.behavior
        if not cluster.personas:
            yield ("clusters", i, "behavior"), cluster.behavior


def _moves(scenario: Scenario) -> Iterator[Problem]:
    """The last stage absorbs, and a move has a target, a rate and two ends."""
    last = len(scenario.stages) - 1
    absorbing = scenario.stages[last]
    for field in ("advance_to", "lapse_to", "purchase_to", "idle_to", "customer", "daily_margin"):
        if getattr(absorbing, field):
            hint = "the last stage is the absorbing one, e.g. churned"
            yield Problem(("stages", last, field), "the last stage has no moves and earns nothing", hint=hint)
    for i, stage in enumerate(scenario.stages[:last]):
        for field in ("advance_to", "lapse_to", "purchase_to", "idle_to"):
            if getattr(stage, field) == stage.name:
                yield Problem(("stages", i, field), "a move to where the customer already is", got=stage.name)
        for field in ("advance_to", "purchase_to"):
            if getattr(stage, field) == absorbing.name:
                key, hint = ("stages", i, field), "leaving for good is behavior.churn"
                yield Problem(key, "leads to the absorbing stage", got=absorbing.name, hint=hint)
        if (stage.idle_days is None) != (stage.idle_to is None):
            given, absent = ("idle_days", "idle_to") if stage.idle_to is None else ("idle_to", "idle_days")
            yield Problem(("stages", i, given), f"needs {absent} beside it")
    targets = {s.name: s for s in scenario.stages}
    for at, behavior in behaviors(scenario):
        for move in ("advance", "lapse"):
            for stage_name, rate in getattr(behavior, move).rate.items():
                if rate > 0 and getattr(targets[stage_name], f"{move}_to") is None:
                    rate_key = (*at, move, "rate", stage_name)
                    yield Problem(rate_key, f"stage {stage_name} has no {move}_to", got=rate)
        for part in ("churn", "purchase", "inbound"):
            rate = getattr(behavior, part).rate.get(absorbing.name, 0.0)
            if rate > 0:
                rate_key = (*at, part, "rate", absorbing.name)
                yield Problem(rate_key, "nothing happens to a customer in the absorbing stage", got=rate)


def _capabilities(scenario: Scenario) -> Iterator[Problem]:
    """Every channel is used, and what replies need is there."""
    inbound = any(channel.inbound for channel in scenario.channels)
    for i, channel in enumerate(scenario.channels):
        if not any(channel.name in touchpoint.channels for touchpoint in scenario.touchpoints):
            hint = "name it in a touchpoint's channels, or remove it"
            yield Problem(("channels", i), "no touchpoint can use this channel", got=channel.name, hint=hint)
    for i, touchpoint in enumerate(scenario.touchpoints):
        if touchpoint.service and not inbound:
            hint = "mark the channel on which requests arrive with inbound: true"
            yield Problem(("touchpoints", i, "service"), "a reply needs an inbound channel", hint=hint)
        if touchpoint.service and touchpoint.offer_days:
            yield Problem(("touchpoints", i, "offer_days"), "a reply leaves no offer in hand", expected="0")
    for at, behavior in behaviors(scenario):
        asks = any(rate > 0 for rate in behavior.inbound.rate.values())
        if asks and not any(share > 0 for share in behavior.inbound.channels.values()):
            yield Problem((*at, "inbound", "rate"), "requests need a channel to arrive on: inbound.channels")


def _memory(scenario: Scenario) -> Iterator[Problem]:
    """Buckets that can fill, levels in range, a zone that exists."""
    memory = scenario.memory
    spec = memory.engagement
    if spec.capacity:
        at: Key = ("memory", "engagement")
        yield from _bucket((*at, "capacity"), (*at, "points"), spec.capacity, spec.points)
    marketing = {c for t in scenario.touchpoints if not t.service for c in t.channels}
    if memory.fatigue_capacity:
        for i, channel in enumerate(scenario.channels):
            if channel.name in marketing:
                points = ("channels", i, "fatigue_points")
                capacity = ("memory", "fatigue_capacity")
                yield from _bucket(capacity, points, memory.fatigue_capacity, channel.fatigue_points)
    goodwill, inbox = memory.goodwill, memory.inbox
    if goodwill.neutral > goodwill.capacity:
        expected = f"at most the capacity, {goodwill.capacity}"
        yield Problem(("memory", "goodwill", "neutral"), expected=expected, got=goodwill.neutral)
    if inbox.patience_days >= inbox.expiry_days:
        expected = f"less than expiry_days, {inbox.expiry_days}"
        yield Problem(("memory", "inbox", "patience_days"), expected=expected, got=inbox.patience_days)
    for i, cap in enumerate(memory.caps):
        if cap.contacts >= cap.days:
            expected = f"less than days, {cap.days}: there is one contact a day at most"
            yield Problem(("memory", "caps", i, "contacts"), expected=expected, got=cap.contacts)
    quiet = memory.quiet_hours
    if quiet is not None and quiet.start == quiet.end:
        yield Problem(("memory", "quiet_hours", "end"), "no quiet hour between start and end", got=quiet.end)
    try:
        ZoneInfo(scenario.timezone)
    except (KeyError, ValueError, OSError):  # unknown, not a key, a folder of zones
        close = did_you_mean(scenario.timezone, sorted(available_timezones()))
        hint = close or "an IANA name, e.g. Europe/Berlin"
        yield Problem(("timezone",), "unknown time zone", got=scenario.timezone, hint=hint)


def _bucket(at_capacity: Key, at_points: Key, capacity: int, points: int) -> Iterator[Problem]:
    """A bucket that drains a point a day remembers something only if more than that goes in."""
    if capacity <= DRAIN:
        expected = f"0 (unused) or above {DRAIN}: a point drains before the next decision"
        yield Problem(at_capacity, expected=expected, got=capacity)
    if points <= DRAIN:
        hint = "points not above the drain never accumulate"
        yield Problem(at_points, expected=f"above {DRAIN}, the daily drain", got=points, hint=hint)


def _opportunities(scenario: Scenario) -> Iterator[Problem]:
    """The fields that belong to `every`, all of them and no others."""
    spec = scenario.memory.opportunities
    at: Key = ("memory", "opportunities")
    needed = {"day": (), "gap": ("gap_days",), "calendar": ("season_days", "days")}[spec.every]
    optional = ("season_start",) if spec.every == "calendar" else ()
    for field in ("gap_days", "season_start", "season_days", "days"):
        given = getattr(spec, field) is not None
        if field in needed and not given:
            yield Problem(at, f"every: {spec.every} needs {field}")
        if given and field not in needed and field not in optional:
            yield Problem((*at, field), f"has no meaning with every: {spec.every}")
    if spec.every == "calendar" and spec.days is not None and spec.season_days is not None:
        if not spec.days:
            yield Problem((*at, "days"), expected="at least 1 day with an opportunity", got="none")
        for i, day in enumerate(spec.days):
            if day >= spec.season_days:
                yield Problem((*at, "days", i), expected=f"0..{spec.season_days - 1}", got=day)
            if day in spec.days[:i]:
                yield Problem((*at, "days", i), "used twice", got=day)


def _shares(scenario: Scenario) -> Iterator[Problem]:
    """Shares of one whole sum to one, bands are intervals."""
    yield from _sum(("clusters",), {c.name: c.share for c in scenario.clusters}, "the clusters' shares")
    for i, cluster in enumerate(scenario.clusters):
        at: Key = ("clusters", i)
        yield from _sum((*at, "start", "stages"), cluster.start.stages, "the start stages")
        if cluster.personas:
            shares = {p.name: p.share for p in cluster.personas}
            yield from _sum((*at, "personas"), shares, "the personas' shares")
    for name, (low, high) in scenario.bands.items():
        if not low <= high:
            yield Problem(("bands", name), expected="low, high", got=[low, high])


def _sum(at: Key, shares: Mapping[str, float], what: str) -> Iterator[Problem]:
    total = math.fsum(shares.values())
    if abs(total - 1.0) > SHARE_TOLERANCE:
        yield Problem(at, expected=f"{what} to sum to 1", got=round(total, 6))


def _centroids(scenario: Scenario) -> Iterator[Problem]:
    """One mean, scale and coordinate an attribute; a condition that can hold."""
    spec = scenario.assignment.centroids
    if spec is not None:
        at: Key = ("assignment", "centroids")
        wanted = len(spec.attributes)
        lists = {("mean",): spec.mean, ("scale",): spec.scale}
        for path, values in (lists | {("centers", c): v for c, v in spec.centers.items()}).items():
            if len(values) != wanted:
                yield Problem((*at, *path), expected=f"{wanted} numbers, one an attribute", got=len(values))
        if not spec.centers:
            yield Problem((*at, "centers"), expected="at least 1 cluster", got="none")
    for i, rule in enumerate(scenario.assignment.rules):
        if not rule.when:
            yield Problem(("assignment", "rules", i, "when"), expected="at least 1 condition", got="none")


def _reachability(scenario: Scenario) -> Iterator[Problem]:
    """Every living stage can be entered by somebody; the absorbing one need not be."""
    edges: dict[str, set[str]] = {stage.name: set() for stage in scenario.stages}
    absorbing = scenario.stages[-1].name
    for stage in scenario.stages[:-1]:
        if stage.idle_to is not None:
            edges[stage.name].add(stage.idle_to)
        for _, behavior in behaviors(scenario):
            for move in ("advance", "lapse", "purchase"):
                target = getattr(stage, f"{move}_to")
                if target is not None and getattr(behavior, move).rate.get(stage.name, 0.0) > 0:
                    edges[stage.name].add(target)
            if behavior.churn.rate.get(stage.name, 0.0) > 0:
                edges[stage.name].add(absorbing)
    if scenario.memory.returning_stage is not None:
        edges[absorbing].add(scenario.memory.returning_stage)
    starts = {name for c in scenario.clusters for name, share in c.start.stages.items() if share > 0}
    reached, pending = set(), [*starts, scenario.new_customer.stage]
    while pending:
        stage_name = pending.pop()
        if stage_name not in reached:
            reached.add(stage_name)
            pending.extend(edges[stage_name])
    for i, stage in enumerate(scenario.stages[:-1]):
        if stage.name not in reached:
            hint = "no start mix and no move with a rate leads there"
            yield Problem(("stages", i), "unreachable stage", got=stage.name, hint=hint)


def _size(scenario: Scenario) -> Iterator[Problem]:
    """The model compiles, and no cluster has more states than `max_states`."""
    levels = cap_levels(scenario.memory.caps)
    if levels > scenario.max_states:
        key: Key = ("memory", "caps")
        expected = f"at most {scenario.max_states} states"
        yield Problem(key, f"too many states: caps {levels}", expected=expected, hint="use shorter windows")
        return
    for i, cluster in enumerate(scenario.clusters):
        try:
            refuse_above_limit(compile_journey(scenario, cluster.name))
        except ScenarioError as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            yield Problem(("clusters", i), what, error.expected, error.got, error.hint)
            return
