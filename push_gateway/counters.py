"""Counts of what happens thousands of times a second, added up here and told to the metrics once in a while."""

from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

Series = tuple[Metric, str]


class Counters:
    """`add(metric, value)`: the value is that of the metric's only tag; "" for a metric without tags."""

    __slots__ = ("_counts", "_metrics")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counts: dict[Series, int] = {}

    def add(self, metric: Metric, value: str = "", n: int = 1) -> None:
        series = metric, value
        self._counts[series] = self._counts.get(series, 0) + n

    def flush(self) -> None:
        counts, self._counts = self._counts, {}
        for (metric, value), n in counts.items():
            tags = metric.meaning.tags
            if tags:
                self._metrics.count(metric, n, **{tags[0]: value})
            else:
                self._metrics.count(metric, n)
