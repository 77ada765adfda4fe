"""Metrics for Prometheus: kept in memory, served as text at the admin port's /metrics (exposition format 0.0.4)."""

import math
from collections.abc import Callable
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from push_core.metrics.catalogue import Metric
from push_core.metrics.names import prometheus_name

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of every timing: 200 ms and 5 s are what is promised (p99) and what a call may take."""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody reads


class PrometheusMetrics:
    """At most `size` series; what would make a further one is dropped and counted in `dropped`."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._registry = CollectorRegistry(auto_describe=False)
        # By name and tags as given: finding a series again costs one look-up, and the library none.
        self._series: dict[tuple[Any, ...], Callable[[float], None]] = {}
        self._families: dict[Metric, Counter | Gauge | Histogram] = {}
        self._closed = False
        self.dropped = 0

    def count(self, metric: Metric, n: int = 1, **tags: str) -> None:
        if n >= 0:  # a counter that fell would be read as a restart
            self._record(metric, n, tags)

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        self._record(metric, value, tags)

    def timing(self, metric: Metric, seconds: float, **tags: str) -> None:
        if not math.isnan(seconds):
            self._record(metric, seconds, tags)

    def exposition(self) -> tuple[bytes, str]:
        return prometheus_client.generate_latest(self._registry), "text/plain; version=0.0.4; charset=utf-8"

    async def close(self) -> None:
        self._closed = True
        self._series.clear()  # from here on every series is a new one, for which there is no room

    def _record(self, metric: Metric, value: float, tags: dict[str, str]) -> None:
        key = (metric, *tags.items())
        record = self._series.get(key)
        if record is None:
            record = self._new(key, metric, tags)
            if record is None:
                return
        record(value)

    def _new(self, key: tuple[Any, ...], metric: Metric, tags: dict[str, str]) -> Callable[[float], None] | None:
        if self._closed:
            return None
        if len(self._series) >= self._size:
            self.dropped += 1
            return None
        family = self._families.get(metric)
        if family is None:
            family = self._families[metric] = self._family(metric)
        names = metric.meaning.tags
        one = family.labels(*(str(tags.get(name, "")) for name in names)) if names else family
        record: Callable[[float], None]
        if isinstance(one, Counter):
            record = one.inc
        elif isinstance(one, Gauge):
            record = one.set
        else:
            record = one.observe
        self._series[key] = record
        return record

    def _family(self, metric: Metric) -> Counter | Gauge | Histogram:
        name, meaning = prometheus_name(metric), metric.meaning
        if meaning.kind == "count":
            return Counter(name, meaning.text, meaning.tags, registry=self._registry)
        if meaning.kind == "gauge":
            return Gauge(name, meaning.text, meaning.tags, registry=self._registry)
        return Histogram(name, meaning.text, meaning.tags, buckets=BUCKETS_S, registry=self._registry)
