"""A broker that is killed, held, started anew, reached late or not at all: nothing hangs, nobody helps, and everything goes on."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from ops.cluster.servers import RabbitServer
from push_core.errors import Unavailable
from push_core.queues.amqp import AmqpQueues
from push_core.queues.amqp_settings import AmqpSettings
from push_core.queues.port import Consumer, Parcel, Published, Source, Taken
from tests.support.amqp import channel_of, settings_of
from tests.support.servers import require_server
from tests.support.until import is_stopped, until

CONFIRMED, UNCONFIRMED = [Published.CONFIRMED], [Published.UNCONFIRMED]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """For killing; each test finds it running."""
    require_server(RabbitServer)
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as server:
        yield server


@pytest.fixture
def settings(broker: RabbitServer) -> AmqpSettings:
    broker.resume()
    broker.start()
    return settings_of(broker.dsn, timeout_ms=1_000)


@pytest.fixture
async def queues(settings: AmqpSettings) -> AsyncIterator[AmqpQueues]:
    queues = AmqpQueues(settings)
    await until(lambda: pinged(queues))
    yield queues
    await queues.close()


async def pinged(queues: AmqpQueues) -> bool:
    try:
        await queues.ping()
    except Unavailable:
        return False
    return True


async def publish(queues: AmqpQueues, body: str) -> list[Published]:
    return await queues.publish([Parcel("q", body.encode())])


async def confirmed(queues: AmqpQueues, body: str) -> bool:
    return await publish(queues, body) == CONFIRMED


async def take(consumer: Consumer) -> Taken:
    return await asyncio.wait_for(consumer.take(), 30)


async def restart(broker: RabbitServer) -> None:
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)


async def consumers_of(settings: AmqpSettings) -> int:
    async with channel_of(settings) as channel:
        return (await channel.queue_declare(settings.name("q"), passive=True)).consumer_count or 0


async def refuses(queues: AmqpQueues, sentence: str) -> bool:
    """Whether a ping says this; the one that meets the connection while it breaks says that it was lost."""
    with pytest.raises(Unavailable) as refusal:
        await queues.ping()
    return re.search(sentence, str(refusal.value)) is not None


async def test_publishing_fails_in_time_while_the_broker_is_away_and_goes_on_when_it_is_back(
    broker: RabbitServer, queues: AmqpQueues
) -> None:
    assert await publish(queues, "before") == CONFIRMED
    life = queues.incarnation()
    await asyncio.to_thread(broker.kill)
    async with asyncio.timeout(20):
        assert [await publish(queues, "lost") for _ in range(5)] == [UNCONFIRMED] * 5
    await until(lambda: refuses(queues, r"127\.0\.0\.1:\d+/taco can't be reached: .*(refused|lost)"))
    await asyncio.to_thread(broker.start)
    await until(lambda: confirmed(queues, "after"))
    await until(lambda: queues.incarnation() != life)


async def test_a_take_goes_on_waiting_through_a_restart_and_there_is_one_consumer_afterwards(
    broker: RabbitServer, queues: AmqpQueues, settings: AmqpSettings
) -> None:
    consumer = await queues.consume([Source("q"), Source("other")])
    taking = asyncio.create_task(take(consumer))
    await until(lambda: confirmed(queues, "one"))
    stale = await taking
    assert stale.body == b"one"
    taking = asyncio.create_task(take(consumer))
    await restart(broker)
    await until(lambda: confirmed(queues, "two"))
    taken = await taking
    assert (taken.body, taken.redelivered) == (b"two", False), "what was held before the crash is lost: it is transient"
    await consumer.ack([stale.tag])
    await consumer.give_back([stale.tag])
    await consumer.ack([taken.tag])
    taking = asyncio.create_task(take(consumer))
    await until(lambda: confirmed(queues, "three"))
    assert (await taking).body == b"three", "a tag of before the crash settled nothing"
    assert await consumers_of(settings) == 1


async def test_what_was_taken_comes_again_when_the_connection_is_lost(queues: AmqpQueues) -> None:
    consumer = await queues.consume([Source("q")])
    await queues.publish([Parcel("q", b"a"), Parcel("q", b"b")])
    first = await take(consumer)
    wire = await consumer._link.up()
    wire.abort()
    again = await take(consumer)
    assert (again.body, again.redelivered) == (b"a", True)
    await consumer.ack([first.tag])  # of the connection that is gone
    await consumer.ack([again.tag])
    await consumer.ack([(await take(consumer)).tag])
    await consumer.close()
    assert await queues.depth("q") == 0


async def test_a_broker_that_is_held_hangs_nobody_and_all_goes_on_when_it_is_let_go(
    broker: RabbitServer, queues: AmqpQueues
) -> None:
    consumer = await queues.consume([Source("q")])
    taking = asyncio.create_task(take(consumer))
    assert await publish(queues, "before") == CONFIRMED
    await consumer.ack([(await taking).tag])
    broker.pause()
    try:
        await until(lambda: is_stopped(broker.pid))
        async with asyncio.timeout(20):
            assert await publish(queues, "held") == UNCONFIRMED
            assert await publish(queues, "held") == UNCONFIRMED
            with pytest.raises(Unavailable):
                await queues.depth("q")
            with pytest.raises(Unavailable):
                await queues.park("q", b"poison", "no reason")
    finally:
        broker.resume()
    await until(lambda: confirmed(queues, "after"))
    taken = b""
    while taken != b"after":  # what was written before the broker was let go may still come
        one = await take(consumer)
        taken = one.body
        await consumer.ack([one.tag])


async def test_closing_takes_no_longer_because_the_broker_is_held(broker: RabbitServer, settings: AmqpSettings) -> None:
    queues = AmqpQueues(settings)
    await queues.ping()
    consumer = await queues.consume([Source("q")])
    taking = asyncio.create_task(consumer.take())
    await publish(queues, "a")
    await taking
    broker.pause()
    try:
        await until(lambda: is_stopped(broker.pid))
        async with asyncio.timeout(20):
            await queues.close()
    finally:
        broker.resume()


async def test_parked_bodies_outlive_a_restart(broker: RabbitServer, queues: AmqpQueues) -> None:
    await queues.park("q", b"poison", "not readable", tries=2)
    await restart(broker)
    await until(lambda: pinged(queues))
    assert [(one.body, one.reason, one.tries) for one in await queues.parked("q")] == [(b"poison", "not readable", 2)]
    await queues.drop_parked("q")


async def test_a_host_that_is_down_is_passed_over(broker: RabbitServer) -> None:
    dead = broker.dsn.replace("127.0.0.1:", "127.0.0.1:9,127.0.0.1:")
    for _ in range(4):  # the first host is drawn by chance
        queues = AmqpQueues(settings_of(dead, timeout_ms=1_000))
        await until(lambda: pinged(queues))  # noqa: B023
        await queues.close()


async def test_it_opens_without_a_broker_and_says_why_it_does_not_work(settings: AmqpSettings) -> None:
    queues = AmqpQueues(settings_of("amqp://taco:hunter2@127.0.0.1:9/", timeout_ms=200))
    consumer = await queues.consume([Source("q")])
    taking = asyncio.create_task(consumer.take())
    assert await publish(queues, "a") == UNCONFIRMED
    with pytest.raises(Unavailable, match=r"amqp://127\.0\.0\.1:9/ can't be reached: .*refused") as caught:
        await queues.ping()
    assert "hunter2" not in str(caught.value)
    assert queues.incarnation() == ""
    assert not taking.done()
    taking.cancel()
    await queues.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda dsn: dsn.replace("taco:", "taco:x"), "user 'taco' was refused: wrong name or password"),
        (lambda dsn: dsn + "-not-there", "vhost 'taco-not-there' is not there, or user 'taco' may not use it"),
    ],
)
async def test_a_refused_sign_in_is_told_in_words(broker: RabbitServer, settings: AmqpSettings, change, reason) -> None:  # type: ignore[no-untyped-def]
    queues = AmqpQueues(settings_of(change(broker.dsn)))
    with pytest.raises(Unavailable, match=reason):
        await queues.ping()
    await queues.close()


async def test_a_broker_without_memory_takes_nothing_and_is_published_to_again_when_it_has_some(
    broker: RabbitServer, queues: AmqpQueues
) -> None:
    assert await publish(queues, "before") == CONFIRMED
    await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0")
    await publish(queues, "the one that makes it say so")
    async with asyncio.timeout(20):
        assert await publish(queues, "refused") == UNCONFIRMED
    await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.4")
    await until(lambda: confirmed(queues, "after"))
