"""Answers about the policies held, the ideal paths, and the server's health."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from serving.contract.words import Label, Model

_HELD: dict[str, Any] = {
    "name": "omnichannel_retail",
    "version": "1",
    "sha256": "9f2c" + 60 * "0",
    "active": True,
    "objective": "lifetime_value",
    "scenario": "omnichannel_retail",
    "scenario_hash": "51d0" + 60 * "0",
    "exploration": 0.05,
    "clusters": {"loyal": {"score": 0.992, "score_served": 0.984, "value": 41.9, "optimum": 42.2}},
}


class HeldCluster(Model):
    """What was proved about one cluster's policy; money in objective units."""

    score: float | None
    score_served: float | None
    value: float
    optimum: float | None  # null where nobody knows it: hidden types


class HeldPolicy(Model):
    """One policy the server holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HELD]})

    name: str
    version: str
    sha256: str
    active: bool
    objective: str
    scenario: str
    scenario_hash: str
    exploration: float
    clusters: dict[str, HeldCluster]


class HeldPolicies(Model):
    """All policies the server holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"policies": [_HELD]}]})

    policies: list[HeldPolicy]


class ActivatePolicy(Model):
    """Which version of the named policy answers from now on (default: the last one loaded)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "1"}]})

    version: Label | None = None


class ClusterPath(Model):
    """The ideal overall path of a cluster under an objective, as the bundle carries it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cluster": "loyal",
                    "objective": "lifetime_value",
                    "policy": {"name": "omnichannel_retail", "version": "1", "sha256": "9f2c" + 60 * "0"},
                    "path": {
                        "start": "customer",
                        "target": "loyal",
                        "probability": 0.0046,
                        "steps": [
                            {
                                "day": 0,
                                "days": 1,
                                "stage": "customer",
                                "action": "contact",
                                "touchpoint": "offer",
                                "channel": "sms",
                                "value": 17.04,
                                "leads_to": ["response"],
                            }
                        ],
                    },
                }
            ]
        }
    )

    cluster: str
    objective: str
    policy: dict[str, str]
    path: object


class Health(Model):
    """Whether the server lives or is ready, and which parts are."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "checks": {"store": "ok", "policy": "ok"}}]}
    )

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}
