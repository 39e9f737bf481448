"""Prometheus metrics of one server, in its own registry."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters that routes and services raise."""

    def __init__(self, queued: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "journey_requests", "HTTP requests", ("method", "route", "status"), registry=self._registry
        )
        self.latency = Histogram(
            "journey_request_seconds", "Time to answer", ("route",), registry=self._registry, buckets=_SECONDS
        )
        self.decisions = Counter(
            "journey_decisions", "Decisions by outcome", ("policy", "mode", "action"), registry=self._registry
        )
        self.degraded = Counter("journey_decisions_degraded", "Degraded decisions", registry=self._registry)
        self.events = Counter("journey_events", "Messages received", ("status",), registry=self._registry)
        Gauge("journey_store_queue", "Commands waiting for the writer", registry=self._registry).set_function(
            queued
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
