"""Bounds of the trail in this process."""

from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.trail.memory import MemoryTrail
from push_core.trail.port import Event


def event(message_id: int, at: int) -> Event:
    return Event(at=at, id=message_id, app="courier", device="d-1", step="accepted")


async def test_the_oldest_events_go_with_a_count() -> None:
    metrics = MemoryMetrics()
    trail = MemoryTrail(size=3, metrics=metrics)
    trail.write([event(1, 1), event(2, 2), event(1, 3)])
    assert metrics.counted(Metric.TRAIL_DROPPED) == 0
    trail.write([event(2, 4), event(2, 5)])
    assert await trail.of_message("courier", 1) == [event(1, 3)]
    assert await trail.of_message("courier", 2) == [event(2, 4), event(2, 5)]
    assert metrics.counted(Metric.TRAIL_DROPPED) == 2
