"""Queues in RabbitMQ, or whatever speaks AMQP 0-9-1 with its extensions (confirms, nack, length limits).

Queues are durable, bodies transient: a broker that dies loses what it held, and the relay finds it in the store. Publishing has a connection of its own
(a broker that is short of memory stops reading from those that publish), shared with the questions of operators and the relay; each consumer has one.

Queues of ours on the broker, with `prefix` before each: the port's, `<queue>.parked`, and `life` (see amqp_life.py).
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity

from push_core.clock import WallMs, wall_ms
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.fuse import Fuse, MakeFuse
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.amqp_channel import Batch, Letter, PublishChannel
from push_core.queues.amqp_consumer import AmqpConsumer
from push_core.queues.amqp_control import Control, Ground
from push_core.queues.amqp_life import Life
from push_core.queues.amqp_link import BROKEN, Link, Wire, cancelled, reason_of
from push_core.queues.amqp_parked import ParkedQueues
from push_core.queues.amqp_settings import AmqpSettings
from push_core.queues.amqp_source import published_at, stamp
from push_core.queues.port import PARKED, Parcel, Parked, Published, Source

log = structlog.get_logger(__name__)


class AmqpQueues:
    """To be made within a running loop. Does not need the broker: it is connected to in the background, again and again."""

    def __init__(
        self,
        settings: AmqpSettings,
        *,
        metrics: Metrics | None = None,
        fuse: MakeFuse | None = None,
        wall_ms: Callable[[], WallMs] = wall_ms,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._fuse = fuse(settings.place) if fuse is not None else Fuse("queues", settings.place, None)
        self._wall_ms = wall_ms
        self._link = Link(settings, "publish", metrics, on_up=self._reconnected)
        self._control = Control(self._link, settings)
        self._life = Life(self._control, settings)
        self._ground = Ground(settings, self._deleted)
        self._parked = ParkedQueues(self._control, settings, wall_ms)
        self._publishing: tuple[Wire, PublishChannel] | None = None
        self._opening = asyncio.Lock()
        self._consumers: set[AmqpConsumer] = set()
        self._closed = False

    # ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        outcomes = [Published.UNCONFIRMED] * len(parcels)
        indices, letters = self._letters(parcels)
        if self._closed or not letters:
            return outcomes
        first, returned = await self._send(letters)
        for index, outcome in zip(indices, first, strict=True):
            outcomes[index] = outcome
        # Those whose queue is not there: not yet, or not any more.
        if returned and await self._make({parcels[indices[place]].queue for place in returned}):
            second, _ = await self._send([letters[place] for place in returned])
            for place, outcome in zip(returned, second, strict=True):
                outcomes[indices[place]] = outcome
        if self._metrics is not None:
            for outcome in Published:
                if count := outcomes.count(outcome):
                    self._metrics.count(Metric.QUEUES_PUBLISHED, count, outcome=outcome.value)
        return outcomes

    def _letters(self, parcels: Sequence[Parcel]) -> tuple[list[int], list[Letter]]:
        """What can be sent, and which parcels that is: all but those with a name that the broker can't have."""
        indices, letters = [], []
        for index, parcel in enumerate(parcels):
            try:
                letters.append(Letter(self._settings.name(parcel.queue), parcel.body))
            except ValueError as error:
                log.warning("not published", reason=str(error))
            else:
                indices.append(index)
        return indices, letters

    async def _send(self, letters: Sequence[Letter]) -> tuple[list[Published], list[int]]:
        """Outcomes, and the indices of those whose queue is missing. The one way of every publish."""
        sent: list[Batch] = []
        try:
            await self._fuse.run(lambda: self._publish(letters, sent))
        except Unavailable as error:
            log.debug("not published", reason=error.message)
        if not sent:
            return [Published.UNCONFIRMED] * len(letters), []
        return list(sent[0].outcomes), sorted(sent[0].returned)

    async def _publish(self, letters: Sequence[Letter], sent: list[Batch]) -> None:
        """Returns when the broker has said of each what became of it. `sent` gets the batch as soon as there is one: a part of it may be settled
        when this raises Unavailable."""
        settings = self._settings
        wire: Wire | None = None
        channel: PublishChannel | None = None
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(settings.timeout_s):
                wire = await self._link.wire(settings.timeout_s)
                await wire.unblocked()
                channel = await self._publish_channel(wire)
                now = self._wall_ms()
                batch = channel.send(letters, lambda number: stamp(number, now))
                sent.append(batch)
                await batch.done
                if batch.lost:
                    raise DeadlineExceeded(f"{settings.place}: the connection was lost before all was confirmed")
        except TimeoutError:
            reason = f"no confirm within {settings.timeout_s:g} s"
            if wire is not None and (channel is None or channel.heard_at < began):
                self._link.drop(wire, reason)
            raise DeadlineExceeded(f"{settings.place}: {reason}") from None
        except BROKEN as error:
            if cancelled():
                raise
            raise DeadlineExceeded(f"{settings.place}: {reason_of(error, settings)}") from None

    async def _publish_channel(self, wire: Wire) -> PublishChannel:
        known = self._publishing
        if known is not None and known[0] is wire and not known[1].is_closed:
            return known[1]
        async with self._opening:
            known = self._publishing
            if known is None or known[0] is not wire or known[1].is_closed:
                known = wire, await PublishChannel.open_on(wire, self._settings.timeout_s)
                self._publishing = known
            return known[1]

    async def _make(self, queues: Collection[str]) -> bool:
        try:
            wire = await self._link.wire(self._settings.timeout_s)
            for queue in queues:
                await self._ground.declare(wire, queue)
        except Unavailable as error:
            log.warning("a queue could not be made", reason=error.message)
            return False
        return True

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def consume(self, sources: Sequence[Source]) -> AmqpConsumer:
        if self._closed:
            raise Unavailable("the queues are closed")
        consumer = AmqpConsumer(
            sources, self._settings, self._ground, self._metrics, self._wall_ms, self._consumers.discard
        )
        self._consumers.add(consumer)
        return consumer

    # ── parked ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def park(self, queue: str, body: bytes, reason: str, *, tries: int = 0) -> None:
        await self._parked.park(queue, body, reason, tries)

    async def parked(self, queue: str, *, limit: int = 1_000) -> list[Parked]:
        return await self._parked.show(queue, limit)

    async def retry_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        async def publish(body: bytes) -> bool:
            return await self.publish([Parcel(queue, body)]) == [Published.CONFIRMED]

        return await self._parked.settle(queue, ids, publish)

    async def drop_parked(self, queue: str, ids: Collection[str] | None = None) -> int:
        return await self._parked.settle(queue, ids)

    # ── what an operator and the relay ask ───────────────────────────────────────────────────────────────────────────

    async def oldest_age_s(self, queue: str) -> float:
        """Looks at the first body and puts it back, which marks it as redelivered: the broker tells no age of its own."""
        name = self._name(queue)

        async def work(channel: AbstractChannel) -> float:
            declared = await channel.queue_declare(name, passive=True)
            if not declared.message_count:
                return 0.0
            message = await channel.basic_get(name)
            if message.delivery_tag is None:
                return 0.0
            await channel.basic_nack(message.delivery_tag, requeue=True, wait=False)
            now = self._wall_ms()
            return max(0, now - published_at(message.header.properties.message_id, now)) / 1_000

        try:
            return await self._control.ask(work)
        except ChannelNotFoundEntity:
            return 0.0

    async def depth(self, queue: str) -> int:
        name = self._name(queue)
        try:
            declared = await self._control.ask(lambda channel: channel.queue_declare(name, passive=True))
        except ChannelNotFoundEntity:
            return 0
        return declared.message_count or 0

    def incarnation(self) -> str:
        return self._life.current

    async def ping(self) -> None:
        if self._closed:
            raise Unavailable("the queues are closed")
        await self._life.read()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for consumer in list(self._consumers):
            await consumer.close()
        await self._life.close()
        await self._link.close()

    def _name(self, queue: str) -> str:
        return self._settings.name(queue.removesuffix(PARKED)) + (PARKED if queue.endswith(PARKED) else "")

    def _reconnected(self, _: Wire) -> None:
        self._life.look()
        self._fuse.reset()  # a new connection is a new story

    def _deleted(self, queue: str) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.QUEUES_DELETED, queue=queue)
        self._life.renew()
