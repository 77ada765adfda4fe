"""The trail in this process: the newest events. Lost at exit."""

from collections import deque
from collections.abc import Sequence

from push_core.metrics.catalogue import Metric
from push_core.metrics.null import NullMetrics
from push_core.metrics.port import Metrics
from push_core.trail.port import Event


class MemoryTrail:
    """The newest `size` events; the oldest goes, counted as dropped.

    Every message writes several and hardly any is ever asked for: so writing is a move into a ring, and asking reads the ring through.
    """

    def __init__(self, size: int = 100_000, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or NullMetrics()
        self._size = size
        self._ring: deque[Event] = deque(maxlen=size)
        self._closed = False

    def write(self, events: Sequence[Event]) -> None:
        if self._closed:
            self._metrics.count(Metric.TRAIL_DROPPED, len(events))
            return
        dropped = len(self._ring) + len(events) - self._size
        self._ring.extend(events)
        if dropped > 0:
            self._metrics.count(Metric.TRAIL_DROPPED, dropped)

    async def of_message(self, app: str, message_id: int, limit: int = 1_000) -> list[Event]:
        events = [event for event in self._ring if event.id == message_id and event.app == app]
        return sorted(events, key=lambda event: event.at)[:limit]

    async def close(self) -> None:
        self._closed = True
