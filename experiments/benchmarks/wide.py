"""Scenarios of a wished size for the benchmarks; nobody's customers.

Sizes multiply: six living stages × engagement × fatigue × goodwill × inbox × offer, times two
to the number of channels where opt-outs are on.
"""

from __future__ import annotations

from typing import Any

from envs.scenario.schema import Scenario

STAGES = ("unaware", "aware", "consider", "customer", "loyal", "at_risk")
FORWARD = {
    "unaware": "aware", "aware": "consider", "consider": "customer", "customer": "loyal",
    "at_risk": "customer",
}  # fmt: skip
BACK = {"aware": "unaware", "consider": "aware", "customer": "at_risk", "loyal": "at_risk"}
CHANNELS = ("email", "sms", "push", "chat", "phone", "post")


def wide_scenario(
    channels: int, engagement: int, fatigue: int, goodwill: int, inbox_days: int, offer_days: int,
    opt_outs: bool,
) -> Scenario:  # fmt: skip
    """A scenario with `channels` channels; capacities as given, one cluster `all`."""
    names = CHANNELS[:channels]
    asked = names[:2]
    return Scenario.model_validate(
        {
            "name": "wide",
            "discount": 0.985,
            "max_states": 10_000_000,
            "stages": [*_stages(), {"name": "churned"}],
            "channels": [
                {"name": c, "fatigue_points": 2, "contact_cost": 0.02, "inbound": c in asked} for c in names
            ],
            "touchpoints": [
                {"name": "inform", "channels": names[:3]},
                {"name": "offer", "channels": names[:2], "offer_days": offer_days, "incentive_cost": 4},
                {"name": "renew", "channels": names[2:] or names[:1]},
                {"name": "reply", "channels": asked, "service": True},
            ],
            "memory": {
                "engagement": {"capacity": engagement, "points": 2},
                "fatigue_capacity": fatigue,
                "goodwill": {"capacity": goodwill, "neutral": goodwill // 2},
                "inbox": {"expiry_days": inbox_days, "patience_days": 1},
            },
            "prices": {"margin": 0.3, "goodwill_level": 2, "effort_day": 0.5},
            "new_customer": {"stage": "aware"},
            "assignment": {"default": "all"},
            "clusters": [
                {
                    "name": "all", "share": 1, "behavior": _behavior(names, opt_outs),
                    "start": _start(names, opt_outs),
                }
            ],
        }
    )  # fmt: skip


def _stages() -> list[dict[str, Any]]:
    return [
        {
            "name": s,
            "customer": s in ("customer", "loyal", "at_risk"),
            "advance_to": FORWARD.get(s),
            "lapse_to": BACK.get(s),
        }
        for s in STAGES
    ]


def _start(names: tuple[str, ...], opt_outs: bool) -> dict[str, Any]:
    consent = dict.fromkeys(names, 0.8 if opt_outs else 1.0)
    return {"stages": {"aware": 0.5, "customer": 0.5}, "consent": consent}


def _behavior(names: tuple[str, ...], opt_outs: bool) -> dict[str, Any]:
    every = dict.fromkeys(STAGES, 0.01)
    return {
        "response": {
            "rate": dict.fromkeys(names, 0.05), "engagement": 1.3, "fatigue": 0.8,
            "touchpoint": {"offer": 2.0, "renew": {"loyal": 3.0, "at_risk": 4.0}},
        },
        "opt_out": {"rate": dict.fromkeys(names, 0.004) if opt_outs else {}, "fatigue": 1.3},
        "resolution": {"rate": dict.fromkeys(names[:2], 0.7)},
        "purchase": {
            "rate": every, "engagement": 1.2, "response": {"offer": 20.0},
            "value": dict.fromkeys(STAGES, 60.0),
        },
        "churn": {"rate": dict.fromkeys(STAGES, 0.003), "goodwill": 0.7, "fatigue": 1.1},
        "advance": {"rate": every, "response": {"inform": 5.0, "renew": 8.0}, "engagement": 1.1},
        "lapse": {"rate": every},
        "inbound": {"rate": every, "goodwill": 0.9, "repeat": 2.0, "channels": dict.fromkeys(names[:2], 0.5)},
    }  # fmt: skip
