"""How much waits, for whoever watches: batches in each queue, and those put aside. Asked of the broker now and then; decides nothing."""

from collections.abc import Sequence

from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Queues

PARKED = ".parked"


class QueueGauges:
    """Of these queues, by name."""

    def __init__(self, queues: Queues, metrics: Metrics, names: Sequence[str]) -> None:
        self._queues = queues
        self._metrics = metrics
        self._names = tuple(names)

    async def run_once(self) -> None:
        """Raises Unavailable: the next round asks again."""
        for name in self._names:
            self._metrics.gauge(Metric.DI_QUEUE_DEPTH, await self._queues.depth(name), queue=name)
            self._metrics.gauge(Metric.DI_PARKED, await self._queues.depth(name + PARKED), queue=name)
