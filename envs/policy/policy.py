"""A policy read from a bundle: masked probabilities and values for observed states.

Used by simulate, judge and service alike. Two kinds of file answer: a network (ONNX) and
the planner's exact table (npz). Folding events into states and logging are elsewhere.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from envs.arrays import Array, Floats, Ints, Mask
from envs.errors import BundleError, UserError
from envs.journey.journey import Journey, compile_journey
from envs.journey.size import reachable_consents
from envs.journey.state import COLUMN
from envs.policy.bundle import (
    ClusterEntry,
    Manifest,
    Parity,
    read_files,
    read_manifest,
    read_scenario,
    write_bundle,
)
from envs.policy.consents import nearest_patterns, project
from envs.policy.sampling import sample, serving_probabilities
from envs.scenario.schema import Scenario

__all__ = [
    "Bundle",
    "ClusterEntry",
    "Manifest",
    "Parity",
    "Policy",
    "load_bundle",
    "sample",
    "serving_probabilities",
    "write_bundle",
]

_PARITY_TOLERANCE = 1e-4


class Policy(Protocol):
    """What one cluster's file answers."""

    def evaluate(self, observations: Floats, legal: Mask) -> tuple[Floats, Floats]:
        """`(probabilities, values)`, both (N, A), for (N, F) float32 and (N, A) bool.

        Probabilities are 0 where illegal and sum to 1; their argmax is the greedy action.
        Values are Q of that greedy policy in objective units, finite everywhere.
        """
        ...

    def raw(self, observations: Floats) -> Floats:
        """(N, A) probabilities as the file gives them, before any mask (parity)."""
        ...


class NetworkPolicy:
    """An ONNX file: input `observation`, outputs `probabilities` and `values`."""

    def __init__(self, content: bytes, journey: Journey, where: str) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise BundleError(f"not a readable network: {line}", where=where) from None
        self._where, self._names = where, journey.encoding.names
        trained = reachable_consents(journey)
        self._known = trained[nearest_patterns(trained, int(journey.rules.sizes[COLUMN.consent]))]
        self._source = journey.encoding.source
        inputs = [(i.name, i.shape[-1:]) for i in self._session.get_inputs()]
        outputs = {o.name: o.shape[-1:] for o in self._session.get_outputs()}
        features, actions = len(journey.encoding.names), len(journey.actions)
        if inputs != [("observation", [features])] or outputs != {
            "probabilities": [actions],
            "values": [actions],
        }:
            raise BundleError(
                "network has another layout",
                where=where,
                got=f"{inputs} -> {outputs}",
                expected=f"observation (N, {features}) -> probabilities and values (N, {actions})",
            )

    def _run(self, observations: Floats) -> tuple[Floats, Floats]:
        x = _finite(observations, self._names)
        probabilities, values = self._session.run(["probabilities", "values"], {"observation": x})
        if not (np.isfinite(probabilities).all() and np.isfinite(values).all()):
            raise BundleError("network gave a number that is not finite", where=self._where)
        return probabilities, values.astype(np.float64)

    def raw(self, observations: Floats) -> Floats:
        """(N, A) probabilities before any mask."""
        return self._run(observations)[0]

    def evaluate(self, observations: Floats, legal: Mask) -> tuple[Floats, Floats]:
        """Masked, renormalised probabilities and values, for the nearest consents it was trained on."""
        known = project(_finite(observations, self._names), self._source, self._known)
        probabilities, values = self._run(known)
        masked = np.where(legal, probabilities.astype(np.float64), 0.0)
        total = masked.sum(axis=1, keepdims=True)
        # every legal probability underflowed: wait is always legal
        masked[:, 0] = np.where(total[:, 0] > 0.0, masked[:, 0], 1.0)
        return masked / np.where(total > 0.0, total, 1.0), values


class TablePolicy:
    """The planner's exact table by (consent block, kernel state).

    The npz holds `consents` (M,) bit patterns, `actions` (M, S) int8, `values` (M, S) V of
    the policy, `gaps` (M, S, A) float32 of V − Q in units of `scale`, -1 where illegal.
    """

    def __init__(self, content: bytes, journey: Journey, where: str) -> None:
        arrays = _read_arrays(content, where)
        rules, self._names = journey.rules, journey.encoding.names
        self._source, self._strides = journey.encoding.source, rules.strides
        self._sizes = np.array(journey.encoding.sizes[: len(journey.encoding.levels)])
        self._churned = rules.churned
        states = int(np.prod(np.delete(rules.sizes, COLUMN.consent)))
        actions, blocks = len(journey.actions), len(arrays["consents"])
        shapes = {
            "actions": (blocks, states),
            "values": (blocks, states),
            "gaps": (blocks, states, actions),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise BundleError(
                    f"table `{name}` has another layout",
                    where=where,
                    got=arrays[name].shape,
                    expected=str(shape),
                )
        if not np.isfinite(arrays["values"]).all() or not np.isfinite(arrays["gaps"]).all():
            raise BundleError("table holds a number that is not finite", where=where)
        if arrays["actions"].min() < 0 or arrays["actions"].max() >= actions:
            raise BundleError("table names an action that does not exist", where=where)
        self._actions, self._values, self._gaps = (
            arrays["actions"],
            arrays["values"],
            arrays["gaps"],
        )
        self._scale = float(arrays["scale"])
        self._worst = float(np.max(self._gaps)) * self._scale
        self._block = nearest_patterns(arrays["consents"], int(rules.sizes[COLUMN.consent]))

    def _locate(self, observations: Floats) -> tuple[Ints, Ints, Mask]:
        """(block, state, living), each (N,), of integer observations."""
        x = _finite(observations, self._names)[:, : len(self._sizes)]  # a table knows no belief
        levels = np.rint(x).astype(np.int64)
        if not np.array_equal(levels, x) or (levels < 0).any() or (levels >= self._sizes).any():
            raise UserError(
                "observation is not made of the scenario's levels",
                expected="the encoder's output",
            )
        consent = np.zeros(len(x), dtype=np.int64)
        state = np.zeros(len(x), dtype=np.int64)
        living = np.ones(len(x), dtype=bool)
        for f, source in enumerate(self._source.tolist()):
            if source < 0:
                consent |= levels[:, f] << (-1 - source)
            else:
                state += levels[:, f] * self._strides[source]
                if source == 0:
                    living = levels[:, f] < self._churned
        state = np.where(living, state, 0)
        return self._block[consent], state, living

    def raw(self, observations: Floats) -> Floats:
        """(N, A) one-hot of the table's action."""
        block, state, _ = self._locate(observations)
        out = np.zeros((len(block), self._gaps.shape[2]))
        out[np.arange(len(block)), self._actions[block, state]] = 1.0
        return out

    def evaluate(self, observations: Floats, legal: Mask) -> tuple[Floats, Floats]:
        """One-hot of the planned action (the best legal one where a mask removes it), and Q."""
        block, state, living = self._locate(observations)
        gaps = self._gaps[block, state].astype(np.float64)
        planned = gaps >= 0.0
        loss = np.where(planned, gaps * self._scale, self._worst)
        values = np.where(living[:, None], self._values[block, state][:, None] - loss, 0.0)
        rows = np.arange(len(block))
        greedy = self._actions[block, state].astype(np.int64)
        fallback = np.argmin(np.where(np.asarray(legal) & planned, loss, np.inf), axis=1)
        greedy = np.where(
            np.asarray(legal)[rows, greedy] & living,
            greedy,
            np.where(living, fallback, 0),
        )
        out = np.zeros_like(values)
        out[rows, greedy] = 1.0
        return out, values


class Bundle:
    """A verified bundle; clusters are compiled and their files opened on first use."""

    def __init__(self, folder: Path, files: dict[str, bytes], sha256: str) -> None:
        self.folder, self.sha256, self._files = folder, sha256, files
        self.manifest: Manifest = read_manifest(files["manifest.json"], str(folder / "manifest.json"))
        self.scenario: Scenario = read_scenario(
            files["scenario.json"], self.manifest, str(folder / "scenario.json")
        )
        self._journeys: dict[str, Journey] = {}
        self._policies: dict[str, Policy] = {}
        self.paths: dict[str, Any] = json.loads(files["paths.json"])
        self._check()

    def __repr__(self) -> str:
        manifest = self.manifest
        clusters = ", ".join(list(manifest.clusters)[:4]) + (", …" if len(manifest.clusters) > 4 else "")
        made = f"{manifest.objective} by {manifest.learner or 'hand'}"
        return f"Bundle({manifest.name}, {made}: clusters {clusters})"

    def _check(self) -> None:
        manifest, where = self.manifest, str(self.folder / "manifest.json")
        known = {c.name for c in self.scenario.clusters}
        for name, entry in manifest.clusters.items():
            if name not in known:
                raise BundleError("cluster unknown to the scenario", where=where, got=name)
            if entry.file not in self._files:
                raise BundleError("cluster's file is missing", where=where, got=entry.file)
            journey = self.journey(name)
            for what, got, expected in (
                ("observation", manifest.observation, list(journey.encoding.levels)),
                ("belief", entry.belief, list(journey.encoding.beliefs)),
                ("actions", manifest.actions, [a.key for a in journey.actions]),
            ):
                if got != expected:
                    raise BundleError(
                        f"{what} order does not match",
                        where=where,
                        got=got,
                        expected=str(expected),
                    )
        if manifest.objective not in self.scenario.objectives:
            raise BundleError("objective unknown to the scenario", where=where, got=manifest.objective)

    def journey(self, cluster: str) -> Journey:
        """The cluster's compiled journey."""
        if cluster not in self._journeys:
            self._journeys[cluster] = compile_journey(self.scenario, cluster)
        return self._journeys[cluster]

    def policy(self, cluster: str) -> Policy:
        """The cluster's policy; the file must reproduce the manifest's parity vectors."""
        if cluster not in self._policies:
            if cluster not in self.manifest.clusters:
                raise BundleError(
                    "no policy for this cluster",
                    where=str(self.folder),
                    got=cluster,
                    expected=f"one of {', '.join(self.manifest.clusters)}",
                )
            entry = self.manifest.clusters[cluster]
            where = str(self.folder / entry.file)
            kind = NetworkPolicy if entry.file.endswith(".onnx") else TablePolicy
            policy = kind(self._files[entry.file], self.journey(cluster), where)
            check_parity(policy, entry.parity, where)
            self._policies[cluster] = policy
        return self._policies[cluster]

    def policy_for(self, journey: Journey, where: str) -> Policy:
        """The policy of a journey's cluster; raises `UserError` where states or actions differ."""
        policy = self.policy(journey.cluster.name)
        own = self.journey(journey.cluster.name)
        if _layout(own) != _layout(journey):
            raise UserError("the bundle was made for another scenario", where=where, got=self.manifest.name)
        return policy


def _layout(journey: Journey) -> tuple[object, ...]:
    """What numbers of states and actions mean; of hidden types the policy itself asks."""
    levels, stages = journey.encoding.levels, [stage.name for stage in journey.scenario.stages]
    sizes, inbox = journey.encoding.sizes[: len(levels)], journey.rules.inbox_channel.tolist()
    return levels, sizes, stages, inbox, [action.key for action in journey.actions]


def load_bundle(folder: str | Path) -> Bundle:
    """Open a bundle and every policy in it, or raise `BundleError` with one clear line."""
    files, sha256 = read_files(folder)
    bundle = Bundle(Path(folder), files, sha256)
    for cluster in bundle.manifest.clusters:
        bundle.policy(cluster)
    return bundle


def check_parity(policy: Policy, parity: Parity, where: str) -> None:
    """Raise where this machine's runtime gives other answers than the exporter's."""
    if not parity.observations:
        return
    got = policy.raw(np.array(parity.observations, dtype=np.float32))
    expected = np.array(parity.probabilities)
    if got.shape != expected.shape or (got.argmax(axis=1) != expected.argmax(axis=1)).any():
        raise BundleError("policy chooses other actions than when it was exported", where=where)
    worst = float(np.abs(got - expected).max())
    if worst > _PARITY_TOLERANCE:
        raise BundleError(
            "policy gives other probabilities than when it was exported",
            where=where,
            got=worst,
            expected=f"at most {_PARITY_TOLERANCE}",
        )


def _finite(observations: Floats, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """(N, F) float32, checked: NaN in would be NaN out without a word."""
    x = np.ascontiguousarray(observations, dtype=np.float32)
    if x.ndim != 2 or x.shape[1] != len(names):
        raise UserError("observation has another layout", got=x.shape, expected=f"(N, {len(names)})")
    if not np.isfinite(x).all():
        row, entry = np.argwhere(~np.isfinite(x))[0]
        raise UserError(
            "observation is not finite",
            where=f"row {row}, {names[entry]}",
            got=float(x[row, entry]),
        )
    return x


def _read_arrays(content: bytes, where: str) -> dict[str, Array]:
    """The table's arrays; an object array (a pickle) is refused by numpy itself."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in ("consents", "actions", "values", "gaps", "scale")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"not a readable table: {str(error)[:200]}", where=where) from None
