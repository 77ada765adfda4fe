"""The trail in this process: the newest events, found by message. Lost at exit."""

from collections import deque
from collections.abc import Sequence

from push_core.metrics.catalogue import Metric
from push_core.metrics.null import NullMetrics
from push_core.metrics.port import Metrics
from push_core.trail.port import Event


class MemoryTrail:
    """The newest `size` events; the oldest goes, counted as dropped."""

    def __init__(self, size: int = 100_000, metrics: Metrics | None = None) -> None:
        self._size = size
        self._metrics = metrics or NullMetrics()
        self._ring: deque[Event] = deque()
        self._by_message: dict[tuple[str, int], deque[Event]] = {}
        self._closed = False

    def write(self, events: Sequence[Event]) -> None:
        if self._closed:
            self._metrics.count(Metric.TRAIL_DROPPED, len(events))
            return
        for event in events:
            self._ring.append(event)
            self._by_message.setdefault((event.app, event.id), deque()).append(event)
        dropped = len(self._ring) - self._size
        for _ in range(dropped):
            oldest = self._ring.popleft()
            # Each message's events are in the ring's order, so the ring's oldest is the oldest of its message too.
            of_message = self._by_message[oldest.app, oldest.id]
            of_message.popleft()
            if not of_message:
                del self._by_message[oldest.app, oldest.id]
        if dropped > 0:
            self._metrics.count(Metric.TRAIL_DROPPED, dropped)

    async def of_message(self, app: str, message_id: int, limit: int = 1_000) -> list[Event]:
        events = self._by_message.get((app, message_id), ())
        return sorted(events, key=lambda event: event.at)[:limit]

    async def close(self) -> None:
        self._closed = True
