"""From the commit to the queues: committed envelopes gathered by queue, published in batches, behind the callers' backs.

A 202 does not wait for the broker: what it refuses or does not confirm becomes a `republish` row in the store, and what even that misses
is found by the relay's reading of the store. The bound is asked before a commit (`room`), never hit after one.
"""

import asyncio
from collections.abc import Sequence

import structlog

from push_api.deadlines import within
from push_core.clock import Clock
from push_core.envelope import MAX_BATCH, MAX_BATCH_BYTES, Envelope, encode, join_batch, queue_name
from push_core.errors import TacoError
from push_core.messages.port import Later, Messages, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Parcel, Published, Queues

log = structlog.get_logger(__name__)

_PARCELS = (
    32  # most parcels handed over in one call: keeps one call's time, and what one timeout leaves to the relay, small
)


class _Chunk:
    """What becomes one parcel, and the messages in it: id, app, and the device if there is one only."""

    __slots__ = ("bodies", "bytes", "ids", "order", "queue")

    def __init__(self, queue: str, order: int) -> None:
        self.queue = queue
        self.order = order
        self.bodies: list[bytes] = []
        self.ids: list[tuple[int, str, str]] = []
        self.bytes = 0


def _by_priority(chunk: _Chunk) -> int:
    return chunk.order


class Publisher:
    """`bound` counts envelopes that wait or are under way. Between the beginnings of two calls `every_s` pass at least, unless there is a full batch: what
    comes alone goes at once, what comes fast goes together, and every neighbour behind the queue has its costs by the batch."""

    def __init__(
        self,
        queues: Queues,
        messages: Messages,
        metrics: Metrics,
        clock: Clock,
        *,
        bound: int,
        parallel: int,
        timeout_s: float,
        every_s: float = 0.0,
    ) -> None:
        self._queues = queues
        self._messages = messages
        self._metrics = metrics
        self._clock = clock
        self._bound = bound
        self._parallel = parallel
        self._timeout_s = timeout_s
        self._every_s = every_s
        self._began_at = 0.0
        self._open: dict[str, _Chunk] = {}
        self._full: list[_Chunk] = []
        self._pending = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._scheduled = False

    @property
    def room(self) -> int:
        """How many more envelopes may be given."""
        return self._bound - self._pending

    def give(self, envelopes: Sequence[Envelope]) -> None:
        """Take committed envelopes over; returns at once. An envelope larger than a batch may be goes alone."""
        for envelope in envelopes:
            queue = queue_name(envelope.queue_class, envelope.priority)
            body = encode(envelope)
            chunk = self._open.get(queue)
            if chunk is not None and (len(chunk.ids) >= MAX_BATCH or chunk.bytes + len(body) > MAX_BATCH_BYTES):
                self._full.append(chunk)
                chunk = None
            if chunk is None:
                chunk = self._open[queue] = _Chunk(queue, envelope.priority.order)
            chunk.bodies.append(body)
            chunk.bytes += len(body) + 1
            # A row that names its device is looked at together with others; one for a whole message costs a question of its own.
            chunk.ids.append((envelope.id, envelope.app, envelope.devices[0] if len(envelope.devices) == 1 else ""))
        self._pending += len(envelopes)
        self._start_soon()

    async def close(self, grace_s: float) -> bool:
        """Publish what is left; whether all was handed over in time. The rest is the relay's."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        self._every_s = 0.0
        self._start()
        while self._pending and (left := deadline - loop.time()) > 0:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
        left_over = self._pending
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        if left_over:
            log.warning("stopped with messages not published; the relay sends them", messages=left_over)
        return not left_over

    def _start_soon(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if self._full else self._began_at + self._every_s - loop.time()
        if wait_s > 0:
            loop.call_later(wait_s, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        """Hand over what has gathered; with every call under way it gathers on, so that batches grow with the load."""
        self._scheduled = False
        while len(self._under_way) < self._parallel:
            waiting = sorted([*self._full, *self._open.values()], key=_by_priority)
            if not waiting:
                return
            chunks, self._full = waiting[:_PARCELS], waiting[_PARCELS:]
            self._open.clear()
            self._began_at = asyncio.get_running_loop().time()
            task = asyncio.get_running_loop().create_task(self._publish(chunks), name="api.publish")
            self._under_way.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("publishing failed; the relay sends the messages", exc_info=error)
            self._metrics.count(Metric.TASK_ERRORS, task="api.publish")
        if self._open or self._full:
            self._start_soon()

    async def _publish(self, chunks: list[_Chunk]) -> None:
        try:
            outcomes = await self._hand_over([Parcel(chunk.queue, join_batch(chunk.bodies)) for chunk in chunks])
            failed = [
                chunk for chunk, outcome in zip(chunks, outcomes, strict=True) if outcome is not Published.CONFIRMED
            ]
            if failed:
                self._metrics.count(Metric.API_PUBLISH_UNCONFIRMED, len(failed))
                await self._leave_to_relay(failed)
        finally:
            self._pending -= sum(len(chunk.ids) for chunk in chunks)

    async def _hand_over(self, parcels: list[Parcel]) -> list[Published]:
        try:
            return await within(self._timeout_s, "the queue", self._queues.publish(parcels))
        except TacoError as error:
            log.warning("queue did not take a publish", reason=error.message, parcels=len(parcels))
            return [Published.UNCONFIRMED] * len(parcels)

    async def _leave_to_relay(self, chunks: list[_Chunk]) -> None:
        now = self._clock.wall_ms()
        rows = [
            Later(id=message_id, app=app, device=device, task=Task.REPUBLISH, due=now)
            for chunk in chunks
            for message_id, app, device in chunk.ids
        ]
        try:
            await within(self._timeout_s, "the message store", self._messages.put_later(rows))
        except TacoError as error:
            # Nothing is lost: the relay also finds open messages by the time in their ids, only later.
            log.warning("republish rows not stored", messages=len(rows), reason=error.message)
