"""The policies an evaluation compares, as probabilities (N, T, A) in the logged states.

The bundle's greedy and served policy, always waiting, always one action where it is legal,
and the logged policy itself.
"""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats
from envs.errors import ConfigError
from envs.policy.policy import Bundle, serving_probabilities
from envs.scenario.actions import actions_of
from envs.scenario.schema import Scenario
from training.ope.log_panel import LoggedJourneys


def bundle_policy(bundle: Bundle, journeys: LoggedJourneys, served: bool = False) -> Floats:
    """Greedy probabilities of the exported files, or those of the sampler really served."""
    panel = journeys.panel
    out = np.zeros(panel.legal.shape)
    names = [c.name for c in bundle.scenario.clusters]
    for number in np.unique(journeys.clusters).tolist():
        rows = journeys.clusters == number
        legal = panel.legal[rows].reshape(-1, panel.count)
        seen = journeys.observations[rows].reshape(len(legal), -1)
        probabilities, values = bundle.policy(names[number]).evaluate(seen, legal)
        if served:
            entry = bundle.manifest.clusters[names[number]]
            chosen = serving_probabilities(
                probabilities, values, legal, bundle.manifest.exploration, entry.max_regret
            )
        else:
            chosen = np.eye(panel.count)[probabilities.argmax(axis=1)]
        out[rows] = chosen.reshape(out[rows].shape)
    return out


def nothing(journeys: LoggedJourneys) -> Floats:
    """Always wait."""
    out = np.zeros(journeys.panel.legal.shape)
    out[:, :, 0] = 1.0
    return out


def always(journeys: LoggedJourneys, scenario: Scenario, key: str) -> Floats:
    """One action (`touchpoint:channel`) wherever it is legal, else wait."""
    keys = [a.key for a in actions_of(scenario)]
    if key not in keys:
        raise ConfigError("unknown action", got=key, expected=", ".join(keys))
    legal = journeys.panel.legal[:, :, keys.index(key)]
    out = np.zeros(journeys.panel.legal.shape)
    out[:, :, keys.index(key)] = legal
    out[:, :, 0] = np.where(keys.index(key) == 0, 1.0, ~legal)
    return out


def best_single_action(journeys: LoggedJourneys, scenario: Scenario) -> str:
    """The action with the largest self-normalised estimate over all decisions.

    Chosen on one half of the customers to be judged on the other: never quote its value here.
    """
    from training.ope.single import snips

    panel = journeys.panel
    rows = panel.present & (panel.legal.sum(axis=2) > 1)
    best, name = -np.inf, "wait"
    for number, action in enumerate(actions_of(scenario)):
        target = np.zeros((int(rows.sum()), panel.count))
        target[:, number] = 1.0
        estimate = snips(target, panel.actions[rows], panel.propensity[rows], panel.rewards[rows])
        value = float(estimate.values.mean())
        if value > best:
            best, name = value, action.key
    return name
