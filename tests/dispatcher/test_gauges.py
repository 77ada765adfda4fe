"""How much waits in the queues, as a metric."""

import pytest

from dispatcher.gauges import QueueGauges
from push_core.envelope import queue_name, vendor_queue_name
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import Priority
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Parcel
from tests.dispatcher.world import World


async def test_what_waits_and_what_was_put_aside_are_told_by_queue() -> None:
    queues, metrics = MemoryQueues(), MemoryMetrics()
    await queues.publish([Parcel("a", b"1"), Parcel("a", b"2")])
    await queues.park("b", b"bad", "poison")
    await QueueGauges(queues, metrics, ["a", "b"]).run_once()
    assert [metrics.newest(Metric.DI_QUEUE_DEPTH, queue=name) for name in "ab"] == [2, 0]
    assert [metrics.newest(Metric.DI_PARKED, queue=name) for name in "ab"] == [0, 1]
    await queues.close()


@pytest.mark.parametrize(
    "name", [queue_name("shared", Priority.URGENT), queue_name("shared", Priority.LOW), vendor_queue_name("webhook")]
)
async def test_a_dispatcher_watches_all_its_queues(world: World, name: str) -> None:
    await world.parts.gauges.run_once()
    assert world.metrics.newest(Metric.DI_QUEUE_DEPTH, queue=name) == 0
