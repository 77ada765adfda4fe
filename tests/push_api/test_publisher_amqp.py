"""Publishing behind callers' backs with a real broker that is killed and held: bounded, left to the relay, and resumed by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from ops.cluster.servers import RabbitServer
from push_api.publisher import Publisher
from push_core.clock import Clock
from push_core.envelope import Envelope, queue_name
from push_core.metrics.memory import MemoryMetrics
from push_core.models import Priority
from push_core.queues.amqp import AmqpQueues
from tests.push_api.fakes import FakeMessages
from tests.support.amqp import amqp_queues, settings_of
from tests.support.envelopes import sample
from tests.support.servers import require_server
from tests.support.until import is_stopped, until

QUEUE = queue_name("shared", Priority.NORMAL)
BOUND = 600


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """For killing and holding."""
    require_server(RabbitServer)
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as server:
        yield server


@pytest.fixture
async def queues(broker: RabbitServer) -> AsyncIterator[AmqpQueues]:
    broker.resume()
    broker.start()
    async with amqp_queues(settings_of(broker.dsn, timeout_ms=1_000)) as queues:
        yield queues


@pytest.fixture
def messages() -> FakeMessages:
    return FakeMessages()


@pytest.fixture
async def publisher(queues: AmqpQueues, messages: FakeMessages) -> AsyncIterator[Publisher]:
    publisher = Publisher(
        queues,
        messages,  # type: ignore[arg-type]
        MemoryMetrics(),
        Clock(),
        bound=BOUND,
        parallel=2,
        timeout_s=2.0,
    )
    yield publisher
    await publisher.close(0.0)


def envelopes(first: int, count: int) -> list[Envelope]:
    return [sample(first + n, "phone-1", app="demo", sent=0) for n in range(count)]


def is_done(publisher: Publisher) -> bool:
    return publisher.room == BOUND


async def resumed(publisher: Publisher, queues: AmqpQueues, messages: FakeMessages) -> bool:
    """Whether what is given is published, and not left to the relay."""
    left = len(messages.later)
    publisher.give(envelopes(100_000, 1))
    await until(lambda: is_done(publisher))
    if len(messages.later) > left:
        return False
    assert await queues.depth(QUEUE) > 0
    return True


async def test_a_broker_that_is_held_fills_the_bound_and_frees_it_in_time(
    broker: RabbitServer, publisher: Publisher, queues: AmqpQueues, messages: FakeMessages
) -> None:
    publisher.give(envelopes(0, 1))
    await until(lambda: is_done(publisher))
    broker.pause()
    try:
        await until(lambda: is_stopped(broker.pid))
        publisher.give(envelopes(1, BOUND))
        await asyncio.sleep(0)
        assert publisher.room <= 0, "the API answers 503"
        await until(lambda: is_done(publisher), 20)
        assert sorted(row.id for row in messages.later) == list(range(1, BOUND + 1))
    finally:
        broker.resume()
    await until(lambda: resumed(publisher, queues, messages))


async def test_a_broker_that_is_killed_leaves_all_to_the_relay_until_it_is_back(
    broker: RabbitServer, publisher: Publisher, queues: AmqpQueues, messages: FakeMessages
) -> None:
    publisher.give(envelopes(0, 300))
    await until(lambda: is_done(publisher))
    assert messages.later == []
    await asyncio.to_thread(broker.kill)
    for batch in range(5):
        publisher.give(envelopes(1_000 + 500 * batch, 500))
        await until(lambda: is_done(publisher), 20)
    assert len(messages.later) == 2_500
    await asyncio.to_thread(broker.start)
    await until(lambda: resumed(publisher, queues, messages))
