"""The relay and a real broker: a backlog is published once, and so is what the broker lost.

BACKLOG in the environment says how many messages wait: `BACKLOG=100000 make test ARGS="-k backlog_is_not_published_twice"`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from dispatcher.parts import Parts
from ops.cluster.servers import RabbitServer
from push_core.envelope import MAX_BATCH, Envelope, decode_batch, encode_batch, queue_name
from push_core.metrics.catalogue import Metric
from push_core.models import Priority
from push_core.queues.amqp import AmqpQueues
from push_core.queues.port import Parcel, Published, Source
from tests.dispatcher.world import World
from tests.support.amqp import amqp_queues, channel_of, settings_of
from tests.support.servers import require_server
from tests.support.until import until

QUEUE = queue_name("shared", Priority.NORMAL)
LOW = queue_name("shared", Priority.LOW)
BACKLOG = int(os.environ.get("BACKLOG", "2000"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """For killing."""
    require_server(RabbitServer)
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as server:
        yield server


@pytest.fixture
async def queues(broker: RabbitServer, world: World) -> AsyncIterator[AmqpQueues]:
    settings = settings_of(broker.dsn)
    async with amqp_queues(settings, wall_ms=world.time.wall_ms) as queues:
        world.ports.queues = queues
        world.restart()
        assert await world.parts.relay.run_once() == 0  # sees the broker's life
        yield queues


async def accept(world: World, count: int, priority: Priority = Priority.NORMAL) -> list[Envelope]:
    """Committed and published, a batch each ten milliseconds."""
    envelopes: list[Envelope] = []
    while len(envelopes) < count:
        size = min(MAX_BATCH, count - len(envelopes))
        part = [world.envelope(f"d-{len(envelopes) + n}", priority=priority) for n in range(size)]
        await world.commit(*part)
        parcel = Parcel(queue_name("shared", priority), encode_batch(part))
        assert await world.ports.queues.publish([parcel]) == [Published.CONFIRMED]
        envelopes += part
        world.time.advance(0.01)
    return envelopes


async def relay(parts: Parts) -> None:
    """One round, and what is due by then."""
    await parts.relay.run_once()
    while await parts.later.run_once():
        pass


async def queued(queues: AmqpQueues, queue: str) -> Counter[int]:
    """How often each message is in the queue, which is emptied by this."""
    left = await queues.depth(queue)
    consumer = await queues.consume([Source(queue)])
    found: Counter[int] = Counter()
    for _ in range(left):
        taken = await asyncio.wait_for(consumer.take(), 10)
        found.update(envelope.id for envelope in decode_batch(taken.body))
        await consumer.ack([taken.tag])
    await consumer.close()
    return found


def once(envelopes: list[Envelope]) -> Counter[int]:
    return Counter({envelope.id: 1 for envelope in envelopes})


async def test_a_backlog_is_not_published_twice(world: World, queues: AmqpQueues) -> None:
    """Nobody takes from it for minutes; two relays run, and look at each message again and again."""
    envelopes = await accept(world, BACKLOG)
    first = world.parts
    world.restart()
    for _ in range(30):
        world.time.advance(10.0)
        await asyncio.gather(relay(first), relay(world.parts))
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 0
    assert await queued(queues, QUEUE) == once(envelopes)


async def test_what_the_broker_lost_is_published_again_once(
    world: World, queues: AmqpQueues, broker: RabbitServer
) -> None:
    """By one of two relays, and although its rows were not due for a while."""
    envelopes = await accept(world, 2_000)
    first = world.parts
    world.restart()
    for _ in range(3):
        world.time.advance(10.0)
        await asyncio.gather(relay(first), relay(world.parts))
    life = queues.incarnation()
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    await until(lambda: queues.incarnation() != life)
    for _ in range(10):
        await asyncio.gather(relay(first), relay(world.parts))
        world.time.advance(1.0)
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 2_000
    assert await queued(queues, QUEUE) == once(envelopes)


async def test_a_deleted_queue_is_filled_again_and_the_backlog_of_another_is_left_alone(
    world: World, queues: AmqpQueues
) -> None:
    backlog, lost = await accept(world, 500), await accept(world, 500, Priority.LOW)
    world.time.advance(3.0)
    life = queues.incarnation()
    async with channel_of(queues._settings) as channel:
        await channel.queue_delete(queues._settings.name(LOW))
    newest = await accept(world, 1, Priority.LOW)
    await until(lambda: queues.incarnation() != life)
    world.time.advance(1.0)
    for _ in range(3):
        await relay(world.parts)
        world.time.advance(1.0)
    assert await queued(queues, QUEUE) == once(backlog)
    assert await queued(queues, LOW) == once(lost) + once(newest)
