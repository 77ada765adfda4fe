"""Metrics that nobody looks at: the default of a first start."""

from push_core.metrics.catalogue import Metric


class NullMetrics:
    def count(self, metric: Metric, n: int = 1, **tags: str) -> None:
        pass

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        pass

    def timing(self, metric: Metric, seconds: float, **tags: str) -> None:
        pass

    async def close(self) -> None:
        pass
