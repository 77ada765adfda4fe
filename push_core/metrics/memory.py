"""Metrics kept in this process, for tests, drills and `memory://`: sums, newest values and timings by metric and tags."""

from collections.abc import Mapping
from dataclasses import dataclass

from push_core.metrics.catalogue import Metric

Series = tuple[Metric, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Timing:
    """Of one series, in seconds."""

    calls: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0


class MemoryMetrics:
    """At most `size` series of each kind; what would make a further one is dropped and counted in `dropped`."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._counts: dict[Series, int] = {}
        self._gauges: dict[Series, float] = {}
        self._timings: dict[Series, Timing] = {}
        self.dropped = 0

    def count(self, metric: Metric, n: int = 1, **tags: str) -> None:
        series = _series(metric, tags)
        if self._has_room(self._counts, series):
            self._counts[series] = self._counts.get(series, 0) + n

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        series = _series(metric, tags)
        if self._has_room(self._gauges, series):
            self._gauges[series] = value

    def timing(self, metric: Metric, seconds: float, **tags: str) -> None:
        series = _series(metric, tags)
        if self._has_room(self._timings, series):
            timing = self._timings.setdefault(series, Timing())
            timing.calls += 1
            timing.total_s += seconds
            timing.longest_s = max(timing.longest_s, seconds)

    def counted(self, metric: Metric, **tags: str) -> int:
        """The sum over all series of the metric that carry these tags (no tags: all of them)."""
        wanted = set(tags.items())
        return sum(n for (name, have), n in self._counts.items() if name is metric and wanted <= set(have))

    def newest(self, metric: Metric, **tags: str) -> float | None:
        """The newest value of exactly this gauge."""
        return self._gauges.get(_series(metric, tags))

    def timed(self, metric: Metric, **tags: str) -> Timing:
        """The timings of exactly this series."""
        return self._timings.get(_series(metric, tags), Timing())

    async def close(self) -> None:
        pass

    def _has_room(self, kept: Mapping[Series, object], series: Series) -> bool:
        if series in kept or len(kept) < self._size:
            return True
        self.dropped += 1
        return False


def _series(metric: Metric, tags: dict[str, str]) -> Series:
    return metric, tuple(sorted(tags.items()))
