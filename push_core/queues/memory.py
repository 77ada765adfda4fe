"""Queues in this process: acks, redelivery, limits and weights as a broker has them. What is queued is lost at exit."""

import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

import structlog

from push_core.clock import WallMs, wall_ms
from push_core.errors import Unavailable
from push_core.queues.memory_consumer import MemoryConsumer
from push_core.queues.memory_queue import Item, MemoryQueue
from push_core.queues.port import PARKED, Parcel, Parked, Published, Source

log = structlog.get_logger(__name__)


class MemoryQueues:
    """`length` bodies and `queue_bytes` bytes wait in one queue at most; `parked` bodies are put aside for each queue.

    What comes back (`give_back`, a closed consumer) is always taken, even into a full queue: it was counted when it came first.
    """

    def __init__(
        self,
        *,
        length: int = 10_000,
        queue_bytes: int = 256 * 1024 * 1024,
        parked: int = 1_000,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], WallMs] = wall_ms,
    ) -> None:
        self._length = length
        self._queue_bytes = queue_bytes
        self._parked_length = parked
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._ids = itertools.count(1)
        self._incarnation = secrets.token_hex(8)
        self._queues: dict[str, MemoryQueue] = {}
        self._parked: dict[str, deque[Parked]] = {}
        self._consumers: dict[MemoryConsumer, None] = {}
        self._closed = False
        self.parked_dropped = 0

    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        if self._closed:
            return [Published.UNCONFIRMED] * len(parcels)
        now = self._monotonic()
        outcomes = []
        for parcel in parcels:
            put = self._queue(parcel.queue).put(Item(parcel.body, now))
            outcomes.append(Published.CONFIRMED if put else Published.FULL)
        self._match()
        return outcomes

    async def consume(self, sources: Sequence[Source]) -> MemoryConsumer:
        if self._closed:
            raise Unavailable("the queues are closed")
        queues = [self._queue(source.queue) for source in sources]
        consumer = MemoryConsumer(sources, queues, self._monotonic, self._match, self._consumer_closed)
        self._consumers[consumer] = None
        return consumer

    async def park(self, queue: str, body: bytes, reason: str, *, tries: int = 0) -> None:
        aside = self._parked.setdefault(queue, deque())
        aside.append(Parked(str(next(self._ids)), body, reason, self._wall_ms(), tries))
        if len(aside) > self._parked_length:
            aside.popleft()
            self.parked_dropped += 1
            log.warning(
                "oldest parked body dropped", queue=queue, limit=self._parked_length, dropped=self.parked_dropped
            )

    async def parked(self, queue: str, *, limit: int = 1_000) -> list[Parked]:
        return list(itertools.islice(self._parked.get(queue, ()), limit))

    async def retry_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        chosen = self._chosen(queue, ids)
        outcomes = await self.publish([Parcel(queue, one.body) for one in chosen])
        return self._unpark(
            queue, [one for one, done in zip(chosen, outcomes, strict=True) if done is Published.CONFIRMED]
        )

    async def drop_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        return self._unpark(queue, self._chosen(queue, ids))

    def _chosen(self, queue: str, ids: Collection[str] | None) -> list[Parked]:
        return [one for one in self._parked.get(queue, ()) if ids is None or one.id in ids]

    def _unpark(self, queue: str, gone: Sequence[Parked]) -> int:
        ids = {one.id for one in gone}
        self._parked[queue] = deque(one for one in self._parked.get(queue, ()) if one.id not in ids)
        return len(gone)

    async def oldest_age_s(self, queue: str) -> float:
        found = self._queues.get(queue)
        oldest = found.oldest_since() if found is not None else None
        return 0.0 if oldest is None else max(0.0, self._monotonic() - oldest)

    async def depth(self, queue: str) -> int:
        if queue.endswith(PARKED):
            return len(self._parked.get(queue.removesuffix(PARKED), ()))
        found = self._queues.get(queue)
        return len(found) if found is not None else 0

    def incarnation(self) -> str:
        return self._incarnation

    async def ping(self) -> None:
        if self._closed:
            raise Unavailable("the queues are closed")

    async def close(self) -> None:
        self._closed = True
        for consumer in list(self._consumers):
            await consumer.close()

    def _queue(self, name: str) -> MemoryQueue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = MemoryQueue(name, self._length, self._queue_bytes)
        return queue

    def _match(self) -> None:
        """Wake consumers that wait and could take something now. One too many does no harm: it finds nothing and waits again."""
        woken = [consumer for consumer in self._consumers if consumer.wake()]
        for consumer in woken:  # to the end, so that consumers take turns
            del self._consumers[consumer]
            self._consumers[consumer] = None

    def _consumer_closed(self, consumer: MemoryConsumer) -> None:
        self._consumers.pop(consumer, None)
        self._match()
