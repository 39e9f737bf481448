"""The policies a server holds: verified bundles by name, and which one answers.

A bundle that is damaged, or that names other channels, stages or touchpoints than the first
one, is refused before the server starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from sqlalchemy import Connection, insert, select, update

from envs.errors import BundleError
from envs.journey.journey import Journey
from envs.policy.policy import Bundle
from envs.timeline.customer import Fold
from serving.errors import NotFoundError
from serving.store.tables import meta

_ACTIVE = "active_policy"


class Held:
    """One bundle and the fold of its scenario."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.name, self.version, self.sha256 = bundle.manifest.name, bundle.manifest.version, bundle.sha256
        self._folds: dict[str, Fold] = {}

    @cached_property
    def fold(self) -> Fold:
        """Events to states; the fold's constants belong to the scenario, not to a cluster."""
        return self.fold_of(self.cluster_names[0])

    def fold_of(self, cluster: str) -> Fold:
        """The same fold with the cluster's belief over hidden types, where it has any."""
        if cluster not in self._folds:
            self._folds[cluster] = Fold(self.journey(cluster))
        return self._folds[cluster]

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """Clusters with a policy."""
        return tuple(self.bundle.manifest.clusters)

    def journey(self, cluster: str) -> Journey:
        """A cluster's compiled journey."""
        return self.bundle.journey(cluster)

    def vocabulary(self) -> tuple[list[str], ...]:
        """The names that stored events may use."""
        scenario = self.bundle.scenario
        return tuple(sorted(x.name for x in what) for what in (scenario.stages, scenario.channels))


class Policies:
    """All bundles held; the active one is remembered in the store."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self.all = tuple(Held(bundle) for bundle in bundles)
        for held in self.all:
            missing = {c.name for c in held.bundle.scenario.clusters} - set(held.cluster_names)
            if missing:
                raise BundleError(
                    "clusters without a policy", where=str(held.bundle.folder), got=", ".join(sorted(missing))
                )
            if held.vocabulary() != self.all[0].vocabulary():
                raise BundleError(
                    "bundles of different stages or channels cannot share a store",
                    where=str(held.bundle.folder),
                )
        if len({(held.name, held.version) for held in self.all}) < len(self.all):
            raise BundleError("two bundles of one name and version")
        self.active = self.all[0]

    def restore(self, connection: Connection) -> None:
        """Make the policy active that was active when the store was last used, if it is held."""
        sha256 = connection.scalar(select(meta.c.value).where(meta.c.key == _ACTIVE))
        self.active = next((held for held in self.all if held.sha256 == sha256), self.active)

    def get(self, name: str | None, version: str | None = None) -> Held:
        """A policy by name (the active one without); the last loaded where versions differ."""
        if name is None:
            return self.active
        found = [h for h in self.all if h.name == name and version in (None, h.version)]
        if not found:
            known = ", ".join(f"{h.name} {h.version}" for h in self.all)
            raise NotFoundError("no such policy", got=f"{name} {version or ''}".strip(), expected=known)
        return self.active if version is None and self.active in found else found[-1]

    def by_hash(self, sha256: str) -> Held | None:
        """The very bundle that once answered, if it is still held."""
        return next((held for held in self.all if held.sha256 == sha256), None)

    def activate(self, connection: Connection, name: str, version: str | None) -> Held:
        """Answer with this policy from now on."""
        held = self.get(name, version)
        if connection.scalar(select(meta.c.value).where(meta.c.key == _ACTIVE)) is None:
            connection.execute(insert(meta).values(key=_ACTIVE, value=held.sha256))
        else:
            connection.execute(update(meta).where(meta.c.key == _ACTIVE).values(value=held.sha256))
        self.active = held
        return held
