"""Counts of what happens thousands of times a second, added up here and told to the metrics once in a while."""

from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

Series = tuple[Metric, str]


class Counters:
    """`add(metric, value)`: the value is that of the metric's only tag; "" for a metric without tags. `acks`, the most frequent of all,
    is counted up in place, by status."""

    __slots__ = ("_counts", "_metrics", "acks")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counts: dict[Series, int] = {}
        self.acks: dict[str, int] = {}

    def add(self, metric: Metric, value: str = "", n: int = 1) -> None:
        series = metric, value
        self._counts[series] = self._counts.get(series, 0) + n

    def flush(self) -> None:
        acks, self.acks = self.acks, {}
        for status, n in acks.items():
            self.add(Metric.GW_ACKS, status, n)
        counts, self._counts = self._counts, {}
        for (metric, value), n in counts.items():
            tags = metric.meaning.tags
            if tags:
                self._metrics.count(metric, n, **{tags[0]: value})
            else:
                self._metrics.count(metric, n)
