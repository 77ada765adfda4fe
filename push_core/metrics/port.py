"""The port of metrics. Synchronous, never blocking, never raising: a metric is not worth a push.

Names come from `catalogue.py` only; tags are few and of few values (an app's name at most, never a device or an id)."""

from typing import Protocol, runtime_checkable

from push_core.metrics.catalogue import Metric


class Metrics(Protocol):
    def count(self, metric: Metric, n: int = 1, **tags: str) -> None: ...

    def gauge(self, metric: Metric, value: float, **tags: str) -> None: ...

    def timing(self, metric: Metric, seconds: float, **tags: str) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class Exposed(Protocol):
    """Metrics that are fetched: the admin port serves them."""

    def exposition(self) -> tuple[bytes, str]:
        """The text, and its content type."""
        ...


@runtime_checkable
class Named(Protocol):
    """Metrics that are sent to a place where those of all processes meet: gauges of two must not overwrite one another."""

    def name_process(self, name: str) -> None: ...
